"""What an explainer gives: a sheet, and the name of its file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from segue.explain.sheet import Sheet
from segue.explain.subject import Subject


class CannotDraw(ValueError):
    """A picture cannot be made of this subject; the message says why."""


@dataclass(frozen=True)
class Drawing:
    """A sheet, and the name of its file without suffix."""

    name: str
    sheet: Sheet


Draw = Callable[[Subject], Drawing]
