"""Cityscapes, the 19 evaluated classes of its 34 label ids.

Cordts et al.: The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016, arXiv:1604.01685. Masks are
read and written as label ids (road is 7), which is what the evaluation server takes; `labelTrainIds` need not be made.
"""

from segue.data.declaration import Archive, Declaration, Split
from segue.data.layouts import Matched
from segue.labels import Labels

LABELS = Labels.from_table(
    """
 7  128  64 128  road
 8  244  35 232  sidewalk
11   70  70  70  building
12  102 102 156  wall
13  190 153 153  fence
17  153 153 153  pole
19  250 170  30  traffic light
20  220 220   0  traffic sign
21  107 142  35  vegetation
22  152 251 152  terrain
23   70 130 180  sky
24  220  20  60  person
25  255   0   0  rider
26    0   0 142  car
27    0   0  70  truck
28    0  60 100  bus
31    0  80 100  train
32    0   0 230  motorcycle
33  119  11  32  bicycle
""",
    # unlabeled, ego vehicle, ..., ground; parking, rail track; guard rail, bridge, tunnel; polegroup; caravan, trailer
    ignored=(0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30),
)


def _split(name: str, pictures: int, masks: str) -> Split:
    return Split(
        pictures,
        (
            Matched(
                image=f"leftImg8bit/{name}/{{}}_leftImg8bit.png",
                mask=f"{masks}/{name}/{{}}_{masks}_labelIds.png",
            ),
        ),
    )


CITYSCAPES = Declaration(
    name="cityscapes",
    title="Cityscapes, fine masks, and coarse ones for train_extra",
    licence="free for non-commercial use after registration; not to be passed on",
    labels=LABELS,
    splits={
        "train": _split("train", 2975, "gtFine"),
        "val": _split("val", 500, "gtFine"),
        "train_extra": _split("train_extra", 19998, "gtCoarse"),
    },
    hidden={"test": "hand in label ids, as `segue predict` writes them, at https://www.cityscapes-dataset.com"},
    registration="https://www.cityscapes-dataset.com/downloads/",
    archives=(
        Archive(
            name="leftImg8bit_trainvaltest.zip",
            place="leftImg8bit",
            holds="train",
            md5="0a6e97e94b616a514066c9e2adb0c97f",
        ),
        Archive(name="gtFine_trainvaltest.zip", place="gtFine", holds="train", md5="4237c19de34c8a376e9ba46b495d6f66"),
    ),
)
