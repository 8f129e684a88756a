"""--crf of evaluate and predict, and segue tune-crf."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from segue.cli.app import Given, app
from segue.options import CRFOptions, CRFSearch

CRF = "--with-crf"
"""What `--crf` is: a word cannot be a switch and the beginning of `--crf.iterations` at once."""

CRFSwitch = Annotated[bool, Parameter(name=CRF, negative=())]
CRFKeys = Annotated[CRFOptions, Parameter(name="--crf", show_default=True)]


def crf_changes(switched_on: bool, options: CRFOptions) -> dict[str, Any] | None:
    """The CRF's options that were given; None where there shall be no CRF."""
    given = {keys[1]: getattr(options, keys[1]) for keys in Given.names if keys[0] == "crf"}
    return given if switched_on or given else None


@app.command
def tune_crf(
    run: str,
    /,
    *,
    split: str = "val",
    data: str = "",
    root: str = "",
    device: str = "",
    search: Annotated[CRFSearch, Parameter(name="*", show_default=True)] = CRFSearch(),  # noqa: B008
) -> None:
    """Search the best parameters of the dense CRF for a run: `--crf` of evaluate and predict then takes them.

    Killed, it goes on where it stopped. RUN/crf/search.csv holds every combination tried.

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
    device
        cpu, cuda or mps; by default the accelerator, if there is one.
    search
        What is tried.
    """
    from segue import tuning

    print(tuning.tune(run, search, split=split, data=data, root=root, device=device).lines())
