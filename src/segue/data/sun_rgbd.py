"""SUN RGB-D, 37 classes: colour pictures of rooms from four kinds of sensors.

Song, Lichtenberg, Xiao: SUN RGB-D: A RGB-D Scene Understanding Benchmark Suite, CVPR 2015. Its pictures hold those of
NYU Depth V2, in other splits: a network trained here has seen that test set. Depth is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from segue.data.declaration import Archive, Declaration, Split
from segue.data.formats import open_hdf5, recoded, scipy_io
from segue.data.layouts import Layout, Paired, Root, find_files, missing_folders, pair_up
from segue.data.places import Place
from segue.data.source import DataSet, MaskReader, Pair, classes_of
from segue.errors import DataError
from segue.labels import Labels
from segue.reading import decoding, read_image

LABELS = Labels.from_table(
    """
 1  153 112  72  wall
 2   91 134  83  floor
 3  153  91  90  cabinet
 4  118 106 128  bed
 5  118  94  89  chair
 6  148 109 126  sofa
 7  119 119 119  table
 8  131 131  85  door
 9   95 131 137  window
10  153 153 107  bookshelf
11  151  77  68  picture
12  152 108  59  counter
13  151 123 137  blinds
14  113  77 113  desk
15  153 142  67  shelves
16   33  76 110  curtain
17   91  47  98  dresser
18  153 153  31  pillow
19  148  77 115  mirror
20   59  18  13  floor_mat
21   11  85 123  clothes
22   60 118 145  ceiling
23    9  69  63  books
24   32  56  90  fridge
25   71  91  37  tv
26   32  80  95  paper
27   77  91 118  towel
28  103 118  79  shower_curtain
29   27  53  83  box
30  140  96  41  whiteboard
31   68  37  71  person
32   94  95 133  night_stand
33   44  51  79  toilet
34  109 124  64  sink
35   59  73  34  lamp
36  139 112  49  bathtub
37   84  65  29  bag
""",
    ignored=(0,),
)


@dataclass(frozen=True)
class Numbered(Paired):
    """The copy of ankurhanda/sunrgbd-meta-data, each archive in a folder of its own name.

    masks: the split's numbers; all masks are numbered through, those of the test pictures first. The training pictures
    may have these numbers as well, or start from 1.
    """

    image: str
    masks: range
    mask: str = "sunrgbd_train_test_labels/img-{}.png"
    read: MaskReader | None = None

    def missing(self, root: Root) -> list[str]:
        return missing_folders(root, self.image, self.mask)

    def pairs(self, root: Root) -> tuple[Pair, ...]:
        images = find_files(root, self.image, str.isdigit)
        masks = find_files(root, self.mask, lambda name: name.isdigit() and int(name) in self.masks)
        shift = 0 if min(map(int, images)) in self.masks else self.masks.start - 1
        renumbered = {f"{int(number) - shift:06d}": place for number, place in masks.items()}
        return pair_up(images, renumbered, self.image, self.mask)


TOOLBOX = "SUNRGBDtoolbox"
PICTURES = f"{TOOLBOX}/Metadata/SUNRGBDMeta.mat"
MASKS = f"{TOOLBOX}/Metadata/SUNRGBD2Dseg.mat"
SPLITS = f"{TOOLBOX}/traintestSUNRGBD/allsplit.mat"


@dataclass(frozen=True)
class Frame:
    """A picture of the original release, and its place among the masks."""

    name: str
    image: Place
    number: int


class Frames(DataSet):
    """Pictures of the original release, whose masks are all in one file."""

    def __init__(self, frames: tuple[Frame, ...], masks: Place, labels: Labels) -> None:
        self.frames, self.masks, self.labels = frames, masks, labels

    def __len__(self) -> int:
        return len(self.frames)

    def name(self, index: int) -> str:
        return self.frames[index].name

    def image(self, index: int) -> np.ndarray:
        return read_image(self.frames[index].image)

    def target(self, index: int) -> np.ndarray:
        file = open_hdf5(self.masks)
        reference = file["SUNRGBD2Dseg"]["seglabel"][self.frames[index].number, 0]
        columns = np.asarray(file[reference])  # MATLAB's columns come first
        return classes_of(recoded(np.ascontiguousarray(columns.T), (), self.masks), self.labels, self.masks)


@dataclass(frozen=True)
class Original(Layout):
    """The authors' two archives, unpacked beside one another; `split` is alltrain or alltest."""

    split: str

    def missing(self, root: Root) -> list[str]:
        files = [way for way in (PICTURES, MASKS, SPLITS) if not (root / way).is_file()]
        return files if (root / "SUNRGBD").is_dir() else ["SUNRGBD", *files]

    def open(self, root: Root, labels: Labels, anomalies: Labels | None) -> DataSet:
        chosen = set(_ways(root / SPLITS, self.split))
        frames = []
        for number, way in enumerate(_ways(root / PICTURES, "SUNRGBDMeta", "rgbpath")):
            folder = way.parent.parent  # of kv1/NYUdata/NYU0001/image/NYU0001.jpg
            if folder in chosen:
                frames.append(Frame(folder.as_posix(), root / f"SUNRGBD/{way}", number))
        if not frames:
            raise DataError(f"{root / SPLITS}: {self.split} names none of the pictures of {root / PICTURES}")
        return Frames(tuple(frames), root / MASKS, labels)


def _ways(path: Place, *keys: str) -> Iterator[PurePosixPath]:
    """The paths in a field of a MATLAB file, from below the authors' own folder SUNRGBD/ on."""
    loadmat = scipy_io(path).loadmat
    with decoding(path, "file"), path.open("rb") as stream:
        cells = loadmat(stream, variable_names=[keys[0]])
        for key in keys:
            cells = cells[key]
        texts = [str(np.asarray(cell).item()) for cell in cells.ravel()]
    return (PurePosixPath(text.partition("SUNRGBD/")[2].lstrip("/")) for text in texts)


TRAIN = Split(5285, (Numbered("SUNRGBD-train_images/img-{}.jpg", range(5051, 10336)), Original("alltrain")))
TEST = Split(5050, (Numbered("SUNRGBD-test_images/img-{}.jpg", range(1, 5051)), Original("alltest")))

SUN_RGBD = Declaration(
    name="sun_rgbd",
    title="SUN RGB-D, colour pictures",
    licence="none stated; the authors ask that all four source papers be cited",
    labels=LABELS,
    splits={"train": TRAIN, "val": TEST, "test": TEST},  # papers validate on test
    archives=(
        Archive(
            name="SUNRGBD-train_images.tgz",
            place="SUNRGBD-train_images",
            holds="img-*.jpg",
            urls=("http://www.doc.ic.ac.uk/~ahanda/SUNRGBD-train_images.tgz",),
        ),
        Archive(
            name="SUNRGBD-test_images.tgz",
            place="SUNRGBD-test_images",
            holds="img-*.jpg",
            urls=("http://www.doc.ic.ac.uk/~ahanda/SUNRGBD-test_images.tgz",),
        ),
        Archive(
            name="sunrgbd_train_test_labels.tar.gz",
            place="sunrgbd_train_test_labels",
            holds="img-*.png",
            urls=("https://github.com/ankurhanda/sunrgbd-meta-data/raw/master/sunrgbd_train_test_labels.tar.gz",),
        ),
    ),
)
