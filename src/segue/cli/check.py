"""segue check."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from segue.cli.app import app


@app.command
def check(
    data: str,
    /,
    *,
    root: str = "",
    out: str = "",
    workers: int = 0,
    map: dict[str, int] | None = None,  # the recipe's own word
    classes: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
) -> None:
    """Look through a data set for what would make training go wrong: one sentence for each finding.

    Exit code 0 when nothing would, 1 when something would, 2 when there is nothing to look at.

    Parameters
    ----------
    data
        A folder, a zip archive, tar shards, or a data set's name.
    root
        Where a named data set lies: a folder or a zip archive.
    out
        Where the page, the tables and the picture go; checks/NAME by default.
    workers
        Processes that look; one per processor by default.
    map
        Raw mask value = class, 255 to ignore, as in a recipe's [data.map]: --map.0 255 --map.7 0.
    classes
        The classes' names, as in a recipe's data.classes.
    """
    from segue.check import check as look
    from segue.recipe import raw_values

    if workers < 0:
        raise ValueError(f"--workers {workers}: it must be 0 or more")
    values = raw_values(map or {}, "--map")
    checked = look(data, root, out=out, workers=workers, values=values, classes=classes)
    for line in checked.lines:
        print(line)
    print(f"See {checked.page}")
    if checked.grave:
        sys.exit(1)
