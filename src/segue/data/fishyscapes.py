"""Fishyscapes Lost and Found: small objects on the road, for networks trained on Cityscapes.

Blum et al.: The Fishyscapes Benchmark: Measuring Blind Spots in Semantic Segmentation, IJCV 129, 2021,
arXiv:1904.03215; the pictures are of Pinggera et al.: Lost and Found, IROS 2016, arXiv:1609.04653. One of the 100
has no anomaly.
"""

from segue.data.declaration import Archive, Declaration, Split, anomaly_labels
from segue.data.layouts import Matched
from segue.labels import IGNORE

LABELS = anomaly_labels({0: 0, 1: 1, 255: IGNORE})

FISHYSCAPES = Declaration(
    name="fishyscapes",
    title="Fishyscapes Lost and Found, anomalies for Cityscapes' classes",
    licence="Lost and Found: non-commercial use, as Cityscapes",
    labels=LABELS,
    splits={
        "val": Split(
            100,
            (
                Matched(
                    image="leftImg8bit/*/*/{}_leftImg8bit.png",
                    mask="fishyscapes_lostandfound/*_{}_labels.png",
                    masked_only=True,
                ),
            ),
        )
    },
    hidden={"test": "the benchmark at https://fishyscapes.com scores methods for it"},
    anomalies=LABELS,
    archives=(
        Archive(
            name="fishyscapes_lostandfound.zip",
            place="fishyscapes_lostandfound",
            holds="*_labels.png",
            urls=("http://robotics.ethz.ch/~asl-datasets/Fishyscapes/fishyscapes_lostandfound.zip",),
            sha256="f0078e89f0a147060a0864feb90e8b523313a2723b1b764bce638dc425473094",
            md5="0d3bf7c0ec38bd50b84f3d8aaa4b2e26",
            size=729335,
        ),
        Archive(
            name="leftImg8bit.zip",
            place="leftImg8bit",
            holds="train",
            urls=("http://www.dhbw-stuttgart.de/~sgehrig/lostAndFoundDataset/leftImg8bit.zip",),
            sha256="307f66002023ab597d309963b94990f5b9a8e5735ee729c3292647a66e9f2b18",
            md5="08eaa79ce05126f6bd22a3ca563746d0",
            size=5802953400,
        ),
    ),
)
