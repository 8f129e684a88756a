"""A finding: something about a data set that its owner should know, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segue.check.survey import One

SHOWN = 8  # names or values that a sentence lists


@dataclass(frozen=True)
class Finding:
    """Something about a data set that its owner should know.

    grave: training would stop at it, or learn or measure what is not so. kind: a heading. sentence: names a file or a
    class, and the mend. files: all that it is about, with what is particular to each. examples: pictures that show it.
    """

    grave: bool
    kind: str
    sentence: str
    files: tuple[tuple[str, str], ...] = ()
    examples: tuple[One, ...] = ()


def finding(
    grave: bool, kind: str, sentence: str, ones: Sequence[One], *, mask: bool = False, what: Sequence[str] = ()
) -> Finding:
    """A finding about these pictures, or their masks, with what is particular to each."""
    names = [one.mask_file if mask else one.file for one in ones]
    return Finding(grave, kind, sentence, tuple(zip(names, what or [""] * len(names), strict=True)), tuple(ones))


def and_others(count: int) -> str:
    """What is put behind the first of `count` files."""
    return "" if count == 1 else f" (and {count - 1:,} other{'s' if count > 2 else ''})"


def and_more(names: Sequence[str]) -> str:
    """What is put behind the first of some names: the others."""
    rest = names[1:]
    shown = ", ".join(rest[:SHOWN]) + (f" and {len(rest) - SHOWN} more" if len(rest) > SHOWN else "")
    return f" (the same of {shown})" if rest else ""


def by(size: tuple[int, int]) -> str:
    """(height, width) as people say it: 640x480."""
    return f"{size[1]}x{size[0]}"
