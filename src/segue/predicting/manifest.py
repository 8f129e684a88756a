"""The record of what was predicted, as JSON lines that are added to and never rewritten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.errors import DataError
from segue.files import make_folder

NAME = "manifest.jsonl"


@dataclass(frozen=True)
class Outcome:
    """How one file came out: what was written, or why nothing was.

    size: height and width. frames: of a video, how many. note: what is worth a line on the terminal.
    """

    path: str
    outputs: tuple[str, ...] = ()
    seconds: float = 0.0
    size: tuple[int, int] | None = None
    frames: int | None = None
    error: str = ""
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: input and error, or input, outputs, seconds and what there is to say of the size."""
        if self.error:
            return {"input": self.path, "error": self.error}
        found: dict[str, Any] = {
            "input": self.path, "outputs": list(self.outputs), "seconds": round(self.seconds, 4), "size": self.size,
            "frames": self.frames, "note": self.note,
        }  # fmt: skip
        return {key: value for key, value in found.items() if value not in (None, "")}


class Manifest:
    """OUT/manifest.jsonl: a line that says how, whenever a prediction begins, and a line for each file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def begin(self, how: Mapping[str, Any], *, go_on: bool) -> None:
        """Note how it is predicted from here on. Raises DataError when going on would mix two ways in one folder."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        before = next((found["how"] for line in reversed(lines) if "how" in (found := _read(line))), None)
        how = json.loads(json.dumps(how))
        if go_on and before is not None and before != how:
            changed = (
                f"{key} {json.dumps(before.get(key))} there, {json.dumps(how.get(key))} now"
                for key in sorted({*how, *before})
                if how.get(key) != before.get(key)
            )
            raise DataError(
                f"{self.path}: what is there was predicted otherwise ({'; '.join(changed)}); choose another folder "
                "with --out, or leave out --skip-existing"
            )
        make_folder(self.path.parent)
        whole = not lines or self.path.read_bytes().endswith(b"\n")  # a kill may have cut the last line
        self._append(("" if whole else "\n") + json.dumps({"how": how}, ensure_ascii=False))

    def add(self, outcome: Outcome) -> None:
        """A line for a file."""
        self._append(json.dumps(outcome.to_dict(), ensure_ascii=False))

    def _append(self, line: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _read(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
