"""Data sets by name, folders of your own, augmentation and loading."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from segue.data.camvid import open_camvid
from segue.data.drawn import open_scenes
from segue.data.folder import folder_labels, open_folder
from segue.data.source import DataSet, FileDataSet
from segue.errors import DataError
from segue.labels import Labels

DATASETS: dict[str, Callable[[Path, str], DataSet]] = {
    "camvid": open_camvid,
    "scenes": open_scenes,
}
"""name -> (root, split) -> one split of the data set."""

WITHOUT_ROOT = ("scenes",)

__all__ = ["DATASETS", "DataError", "DataSet", "FileDataSet", "folder_labels", "open_folder", "open_split"]


def open_split(name: str, root: str, split: str, labels: Labels | None = None) -> DataSet:
    """One split of a data set by name, or of a folder of images and masks.

    labels: what a folder's masks mean, when it is known already. Raises DataError for a name that is neither, with the
    nearest known one.
    """
    if name in DATASETS:
        if not root and name not in WITHOUT_ROOT:
            raise DataError(f"{name}: say where it lies with --root")
        if root and not Path(root).expanduser().is_dir():
            raise DataError(f"{root}: there is no such folder; --root is where {name} lies")
        return DATASETS[name](Path(root).expanduser(), split)
    path = Path(name).expanduser()
    if not path.is_dir() and "/" not in name and "\\" not in name:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"data sets: {', '.join(DATASETS)}"
        raise DataError(f"{name}: there is no data set and no folder of this name; {hint}")
    return open_folder(path, split, labels)
