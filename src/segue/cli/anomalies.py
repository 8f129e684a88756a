"""segue anomalies."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.app import app, positive

DEFAULT = ("max_softmax", "max_logit", "entropy", "energy")


@app.command
def anomalies(
    run: str,
    /,
    *,
    split: str = "val",
    data: str = "",
    root: str = "",
    scores: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = DEFAULT,
    components: bool = True,
    least_predicted: int = 500,
    least_true: int = 100,
    learnt: int = 200,
    passes: int = 8,
    batch: int = 4,
    out: str = "",
    device: str = "",
) -> None:
    """Measure how well a run's model notices what it was not trained on.

    The pictures are of a data set that marks anomalies (streethazards, bdd_anomaly, fishyscapes, road_anomaly21), or of
    the run's own data, where classes were held out in training: segue train NETWORK --data camvid --hold-out Bicyclist.

    Parameters
    ----------
    run
        A run's folder.
    split
        Which split of the data.
    data
        A data set that marks anomalies; by default the run's own, with the classes that were held out.
    root
        Where a named data set lies.
    scores
        max_softmax, max_logit, entropy, energy; standardised_max_logit and mahalanobis look at training pictures first,
        memory needs a network with a memory of classes (mcibi), dropout and dropout_entropy one with dropout.
    components
        Measure sIoU, PPV and F1* as well, which takes a second pass.
    least_predicted
        Predicted components of fewer pixels are left out.
    least_true
        True components of fewer pixels are left out.
    learnt
        How many training pictures are looked at.
    passes
        Passes with dropout.
    batch
        Pictures of one size that go through the network together.
    out
        Where tables, curves and maps go; RUN/anomalies/SPLIT by default.
    device
        cpu, cuda or mps; by default the accelerator, if there is one.
    """
    from segue.assessment.anomalies import Sizes, evaluate_anomalies

    found = evaluate_anomalies(
        run,
        split=split,
        data=data,
        root=root,
        scores=scores,
        components=components,
        sizes=Sizes(positive("least-predicted", least_predicted), positive("least-true", least_true)),
        learnt=positive("learnt", learnt),
        passes=positive("passes", passes),
        batch=positive("batch", batch),
        out=out,
        device=device,
    )
    if found is not None:
        print(found.lines())
