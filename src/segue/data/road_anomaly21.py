"""RoadAnomaly21 of SegmentMeIfYouCan: the unexpected on roads, for networks trained on Cityscapes.

Chan et al.: SegmentMeIfYouCan: A Benchmark for Anomaly Segmentation, NeurIPS Datasets and Benchmarks 2021,
arXiv:2104.14812. Not to be taken for RoadAnomaly of 2019. Ten pictures are too few to rank methods by.
"""

from segue.data.declaration import Archive, Declaration, Split, anomaly_labels
from segue.data.layouts import Matched
from segue.labels import IGNORE

LABELS = anomaly_labels({0: 0, 1: 1, 255: IGNORE})
TRACK = "dataset_AnomalyTrack"

ROAD_ANOMALY21 = Declaration(
    name="road_anomaly21",
    title="RoadAnomaly21, anomalies for Cityscapes' classes",
    licence="pictures from the web, each with its own: see the credits in the archive",
    labels=LABELS,
    splits={
        "val": Split(
            10,
            (
                Matched(
                    image=f"{TRACK}/images/{{}}.jpg",
                    mask=f"{TRACK}/labels_masks/{{}}_labels_semantic.png",
                    masked_only=True,
                ),
            ),
        )
    },
    hidden={"test": "the benchmark at https://segmentmeifyoucan.com scores methods for it"},
    inside=TRACK,
    anomalies=LABELS,
    archives=(
        Archive(
            name="dataset_AnomalyTrack.zip",
            place=TRACK,
            holds="labels_masks",
            urls=(
                "https://zenodo.org/record/5270237/files/dataset_AnomalyTrack.zip",
                "https://uni-wuppertal.sciebo.de/s/TVR7VxukVrV7fUH/download",
            ),
            md5="231bf79ed58924bcd33d9cbe22e61076",
        ),
    ),
)
