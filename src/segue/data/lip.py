"""Look Into Person (LIP), 20 classes of one person's clothes and parts.

Gong et al.: Look into Person: Self-supervised Structure-sensitive Learning and A New Benchmark for Human Parsing, CVPR
2017, arXiv:1703.05446. Left and right are the person's: a mirrored picture exchanges them.
"""

from segue.data.declaration import Declaration, Split
from segue.data.layouts import Listed
from segue.labels import Labels

LABELS = Labels.from_table(
    """
 0    0   0   0  Background
 1  128   0   0  Hat
 2  255   0   0  Hair
 3    0  85   0  Glove
 4  170   0  51  Sunglasses
 5  255  85   0  UpperClothes
 6    0   0  85  Dress
 7    0 119 221  Coat
 8   85  85   0  Socks
 9    0  85  85  Pants
10   85  51   0  Jumpsuits
11   52  86 128  Scarf
12    0 128   0  Skirt
13    0   0 255  Face
14   51 170 221  Left-arm
15    0 255 255  Right-arm
16   85 255 170  Left-leg
17  170 255  85  Right-leg
18  255 255   0  Left-shoe
19  255 170   0  Right-shoe
""",
    mirror=(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 14, 17, 16, 19, 18),
)


def _split(name: str, pictures: int) -> Split:
    return Split(
        pictures,
        (
            Listed(
                lists=(f"LIP/{name}_id.txt",),
                image=f"LIP/{name}_images/{{}}.jpg",
                mask=f"LIP/{name}_segmentations/{{}}.png",
            ),
        ),
    )


LIP = Declaration(
    name="lip",
    title="Look Into Person, single persons",
    licence="non-commercial research and education",
    labels=LABELS,
    splits={"train": _split("train", 30462), "val": _split("val", 10000)},
    hidden={"test": "the authors score predictions for it, see https://lip.sysuhcp.com/overview.php"},
    inside="LIP",
    registration=(
        "https://lip.sysuhcp.com/overview.php (its Google Drive: TrainVal_images.zip and "
        "TrainVal_parsing_annotations.zip, a zip within a zip)"
    ),
)
