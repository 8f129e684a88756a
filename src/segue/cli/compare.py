"""segue compare."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.app import app, positive


@app.command
def compare(
    runs: Annotated[tuple[str, ...], Parameter(consume_multiple=True)],
    /,
    *,
    split: str = "val",
    data: str = "",
    root: str = "",
    out: str = "comparison",
    batch: int = 8,
    device: str = "",
) -> None:
    """Compare runs on the same pictures: measures, whether a difference is chance, speed, memory, where they differ.

    ```
    segue compare runs/*                  # all runs of a folder
    segue compare runs/unet runs/danet    # differences from the first one
    ```

    A run that is not evaluated on the split yet, or has been trained on since, is evaluated first.

    Parameters
    ----------
    runs
        Folders of two runs or more, of the same classes.
    split
        Which split of the data.
    data
        Other data than the runs' own: a data set's name or a folder.
    root
        Where a named data set lies now.
    out
        The folder for the page and the tables.
    batch
        Pictures of one size that go through a network together.
    device
        cpu, cuda or mps; by default the accelerator, if there is one.
    """
    from segue.assessment.comparing import compare_runs

    compared = compare_runs(
        runs, split=split, data=data, root=root, out=out, batch=positive("batch", batch), device=device
    )
    print(compared.lines())
