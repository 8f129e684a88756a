"""Data sets by name, folders of your own, augmentation and loading."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from segue.data.ade20k import ADE20K
from segue.data.bdd_anomaly import BDD_ANOMALY, BDD_ANOMALY3
from segue.data.camvid import CAMVID, CAMVID32
from segue.data.cityscapes import CITYSCAPES
from segue.data.coco_stuff import COCO_STUFF_10K, COCO_STUFF_164K
from segue.data.declaration import Declaration
from segue.data.drawn import SCENES
from segue.data.fishyscapes import FISHYSCAPES
from segue.data.folder import Understood, folder_labels, open_folder, understood
from segue.data.isbi2012 import ISBI2012
from segue.data.lip import LIP
from segue.data.nyudv2 import NYUDV2
from segue.data.pascal_context import CONTEXT59, CONTEXT60
from segue.data.places import Place, place
from segue.data.road_anomaly21 import ROAD_ANOMALY21
from segue.data.shards import is_shards, open_shards, shards_folder, understood_shards
from segue.data.source import DataSet, FileDataSet
from segue.data.streethazards import STREETHAZARDS
from segue.data.sun_rgbd import SUN_RGBD
from segue.data.voc2012 import VOC2012
from segue.errors import DataError
from segue.labels import Labels

DATASETS: dict[str, Declaration] = {
    one.name: one
    for one in (
        ADE20K,
        BDD_ANOMALY,
        BDD_ANOMALY3,
        CAMVID,
        CAMVID32,
        CITYSCAPES,
        COCO_STUFF_10K,
        COCO_STUFF_164K,
        FISHYSCAPES,
        ISBI2012,
        LIP,
        NYUDV2,
        CONTEXT59,
        CONTEXT60,
        ROAD_ANOMALY21,
        SCENES,
        STREETHAZARDS,
        SUN_RGBD,
        VOC2012,
    )
}

__all__ = [
    "DATASETS",
    "DataError",
    "DataSet",
    "Declaration",
    "FileDataSet",
    "Understood",
    "declared",
    "folder_labels",
    "open_folder",
    "open_split",
    "own_place",
    "short_name",
    "understand_own",
    "understood",
]


def declared(name: str) -> Declaration:
    """A data set by name. Raises DataError with the nearest name that there is."""
    if name not in DATASETS:
        raise DataError(f"{name}: there is no data set of this name; {_nearest(name)}")
    return DATASETS[name]


def open_split(name: str, root: str, split: str, labels: Labels | None = None) -> DataSet:
    """One split of a data set by name, of a folder of images and masks, or of tar shards.

    labels: what a folder's masks mean, when it is known already. Raises DataError for a name that is neither, with the
    nearest known one.
    """
    if name in DATASETS:
        if not root and not DATASETS[name].rootless:
            raise DataError(f"{name}: say where it lies with --root")
        where = place(root)
        if not where.is_dir():
            raise DataError(f"{root}: there is no such folder or zip archive; --root is where {name} lies")
        return DATASETS[name].open(where, split)
    if is_shards(name):
        return open_shards(name, split, labels)
    return open_folder(own_place(name), split, labels)


def understand_own(name: str, values: Mapping[int, int], classes: Sequence[str], training: str) -> Understood:
    """What own data means: a folder, a zip archive or tar shards.

    values, classes: what the recipe says of label map and class names. training: the split that is looked at.
    """
    if is_shards(name):
        return understood_shards(name, values, classes, training)
    return understood(own_place(name), values, classes, training)


def own_place(name: str) -> Place:
    """Where own data lies, a folder or a zip archive. Raises DataError with the nearest data set's name otherwise."""
    where = place(name)
    if name in DATASETS and not where.is_dir():
        raise DataError(f"{name}: is a data set by name, where a folder or a zip archive is wanted")
    if not where.is_dir() and "/" not in name and "\\" not in name:
        raise DataError(f"{name}: there is no data set, folder or zip archive of this name; {_nearest(name)}")
    return where


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, DATASETS, n=1)
    return f"did you mean {near[0]}?" if near else f"data sets: {', '.join(DATASETS)}"


def short_name(name: str) -> str:
    """What `--data` names, in one word: the data set, or the folder, archive or shards' folder without its way."""
    if name in DATASETS:
        return name
    return shards_folder(name) if is_shards(name) else Path(name).expanduser().resolve().name
