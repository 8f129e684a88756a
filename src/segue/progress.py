"""A progress line: redrawn in place on a terminal, a line now and then in a file."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class ProgressLine:
    """Shows one changing line of text; `finish` leaves the last one standing."""

    def __init__(self, stream: TextIO | None = None, every: float = 0.1, every_in_file: float = 30.0) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.every = every if self.live else every_in_file
        self.shown = float("-inf")
        self.width = 0

    def show(self, text: str) -> None:
        """Show this text, unless the last one is too recent."""
        now = time.monotonic()
        if now - self.shown < self.every:
            return
        self.shown = now
        if self.live:
            self.stream.write("\r" + text.ljust(self.width))
            self.width = len(text)
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def say(self, text: str) -> None:
        """Write a line that stays, above the changing one."""
        if self.live and self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.width = 0
        self.stream.write(text + "\n")
        self.stream.flush()

    def finish(self) -> None:
        """End the changing line."""
        if self.live and self.width:
            self.stream.write("\n")
            self.stream.flush()
            self.width = 0


def bar(done: int, total: int, width: int = 24) -> str:
    """`[######......]` for so many of so many."""
    filled = width * done // max(total, 1)
    return "[" + "#" * filled + "." * (width - filled) + "]"


def duration(seconds: float) -> str:
    """`48 s`, `12 min` or `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def counted(count: int, what: str) -> str:
    """`1 shard` or `2 shards`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def in_bytes(count: float) -> str:
    """`312 MB` or `2.0 GB`."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
