"""Files that name classes: a name per line, with values or colours; JSON; CSV; the tables of CamVid and of CVAT."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segue.data.places import Place
from segue.errors import DataError
from segue.labels import Colour

NAMES = (
    "classes.txt", "classes.json", "classes.csv", "labels.txt", "labels.json", "labels.csv", "label_colors.txt",
    "labelmap.txt", "class_dict.csv", "_classes.csv", "codes.txt", "class_names.txt",
)  # fmt: skip
"""What such a file may be called, in a data set's folder or beside its training pictures."""

VOID = ("void", "unlabelled", "unlabeled", "ignore", "ignored", "__ignore__", "don't care", "dontcare")
"""Classes of these names are left out of training and measuring."""

LINES = (
    r"(?P<red>\d+)[\s,]+(?P<green>\d+)[\s,]+(?P<blue>\d+)[\s,]+(?P<name>.*\D.*)",  # CamVid's label_colors.txt
    r"(?P<name>[^:]+):(?P<red>\d+),(?P<green>\d+),(?P<blue>\d+)(:.*)?",  # CVAT's labelmap.txt
    r"(?P<name>.*?\D)[\s,;:]+(?P<red>\d+)[\s,]+(?P<green>\d+)[\s,]+(?P<blue>\d+)",
    r"(?P<value>\d+)\s*[:,;=\s]\s*(?P<name>.*\D.*)",
    r"(?P<name>.*?\D)\s*[:,;=]\s*(?P<value>\d+)",
    r"(?P<name>.+)",
)
"""The kinds of a text file's lines; the first one that fits all lines is taken."""

COLUMNS = {
    "name": ("name", "class", "label", "class name"),
    "value": ("value", "id", "index", "pixel value", "raw"),
    "red": ("r", "red"),
    "green": ("g", "green"),
    "blue": ("b", "blue"),
}
"""What the columns of a CSV file may be called, in small letters."""


@dataclass(frozen=True)
class ClassRow:
    """One class as a file has it: its name, and its value or colour where the file says so."""

    name: str
    value: int | None = None
    colour: Colour | None = None

    @property
    def is_void(self) -> bool:
        """Whether its pixels are not to be counted."""
        return self.name.strip().lower() in VOID


@dataclass(frozen=True)
class ClassTable:
    """The classes that a file names, in its order."""

    path: Place
    rows: tuple[ClassRow, ...]

    @property
    def has_colours(self) -> bool:
        """Whether every class has a colour of its own."""
        colours = [row.colour for row in self.rows]
        return None not in colours and len(set(colours)) == len(colours)

    @property
    def has_values(self) -> bool:
        """Whether every class has a value of its own."""
        values = [row.value for row in self.rows]
        return None not in values and len(set(values)) == len(values)


def find_class_table(folders: Iterable[Place]) -> ClassTable | None:
    """The first file of one of the `NAMES` in these folders; None when there is none."""
    for folder in folders:
        for name in NAMES:
            if (folder / name).is_file():
                return read_class_table(folder / name)
    return None


def read_class_table(path: Place) -> ClassTable:
    """The classes that a .txt, .csv or .json file names. Raises DataError for one that does not name any."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); save it as text in UTF-8") from error
    if path.suffix == ".json":
        rows = _of_json(text, path)
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        rows = _of_csv(lines, path) or _of_lines(lines, path)
    if not rows:
        raise DataError(f"{path}: names no class; write a name per line")
    for row in rows:
        if row.colour is not None and max(row.colour) > 255:
            raise DataError(f"{path}: {row.name} has the colour {row.colour}; a channel is at most 255")
    return ClassTable(path, tuple(rows))


def _of_lines(lines: Sequence[str], path: Place) -> list[ClassRow]:
    for kind in LINES:
        matches = [re.fullmatch(kind, line) for line in lines]
        if all(matches):
            return [_row(match.groupdict(), path) for match in matches if match]
    return []


def _of_csv(lines: Sequence[str], path: Place) -> list[ClassRow]:
    """The rows of a table with known column titles; none when the first line has no such titles."""
    if path.suffix != ".csv" or not lines:
        return []
    reader = csv.DictReader(lines, skipinitialspace=True)
    titles = {title.strip().lower(): title for title in reader.fieldnames or ()}
    columns = {key: titles[one] for key, known in COLUMNS.items() for one in known if one in titles}
    if "name" not in columns:
        return []
    return [_row({key: line.get(title) for key, title in columns.items()}, path) for line in reader]


def _row(fields: Mapping[str, Any], path: Place) -> ClassRow:
    """A class of texts under the names `name`, `value`, `red`, `green` and `blue`."""

    def number(key: str) -> int:
        text = str(fields[key]).strip()
        if not text.isdecimal():
            raise DataError(f"{path}: {fields.get('name')} has the {key} {text!r}; it must be a whole number")
        return int(text)

    colour = (number("red"), number("green"), number("blue")) if fields.get("red") is not None else None
    return ClassRow(str(fields["name"]).strip(), number("value") if fields.get("value") is not None else None, colour)


def _of_json(text: str, path: Place) -> list[ClassRow]:
    """A list of names or of objects, or a table from name to value or colour, or from value to name."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: is not JSON ({error})") from error
    if isinstance(content, dict) and len(content) <= 2:
        content = next((one for key, one in content.items() if key in ("classes", "labels", "names")), content)
    if isinstance(content, dict):
        return [_of_entry(key, value, path) for key, value in content.items()]
    if isinstance(content, list):
        return [_of_object(one, path) if isinstance(one, dict) else ClassRow(str(one)) for one in content]
    raise DataError(f"{path}: names no class; write a list of names, or a table from name to value or colour")


def _of_entry(key: str, value: object, path: Place) -> ClassRow:
    if isinstance(value, str) and key.isdecimal():
        return ClassRow(value, int(key))
    if isinstance(value, int):
        return ClassRow(key, value)
    return ClassRow(key, None, _colour(key, value, path))


def _of_object(fields: Mapping[str, Any], path: Place) -> ClassRow:
    known = {key.lower(): value for key, value in fields.items()}
    name = next((known[key] for key in COLUMNS["name"] if key in known), None)
    value = next((known[key] for key in COLUMNS["value"] if key in known), None)
    colour = next((known[key] for key in ("color", "colour", "rgb") if key in known), None)
    if name is None or not isinstance(value, int | None):
        raise DataError(
            f"{path}: {json.dumps(fields)[:80]}: a class needs a name, and a whole number if it has a value"
        )
    return ClassRow(str(name), value, None if colour is None else _colour(str(name), colour, path))


def _colour(name: str, value: object, path: Place) -> Colour:
    """[128, 64, 0] or "#804000"."""
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        value = list(bytes.fromhex(value[1:]))
    if isinstance(value, list) and len(value) >= 3 and all(isinstance(one, int) and 0 <= one <= 255 for one in value):
        return value[0], value[1], value[2]
    raise DataError(f"{path}: {name} has {value!r}; it must be a value, or a colour such as [128, 64, 0] or #804000")
