"""--point x,y of explain and field."""

from __future__ import annotations

from collections.abc import Sequence


def points(texts: Sequence[str]) -> list[tuple[int, int]]:
    """`120,80` as (120, 80), for each. Raises ValueError for anything else."""
    found = []
    for text in texts:
        x, comma, y = text.partition(",")
        if not (comma and x.strip().isdecimal() and y.strip().isdecimal()):
            raise ValueError(f"--point {text}: write a pixel as x,y, as in 120,80; 0,0 is the upper left one")
        found.append((int(x), int(y)))
    return found
