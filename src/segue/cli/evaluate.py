"""segue evaluate."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.app import app, positive
from segue.cli.crf import CRFKeys, CRFSwitch, crf_changes
from segue.cli.inference import InferenceKeys
from segue.options import CRFOptions, InferenceOptions


@app.command
def evaluate(
    run: str,
    /,
    *,
    split: str = "val",
    data: str = "",
    root: str = "",
    batch: int = 8,
    out: str = "",
    device: str = "",
    boundary: Annotated[bool, Parameter(negative=())] = False,
    cells: str = "",
    inference: InferenceKeys = InferenceOptions(),  # noqa: B008
    with_crf: CRFSwitch = False,
    crf: CRFKeys = CRFOptions(),  # noqa: B008
) -> None:
    """Measure a run's model on a split, and write a page with every picture and its errors.

    IoU, accuracy, Dice, Boundary IoU and calibration per class, a 95 % interval of the mean IoU, who is taken for whom,
    the worst and the best pictures. `torchrun --nproc-per-node 4 -m segue evaluate RUN` shares the pictures.

    Parameters
    ----------
    run
        A run's folder.
    split
        Which split of the data.
    data
        Other data than the run's own: a data set's name or a folder.
    root
        Where a named data set lies now.
    batch
        Pictures of one size that go through the network together.
    out
        Where the tables and pictures go; RUN/evaluation/SPLIT by default, SPLIT-crf with the CRF.
    device
        cpu, cuda or mps; by default the accelerator, if there is one.
    boundary
        Measure the boundary F-measures as well, which takes time.
    cells
        A class whose regions are things of their own, as ISBI 2012's cells: measure V-rand and V-info.
    inference
        How a picture is looked at.
    with_crf
        Sharpen with the dense CRF: --crf for short. Any --crf.* switches it on as well.
    crf
        The CRF's parameters; by default those that tune-crf found for the run, if it has.
    """
    from segue.assessment import evaluate_run

    assessed = evaluate_run(
        run,
        split=split,
        data=data,
        root=root,
        batch=positive("batch", batch),
        out=out,
        device=device,
        crf=crf_changes(with_crf, crf),
        boundary=boundary,
        cells=cells,
        inference=inference,
    )
    if assessed is not None:
        print(assessed.lines())
