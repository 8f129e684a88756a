"""Labels of annotations that speak of classes by name: background is 0, and the classes follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segue.data.folder.meaning import Meaning
from segue.data.places import Place
from segue.errors import DataError
from segue.labels import IGNORE, UNKNOWN, Labels

BACKGROUND = "background"
BACKGROUND_NAMES = (BACKGROUND, "_background_", "__background__")
IGNORED_NAME = "__ignore__"


def is_background(name: str) -> bool:
    """Whether a class is what nothing covers."""
    return name.strip().lower() in BACKGROUND_NAMES


def named_labels(
    root: Place, found: Sequence[str], values: Mapping[int, int], names: Sequence[str], own: Mapping[str, int]
) -> Meaning:
    """Labels of classes by name.

    found: the names, in their order; background is put before them. own: name -> the value that the data itself has for
    it, which becomes the raw value where all of them can. Raises DataError for a label map or other names, which belong
    to masks of values, and for no class.
    """
    if values or names:
        raise DataError(f"{root}: its annotations name their classes; drop data.map and data.classes")
    classes = [name for name in dict.fromkeys(found) if not is_background(name) and name != IGNORED_NAME]
    if not classes:
        raise DataError(f"{root}: its annotations name no class")
    if len(classes) >= UNKNOWN:
        raise DataError(f"{root}: its annotations name {len(classes)} classes, and {UNKNOWN - 1} are the most")
    numbers = [own.get(name, 0) for name in classes]
    fit = len(set(numbers)) == len(numbers) and all(0 < number < IGNORE for number in numbers)
    raws = [0, *(numbers if fit else range(1, len(classes) + 1))]
    labels = Labels((BACKGROUND, *classes), {**{raw: index for index, raw in enumerate(raws)}, IGNORE: IGNORE})
    shown = ", ".join(classes[:8]) + (f" and {len(classes) - 8} more" if len(classes) > 8 else "")
    return Meaning(labels, (f"{len(classes)} classes drawn on background: {shown}",))


def raw_of(labels: Labels, name: str, path: Place) -> int:
    """The raw value of a class by its name. Raises DataError when the labels do not have it."""
    if name == IGNORED_NAME:
        return IGNORE
    wanted = BACKGROUND if is_background(name) else name
    if wanted not in labels.classes:
        raise DataError(f"{path}: has the class {name!r}, which is none of {', '.join(labels.classes)}")
    return labels.written[labels.classes.index(wanted)]
