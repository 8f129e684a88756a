"""ISBI 2012: membranes between cells in electron microscopy of a fly's nerve cord, 30 sections with masks.

Arganda-Carreras et al.: Crowdsourcing the creation of image segmentation algorithms for connectomics, Frontiers in
Neuroanatomy 9:142, 2015. Here 255 is a class, the inside of cells, and nothing is ignored.

There is no validation split: `val` is the last 6 sections and `train` the 24 before them, as neighbours are alike;
`all` is what the challenge trains on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segue.data.declaration import Archive, Declaration, Split
from segue.data.formats import read_page
from segue.data.layouts import Layout, Matched, Root
from segue.data.places import Place
from segue.data.source import DataSet, classes_of, read_raw_mask
from segue.labels import Labels

LABELS = Labels.from_table("  0    0   0   0  membrane\n255  255 255 255  cell")


class Sections(DataSet):
    """Pages of two TIFF stacks, one of pictures and one of masks, by their numbers from 0."""

    def __init__(self, volume: Place, masks: Place, pages: range, labels: Labels) -> None:
        self.volume, self.masks, self.pages, self.labels = volume, masks, pages, labels

    def __len__(self) -> int:
        return len(self.pages)

    def name(self, index: int) -> str:
        return f"{self.pages[index]:02d}"

    def image(self, index: int) -> np.ndarray:
        return np.repeat(read_page(self.volume, self.pages[index])[..., None], 3, axis=2)

    def target(self, index: int) -> np.ndarray:
        return classes_of(read_page(self.masks, self.pages[index]), self.labels, self.masks)


@dataclass(frozen=True)
class Stacks(Layout):
    """The challenge's own files."""

    pages: range
    volume: str = "train-volume.tif"
    masks: str = "train-labels.tif"

    def missing(self, root: Root) -> list[str]:
        return [way for way in (self.volume, self.masks) if not (root / way).is_file()]

    def open(self, root: Root, labels: Labels, anomalies: Labels | None) -> DataSet:
        return Sections(root / self.volume, root / self.masks, self.pages, labels)


def read_membranes(path: Place) -> np.ndarray:
    """A mask of a copy as single pictures; copies were resized or compressed here and there, so greys are rounded."""
    return np.where(read_raw_mask(path) >= 128, 255, 0).astype(np.uint8)


def _is_in(pages: range) -> Callable[[str], bool]:
    return lambda name: name.isdigit() and int(name) in pages


def _split(pages: range) -> Split:
    copy = Matched(
        image="data/membrane/train/image/{}.png",
        mask="data/membrane/train/label/{}.png",
        only=_is_in(pages),
        read=read_membranes,
    )
    return Split(len(pages), (Stacks(pages), copy))


ISBI2012 = Declaration(
    name="isbi2012",
    title="ISBI 2012, membranes of cells in electron microscopy",
    licence="non-commercial research with citation",
    labels=LABELS,
    splits={"train": _split(range(24)), "val": _split(range(24, 30)), "all": _split(range(30))},
    hidden={"test": "the challenge's server (http://brainiac2.mit.edu/isbi_challenge/) scored probabilities for it"},
    inside="data/membrane/train",
    archives=(
        Archive(
            name="unet-master.zip",  # the challenge's own server is off line more often than not
            place="data/membrane",
            holds="train",
            urls=("https://github.com/zhixuhao/unet/archive/refs/heads/master.zip",),
        ),
    ),
)
