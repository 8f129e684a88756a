"""segue predict."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from segue.cli.app import app, positive
from segue.cli.crf import CRFKeys, CRFSwitch, crf_changes
from segue.cli.inference import InferenceKeys
from segue.options import CRFOptions, InferenceOptions, ProbabilityType


@app.command
def predict(
    run: str,
    inputs: Annotated[tuple[str, ...], Parameter(consume_multiple=True)],
    /,
    *,
    out: str = "masks",
    overlays: bool = True,
    confidence: Annotated[bool, Parameter(negative=())] = False,
    probabilities: ProbabilityType = "none",
    skip_existing: Annotated[bool, Parameter(negative=())] = False,
    batch: int = 8,
    processes: int = 0,
    device: str = "",
    inference: InferenceKeys = InferenceOptions(),  # noqa: B008
    with_crf: CRFSwitch = False,
    crf: CRFKeys = CRFOptions(),  # noqa: B008
) -> None:
    """Segment pictures, maps and videos: masks in the data's own label values, and overlays.

    Maps (GeoTIFF) and pictures above 16 million pixels are read and written by rows, as TIFF. OUT/manifest.jsonl says
    what was done. A file that cannot be predicted is named; the others are predicted, and the exit code is 1.

    Parameters
    ----------
    run
        A run's folder.
    inputs
        Pictures, videos, folders of them, or patterns.
    out
        The folder for the masks; overlays go to overlays/ in it.
    overlays
        Write overlays as well.
    confidence
        Write the highest probability of each pixel as well, to confidence/: 255 for 1.
    probabilities
        Write the probabilities of all classes as well, to probabilities/NAME.npy: (K, H, W), uint8 (255 for 1) or
        float16.
    skip_existing
        Leave out what is written already: a killed prediction goes on.
    batch
        Pictures of one size that go through the network together.
    processes
        How many at a time; 0 takes one per GPU, or one.
    device
        cpu, cuda or mps; by default the accelerator, if there is one.
    inference
        How a picture is looked at.
    with_crf
        Sharpen with the dense CRF: --crf for short. Any --crf.* switches it on as well.
    crf
        The CRF's parameters; by default those that tune-crf found for the run, if it has.
    """
    from pathlib import Path

    from segue.predicting import Wanted, predict_files

    if not inputs:
        raise ValueError("name pictures, videos, folders or patterns to predict")
    if processes < 0:
        raise ValueError(f"--processes {processes}: it must be 0 or more")
    outcome = predict_files(
        run,
        inputs,
        Wanted(Path(out), overlays, confidence, probabilities),
        inference=inference,
        crf=crf_changes(with_crf, crf),
        batch=positive("batch", batch),
        device=device,
        processes=processes,
        skip_existing=skip_existing,
    )
    files = outcome.done + len(outcome.failed)
    there = f", {outcome.skipped} were there" if outcome.skipped else ""
    where = f"; masks are in {out}" if outcome.done or outcome.skipped else ""
    print(f"{outcome.done} of {files + outcome.skipped} files predicted{there}{where}")
    if outcome.failed:
        print(
            f"segue: {len(outcome.failed)} of {files} files could not be predicted: {out}/manifest.jsonl",
            file=sys.stderr,
        )
        sys.exit(1)
