"""segue list."""

from __future__ import annotations

from typing import Literal

from segue.cli.app import app


@app.command(name="list")
def list_things(
    what: Literal["networks", "datasets", "recipes", "backbones"] | None = None, pattern: str = "*", /
) -> None:
    """List what there is.

    Parameters
    ----------
    what
        networks, datasets, recipes or backbones.
    pattern
        A shell-style pattern that names must match.
    """
    if what is None:
        raise ValueError("say what to list: networks, datasets, recipes or backbones")
    from segue import listing

    for line in listing.lines(what, pattern):
        print(line)
