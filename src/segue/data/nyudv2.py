"""NYU Depth V2, 40 classes.

Silberman, Hoiem, Kohli, Fergus: Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012; the 40 classes
are those of Gupta, Arbelaez, Malik (CVPR 2013). Pictures are 640x480 with their white frame; depth is not read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segue.data.declaration import Archive, Declaration, Split
from segue.data.formats import numbers, open_hdf5, recoded
from segue.data.layouts import Layout, Root
from segue.data.places import Place
from segue.data.source import DataSet, classes_of
from segue.labels import Labels

LABELS = Labels.from_table(
    """
 1  128   0   0  wall
 2    0 128   0  floor
 3  128 128   0  cabinet
 4    0   0 128  bed
 5  128   0 128  chair
 6    0 128 128  sofa
 7  128 128 128  table
 8   64   0   0  door
 9  192   0   0  window
10   64 128   0  bookshelf
11  192 128   0  picture
12   64   0 128  counter
13  192   0 128  blinds
14   64 128 128  desk
15  192 128 128  shelves
16    0  64   0  curtain
17  128  64   0  dresser
18    0 192   0  pillow
19  128 192   0  mirror
20    0  64 128  floor mat
21  128  64 128  clothes
22    0 192 128  ceiling
23  128 192 128  books
24   64  64   0  refridgerator
25  192  64   0  television
26   64 192   0  paper
27  192 192   0  towel
28   64  64 128  shower curtain
29  192  64 128  box
30   64 192 128  whiteboard
31  192 192 128  person
32    0   0  64  night stand
33  128   0  64  toilet
34    0 128  64  sink
35  128 128  64  lamp
36    0   0 192  bathtub
37  128   0 192  bag
38    0 128 192  otherstructure
39  128 128 192  otherfurniture
40   64   0  64  otherprop
""",
    ignored=(0,),
)


NAMED = numbers("""
21 11 3 157 5 83 19 28 59 88 64 7 80 36 42 89 169 119 122 143 141 4 85 17 172 15 135 123 26 45 331 158 124 24 144
136 55
""")
"""Of the 894 original labels, those of the first 37 classes, in order."""

OTHER_STRUCTURE = numbers("""
8 25 33 38 51 53 57 58 62 65 79 94 104 112 134 153 215 216 223 225 238 241 242 256 295 301 339 342 354 363 372 380
392 408 412 453 456 463 477 497 541 550 553 567 573 582 591 609 612 615 642 645 657 658 659 663 667 668 686 700 702
777 778 782 850 861 868 874
""")
OTHER_FURNITURE = numbers("""
12 43 48 50 87 106 111 161 163 174 183 204 214 219 221 224 236 262 278 291 298 313 343 344 356 359 373 393 401 414
418 419 430 443 444 447 448 457 458 460 462 475 479 485 486 493 494 498 499 509 510 515 521 524 540 549 551 554 556
558 576 580 608 625 703 734 770 772 797 800 803 804 813 814 815 820 829 835 858 863 882 892
""")


def _raw_value(original: int) -> int:
    """An original label, 0..894 -> 0 void, 1..40; whatever is not named is a prop."""
    if original == 0:
        return 0
    if original in NAMED:
        return NAMED.index(original) + 1
    return 38 if original in OTHER_STRUCTURE else 39 if original in OTHER_FURNITURE else 40


TABLE = tuple(_raw_value(original) for original in range(895))

TESTING = numbers("""
1-2 9 14-18 21 28-43 46-47 56-57 59-63 76-79 84-91 117-119 125-129 131-134 137 153-155 167-169 171-176 180-202
207-212 220-222 250 264 271-273 279-285 296-302 310-312 315-317 325-335 351-352 355-364 384-390 395-397 411-414
430-435 441-448 462-466 469-477 508-513 515-526 531-533 537-539 549-551 555-571 579-583 591-594 603-607 612-613
617-621 633-638 644-645 650-651 656-658 663-664 668-673 676-681 686-690 693-694 697-699 706-713 717-718 724-728
731-734 743-744 759-787 800-804 810-814 821-823 833-846 850-852 857-862 869-871 906-908 917-919 926-928 932-935
945-947 959-962 965-967 970-977 991-995 1001-1004 1010-1012 1021-1023 1032-1034 1038-1039 1048-1049 1052-1053
1057-1058 1075-1084 1088-1096 1098-1104 1106-1109 1117-1119 1123-1131 1135-1136 1144-1158 1162-1167 1170-1171
1174-1176 1179-1184 1192-1196 1201-1212 1216-1220 1226-1230 1233-1235 1247-1250 1254-1265 1275-1280 1285-1295
1297-1299 1302-1308 1314-1315 1329-1332 1335-1340 1347-1349 1353-1356 1364-1365 1368-1369 1384-1391 1394-1401
1407-1414 1421-1424 1430-1433 1441-1449
""")
"""The test frames, counted from 1 to 1449, as in splits.mat; the others train. No scene is in both."""

FILE = "nyu_depth_v2_labeled.mat"


class Frames(DataSet):
    """Frames of the one file that holds all, by their numbers from 1."""

    def __init__(self, place: Place, frames: tuple[int, ...], labels: Labels) -> None:
        self.place, self.frames, self.labels = place, frames, labels

    def __len__(self) -> int:
        return len(self.frames)

    def name(self, index: int) -> str:
        return f"{self.frames[index]:04d}"

    def image(self, index: int) -> np.ndarray:
        pixels = open_hdf5(self.place)["images"][self.frames[index] - 1]
        return np.ascontiguousarray(pixels.transpose(2, 1, 0))  # MATLAB's columns come first: (3, W, H)

    def target(self, index: int) -> np.ndarray:
        original = open_hdf5(self.place)["labels"][self.frames[index] - 1]
        return classes_of(recoded(np.ascontiguousarray(original.T), TABLE, self.place), self.labels, self.place)


@dataclass(frozen=True)
class Hdf5Frames(Layout):
    """Some frames of the file."""

    frames: tuple[int, ...]

    def missing(self, root: Root) -> list[str]:
        return [] if (root / FILE).is_file() else [FILE]

    def open(self, root: Root, labels: Labels, anomalies: Labels | None) -> DataSet:
        return Frames(root / FILE, self.frames, labels)


TRAINING = tuple(sorted(set(range(1, 1450)) - set(TESTING)))

NYUDV2 = Declaration(
    name="nyudv2",
    title="NYU Depth V2, colour pictures",
    licence="none stated; research use is customary",
    labels=LABELS,
    splits={
        "train": Split(795, (Hdf5Frames(TRAINING),)),
        "val": Split(654, (Hdf5Frames(TESTING),)),  # what papers validate on
        "test": Split(654, (Hdf5Frames(TESTING),)),
    },
    archives=(
        Archive(
            name=FILE,
            place=FILE,
            urls=("http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat",),
            sha256="2d724b0c0ab358aa1ce5df855e5bd14a2279ab7202efe22f32a30d612dcb86aa",
            md5="520609c519fba3ba5ac58c8fefcc3530",
            size=2972037809,
        ),
    ),
)
