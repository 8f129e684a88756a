"""segue calibrate."""

from __future__ import annotations

from segue.cli.app import app


@app.command
def calibrate(run: str, /, *, split: str = "val", data: str = "", root: str = "", device: str = "") -> None:
    """Make a run's confidence honest: fit the temperature of its probabilities, and keep it with the model.

    The classes it predicts stay the same. Fit it on pictures that it was not trained on, and report on others.

    Parameters
    ----------
    run
        A run's folder.
    split
        The split to fit on.
    data
        Other data than the run's own: a data set's name or a folder.
    root
        Where a named data set lies now.
    device
        cpu, cuda or mps; by default the accelerator, if there is one.
    """
    from segue.assessment.calibrating import calibrate as fit

    print(fit(run, split=split, data=data, root=root, device=device).lines())
