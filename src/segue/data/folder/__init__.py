"""A folder of your own, or a zip archive: how it is laid out, and what its masks or annotations mean.

Masks may be pictures (see `mask_files`), COCO JSON, polygons of labelme, or polygons of YOLO; whichever is found first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from segue.data.folder.arrangement import Arrangement
from segue.data.folder.coco import find_coco
from segue.data.folder.labelme import find_labelme
from segue.data.folder.mask_files import find_mask_files
from segue.data.folder.pairing import in_validation
from segue.data.folder.yolo import find_yolo
from segue.data.places import Place, any_below, is_aside, only_folder
from segue.data.source import FileDataSet
from segue.errors import DataError
from segue.labels import Labels
from segue.reading import IMAGE_SUFFIXES

__all__ = ["Arrangement", "Understood", "folder_labels", "in_validation", "open_folder", "understand", "understood"]


@dataclass(frozen=True)
class Understood:
    """What a folder is taken to be. lines: the same, in a few lines for people."""

    labels: Labels
    lines: tuple[str, ...]


def understand(root: Place) -> Arrangement:
    """The kind of data that a folder holds. Raises DataError when it is none that is known.

    Where a folder holds nothing but one other folder, as archives often do, that one is meant.
    """
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder, and no data set of this name")
    for folder in (root, *only_folder(root)):
        found = _found(folder)
        if found is not None:
            return found
    raise DataError(f"{root}: {_what_is_there(root)}")


def _found(folder: Place) -> Arrangement | None:
    """A folder as the first of the kinds that it is."""
    finders = (find_mask_files, find_coco, find_yolo, find_labelme)
    return next((found for find in finders if (found := find(folder)) is not None), None)


def _what_is_there(root: Place) -> str:
    """What lies in a folder that is not understood, and what is looked for."""
    folders = sorted((one for one in root.iterdir() if not is_aside(one.name) and one.is_dir()), key=str)
    for folder in folders:
        with suppress(DataError):
            if _found(folder) is not None:
                return f"is no data that is known, but {folder.name}/ in it is; name {folder} instead"
    holding = [f"{folder.name}/" for folder in folders if any_below(folder, IMAGE_SUFFIXES)]
    where = f"in {', '.join(holding)}" if holding else "here alone"
    return (
        f"{f'pictures lie {where}' if any_below(root, IMAGE_SUFFIXES) else 'holds no pictures'}; there are no images/ "
        "beside masks/, nor train/ beside trainannot/, nor train/images/, nor a.jpg beside a_mask.png, nor COCO JSON, "
        "nor polygons of labelme or YOLO; see docs/data.md for what is looked for"
    )


def understood(
    root: Place, values: Mapping[int, int] | None = None, names: Sequence[str] = (), training: str = "train"
) -> Understood:
    """What a folder's pixels mean. values, names: what the recipe says of label map and class names.

    training: the split that is looked at. Raises DataError when its masks do not say, for the first file without a
    partner, and for an empty split.
    """
    arrangement = understand(root)
    arrangement.filled(training)
    meaning = arrangement.meaning(training, values or {}, names)
    return Understood(meaning.labels, (*arrangement.lines(), *meaning.lines))


def folder_labels(root: Place, values: Mapping[int, int] | None = None, classes: Sequence[str] = ()) -> Labels:
    """The labels alone of what is `understood`."""
    return understood(root, values, classes).labels


def open_folder(root: Place, split: str, labels: Labels | None = None) -> FileDataSet:
    """One split of a folder; `labels` as `folder_labels` understood them, or given.

    Raises DataError when there is no such folder, split or pair.
    """
    return understand(root).open(split, labels or folder_labels(root))
