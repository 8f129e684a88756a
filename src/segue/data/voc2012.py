"""PASCAL VOC 2012, with the further masks of SBD for training.

Everingham et al.: The PASCAL Visual Object Classes Challenge: A Retrospective, IJCV 111(1), 2015. SBD: Hariharan et
al.: Semantic Contours from Inverse Detectors, ICCV 2011.

`trainaug` is what papers call VOC's augmented training set: the training pictures of VOC and all of SBD, without the
validation pictures of VOC, which SBD's own training list holds. VOC's training pictures keep VOC's masks; SBD's are
coarser and know no border.
"""

from segue.data.declaration import Archive, Declaration, Split
from segue.data.formats import MatMask
from segue.data.layouts import Listed
from segue.labels import Labels

LABELS = Labels.from_table(
    """
 0    0   0   0  background
 1  128   0   0  aeroplane
 2    0 128   0  bicycle
 3  128 128   0  bird
 4    0   0 128  boat
 5  128   0 128  bottle
 6    0 128 128  bus
 7  128 128 128  car
 8   64   0   0  cat
 9  192   0   0  chair
10   64 128   0  cow
11  192 128   0  diningtable
12   64   0 128  dog
13  192   0 128  horse
14   64 128 128  motorbike
15  192 128 128  person
16    0  64   0  pottedplant
17  128  64   0  sheep
18    0 192   0  sofa
19  128 192   0  train
20    0  64 128  tvmonitor
""",
    ignored=(255,),  # the border around objects, and difficult ones
)

VOC = "VOCdevkit/VOC2012"
SBD = "benchmark_RELEASE/dataset"
LISTS = f"{VOC}/ImageSets/Segmentation"
IMAGE = f"{VOC}/JPEGImages/{{}}.jpg"
MASK = f"{VOC}/SegmentationClass/{{}}.png"


def _listed(split: str) -> Listed:
    return Listed(lists=(f"{LISTS}/{split}.txt",), image=IMAGE, mask=MASK)


CONVERTED = Listed(lists=(f"{LISTS}/trainaug.txt",), image=IMAGE, mask=(MASK, f"{VOC}/SegmentationClassAug/{{}}.png"))
WITH_SBD = Listed(
    lists=(f"{LISTS}/train.txt", f"{SBD}/train.txt", f"{SBD}/val.txt"),
    without=(f"{LISTS}/val.txt",),
    image=IMAGE,
    mask=(MASK, f"{SBD}/cls/{{}}.mat"),
    read=MatMask("GTcls.Segmentation"),
)

VOC2012 = Declaration(
    name="voc2012",
    title="PASCAL VOC 2012, with SBD for trainaug",
    licence="pictures of Flickr under its terms, for research; not to be passed on",
    labels=LABELS,
    splits={
        "train": Split(1464, (_listed("train"),)),
        "trainaug": Split(10582, (CONVERTED, WITH_SBD)),
        "val": Split(1449, (_listed("val"),)),
        "trainval": Split(2913, (_listed("trainval"),)),
    },
    hidden={"test": "the server at http://host.robots.ox.ac.uk:8080 scores predictions for it"},
    inside=VOC,
    archives=(
        Archive(
            name="VOCtrainval_11-May-2012.tar",
            place=VOC,
            holds="JPEGImages",
            urls=(
                "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                "https://pjreddie.com/media/files/VOCtrainval_11-May-2012.tar",
            ),
            sha256="e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
            md5="6cd6e144f989b92b3379bac3b3de84fd",
            size=1999639040,
        ),
        Archive(
            name="benchmark.tgz",
            place="benchmark_RELEASE",
            holds="dataset",
            urls=(
                "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
            ),
            md5="82b4d87ceb2ed10f6038a1cba92111cb",
            size=1419539633,
        ),
    ),
)
