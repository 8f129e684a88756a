"""segue predict."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.app import app, positive
from segue.cli.crf import CRFKeys, CRFSwitch, crf_changes
from segue.options import CRFOptions


@app.command
def predict(
    run: str,
    inputs: Annotated[tuple[str, ...], Parameter(consume_multiple=True)],
    /,
    *,
    out: str = "masks",
    overlays: bool = True,
    batch: int = 8,
    device: str = "",
    with_crf: CRFSwitch = False,
    crf: CRFKeys = CRFOptions(),  # noqa: B008
) -> None:
    """Segment pictures: masks in the data's own label values, and overlays.

    Parameters
    ----------
    run
        A run's folder.
    inputs
        Pictures, folders of pictures, or patterns.
    out
        The folder for the masks; overlays go to overlays/ in it.
    overlays
        Write overlays as well.
    batch
        Pictures of one size that go through the network together.
    device
        cpu, cuda or mps; by default the accelerator, if there is one.
    with_crf
        Sharpen with the dense CRF: --crf for short. Any --crf.* switches it on as well.
    crf
        The CRF's parameters; by default those that tune-crf found for the run, if it has.
    """
    from segue import apply

    if not inputs:
        raise ValueError("name pictures, folders or patterns to predict")
    outcome = apply.predict_files(
        run,
        inputs,
        out=out,
        overlays=overlays,
        batch=positive("batch", batch),
        device=device,
        crf=crf_changes(with_crf, crf),
    )
    print(f"{outcome.done} masks in {out}")
    if outcome.failed:
        raise ValueError(f"{len(outcome.failed)} of {outcome.done + len(outcome.failed)} pictures could not be read")
