"""StreetHazards: drawn streets with foreign objects in its test split, 12 known classes.

Hendrycks et al.: Scaling Out-of-Distribution Detection for Real-World Settings, ICML 2022, arXiv:1911.11132. Sky is
part of the class background. Pixels of `other` have no class, but count as in distribution; papers differ on that.
"""

from segue.data.declaration import Archive, Declaration, Split, anomaly_labels
from segue.data.layouts import Matched
from segue.labels import Labels

OTHER, ANOMALY = 4, 14

LABELS = Labels.from_table(
    """
 1    0   0   0  background
 2   70  70  70  building
 3  190 153 153  fence
 5  220  20  60  pedestrian
 6  153 153 153  pole
 7  157 234  50  road line
 8  128  64 128  road
 9  244  35 232  sidewalk
10  107 142  35  vegetation
11    0   0 142  car
12  102 102 156  wall
13  220 220   0  traffic sign
""",
    ignored=(OTHER, ANOMALY),
)


def _split(way: str, folder: str, pictures: int) -> Split:
    return Split(
        pictures,
        (Matched(f"{way}/images/{folder}/{{}}.png", f"{way}/annotations/{folder}/{{}}.png"),),
    )


STREETHAZARDS = Declaration(
    name="streethazards",
    title="StreetHazards (CARLA), anomalies in test",
    licence="code MIT; none stated for the pictures",
    labels=LABELS,
    splits={
        "train": _split("train", "training", 5125),
        "val": _split("train", "validation", 1031),
        "test": _split("test", "test", 1500),
    },
    anomalies=anomaly_labels({raw: int(raw == ANOMALY) for raw in range(1, 15)}),
    archives=(
        Archive(
            name="streethazards_train.tar",
            place="train",
            holds="annotations",
            urls=("https://people.eecs.berkeley.edu/~hendrycks/streethazards_train.tar",),
            md5="cd2d1a8649848afb85b5059d227d2090",
        ),
        Archive(
            name="streethazards_test.tar",
            place="test",
            holds="annotations",
            urls=("https://people.eecs.berkeley.edu/~hendrycks/streethazards_test.tar",),
            md5="8c547c1346b00c21b2483887110bfea7",
        ),
    ),
)
