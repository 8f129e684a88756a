"""PASCAL Context, 59 classes, or 60 with background.

Mottaghi et al.: The Role of Context for Object Detection and Semantic Segmentation in the Wild, CVPR 2014. The pictures
are those of VOC 2010. Figures for 59 and for 60 classes cannot be compared. Classes are in alphabetical order, as in
PASCAL in Detail; the authors of FCN put VOC's twenty first.
"""

from segue.data.declaration import Archive, Declaration, Split
from segue.data.formats import MatMask, numbers
from segue.data.layouts import Listed
from segue.labels import Labels

BACKGROUND = " 0  120 120 120  background"
OBJECTS = """
 1  180 120 120  aeroplane
 2    6 230 230  bag
 3   80  50  50  bed
 4    4 200   3  bedclothes
 5  120 120  80  bench
 6  140 140 140  bicycle
 7  204   5 255  bird
 8  230 230 230  boat
 9    4 250   7  book
10  224   5 255  bottle
11  235 255   7  building
12  150   5  61  bus
13  120 120  70  cabinet
14    8 255  51  car
15  255   6  82  cat
16  143 255 140  ceiling
17  204 255   4  chair
18  255  51   7  cloth
19  204  70   3  computer
20    0 102 200  cow
21   61 230 250  cup
22  255   6  51  curtain
23   11 102 255  dog
24  255   7  71  door
25  255   9 224  fence
26    9   7 230  floor
27  220 220 220  flower
28  255   9  92  food
29  112   9 255  grass
30    8 255 214  ground
31    7 255 224  horse
32  255 184   6  keyboard
33   10 255  71  light
34  255  41  10  motorbike
35    7 255 255  mountain
36  224 255   8  mouse
37  102   8 255  person
38  255  61   6  plate
39  255 194   7  platform
40  255 122   8  pottedplant
41    0 255  20  road
42  255   8  41  rock
43  255   5 153  sheep
44    6  51 255  shelves
45  235  12 255  sidewalk
46  160 150  20  sign
47    0 163 255  sky
48  140 140 140  snow
49  250  10  15  sofa
50   20 255   0  table
51   31 255   0  track
52  255  31   0  train
53  255 224   0  tree
54  153 255   0  truck
55    0   0 255  tvmonitor
56  255  71   0  wall
57    0 235 255  water
58    0 173 255  window
59   31   0 255  wood
"""

NAMED = numbers("""
0 2 9 18 19 22 23 25 31 33 34 44 45 46 59 65 68 72 80 85 98 104 105 113 115 144 158 159 162 187 189 207 220 232 258
259 260 284 295 296 308 324 326 347 349 354 355 360 366 368 397 415 416 420 424 427 440 445 454 458
""")
"""The 60 of the 459 original ids that are classes of their own, in the order of the classes; 0 is background."""

TABLE = tuple(NAMED.index(raw) if raw in NAMED else 0 for raw in range(460))
"""Original id -> raw value 0..59: what has no class of its own is background."""

VOC = "VOCdevkit/VOC2010"


def _split(name: str, pictures: int) -> Split:
    """VOC 2010's own lists have the same pictures as PASCAL in Detail, whose lists converters write."""
    return Split(
        pictures,
        tuple(
            Listed(
                lists=(f"{VOC}/ImageSets/{folder}/{name}.txt",),
                image=f"{VOC}/JPEGImages/{{}}.jpg",
                mask=(f"{VOC}/SegmentationClassContext/{{}}.png", "trainval/{}.mat"),
                read=MatMask("LabelMap", TABLE),
            )
            for folder in ("SegmentationContext", "Main")
        ),
    )


def _declared(name: str, title: str, labels: Labels) -> Declaration:
    return Declaration(
        name=name,
        title=title,
        licence="pictures of Flickr under its terms; masks for research, without a stated licence",
        labels=labels,
        splits={"train": _split("train", 4998), "val": _split("val", 5105)},
        inside=VOC,
        archives=(
            Archive(
                name="VOCtrainval_03-May-2010.tar",
                place=VOC,
                holds="JPEGImages",
                urls=("https://thor.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar",),
                md5="da459979d0c395079b5c75ee67908abb",
            ),
            Archive(
                name="trainval.tar.gz",
                place="trainval",
                holds="*.mat",
                urls=("https://cs.stanford.edu/~roozbeh/pascal-context/trainval.tar.gz",),
                md5="df034edb2c12aa7d33b42b20bb1796e3",
            ),
        ),
    )


CONTEXT59 = _declared("pascal_context59", "PASCAL Context without background", Labels.from_table(OBJECTS, ignored=(0,)))
CONTEXT60 = _declared("pascal_context60", "PASCAL Context with background", Labels.from_table(BACKGROUND + OBJECTS))
