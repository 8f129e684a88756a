"""segue evaluate."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.app import app, positive
from segue.cli.crf import CRFKeys, CRFSwitch, crf_changes
from segue.options import CRFOptions


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
    with_crf: CRFSwitch = False,
    crf: CRFKeys = CRFOptions(),  # noqa: B008
) -> None:
    """Measure a run's model on a split: IoU, accuracy and Dice per class, the confusion matrix, the worst pictures.

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
        Measure the boundaries as well, which takes time.
    with_crf
        Sharpen with the dense CRF: --crf for short. Any --crf.* switches it on as well.
    crf
        The CRF's parameters; by default those that tune-crf found for the run, if it has.
    """
    from segue import apply
    from segue.model import load

    evaluation = apply.evaluate_run(
        run,
        split=split,
        data=data,
        root=root,
        batch=positive("batch", batch),
        out=out,
        device=device,
        crf=crf_changes(with_crf, crf),
        boundary=boundary,
    )
    print(apply.summary_lines(evaluation, load(run, "cpu").labels))
