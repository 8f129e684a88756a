"""Miniatures of the data sets, as they lie on a disk: folders, file names and raw label values, of a few pixels each.

What the values mean is written out here once more, by hand, so that a slip in a declaration does not pass unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from segue.labels import IGNORE

HEIGHT, WIDTH = 11, 13


@dataclass(frozen=True)
class Miniature:
    """A data set in small.

    write: makes its files below a folder.
    splits: split -> the names of its pictures.
    meaning: raw value -> class, of what its masks hold: the first and the last class, and whatever is ignored.
    written: raw value -> what is written for it, where that is another one.
    anomalies: raw value -> 0, 1 or IGNORE, where some are marked.
    """

    write: Callable[[Path], None]
    splits: Mapping[str, tuple[str, ...]]
    meaning: Mapping[int, int]
    written: Mapping[int, int] = field(default_factory=dict)
    anomalies: Mapping[int, int] = field(default_factory=dict)


def raw_mask(values: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    """All of these values, again and again."""
    return np.resize(np.array(values, dtype=dtype), (HEIGHT, WIDTH))


def picture(path: Path) -> None:
    """A picture of noise, the same for the same name."""
    save(path, np.random.default_rng(len(path.name)).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def save(path: Path, pixels: np.ndarray, palette: list[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    image.save(path)


def lines(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def save_mat(path: Path, content: dict[str, object]) -> None:
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, content)


VOC_VALUES = (0, 1, 20, 255)


def voc2012(root: Path) -> None:
    voc = root / "VOCdevkit" / "VOC2012"
    lists = voc / "ImageSets" / "Segmentation"
    lines(lists / "train.txt", "2007_000032", "2007_000039")
    lines(lists / "val.txt", "2007_000033")
    lines(lists / "trainval.txt", "2007_000032", "2007_000033", "2007_000039")
    for name in ("2007_000032", "2007_000033", "2007_000039", "2008_000002", "2008_000003"):
        picture(voc / "JPEGImages" / f"{name}.jpg")
    for name in ("2007_000032", "2007_000033", "2007_000039"):
        save(voc / "SegmentationClass" / f"{name}.png", raw_mask(VOC_VALUES), palette=list(range(256)) * 3)
    sbd = root / "benchmark_RELEASE" / "dataset"
    lines(sbd / "train.txt", "2008_000002", "2007_000033")  # the second one validates in VOC
    lines(sbd / "val.txt", "2008_000003", "2007_000032")
    for name in ("2007_000032", "2007_000033", "2008_000002", "2008_000003"):
        sbd_mask(sbd / "cls" / f"{name}.mat", raw_mask((0, 1, 20)))


def sbd_mask(path: Path, mask: np.ndarray) -> None:
    save_mat(path, {"GTcls": {"Boundaries": np.zeros((20, 1)), "Segmentation": mask, "CategoriesPresent": [1, 20]}})


def pascal_context(root: Path) -> None:
    voc = root / "VOCdevkit" / "VOC2010"
    for split, name in (("train", "2008_000002"), ("val", "2008_000007")):
        lines(voc / "ImageSets" / "SegmentationContext" / f"{split}.txt", name)
        picture(voc / "JPEGImages" / f"{name}.jpg")
        save(voc / "SegmentationClassContext" / f"{name}.png", raw_mask((0, 1, 59)))


def cityscapes(root: Path) -> None:
    for split, city, kind in (
        ("train", "aachen", "gtFine"),
        ("val", "lindau", "gtFine"),
        ("train_extra", "erlangen", "gtCoarse"),
    ):
        for frame in ("000000_000019", "000001_000019"):
            stem = f"{city}/{city}_{frame}"
            picture(root / "leftImg8bit" / split / f"{stem}_leftImg8bit.png")
            save(root / kind / split / f"{stem}_{kind}_labelIds.png", raw_mask((7, 26, 33, 0, 4, 30)))
            save(root / kind / split / f"{stem}_{kind}_labelTrainIds.png", raw_mask((0, 13, 18, 255)))
            save(root / kind / split / f"{stem}_{kind}_color.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def camvid(root: Path) -> None:
    for split, name in (("train", "0001TP_006690"), ("val", "0016E5_07959"), ("test", "Seq05VD_f00000")):
        picture(root / "CamVid" / split / f"{name}.png")
        save(root / "CamVid" / f"{split}annot" / f"{name}.png", raw_mask((0, 10, 11)))
        lines(
            root / "CamVid" / f"{split}.txt",
            f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png",
        )


CAMVID32_COLOURS = {(64, 128, 64): 0, (64, 64, 0): 16, (64, 192, 0): 31, (0, 0, 0): 30}
CAMVID32_NAMES = ("0001TP_006690", "0016E5_08190", "0016E5_07959", "0001TP_008550", "Seq05VD_f00000")


def camvid32(root: Path) -> None:
    colours = np.array(list(CAMVID32_COLOURS), dtype=np.uint8)
    for name in CAMVID32_NAMES:
        picture(root / "701_StillsRaw_full" / f"{name}.png")
        save(root / "LabeledApproved_full" / f"{name}_L.png", colours[raw_mask((0, 1, 2, 3))])


def ade20k(root: Path) -> None:
    ade = root / "ADEChallengeData2016"
    for folder, short in (("training", "train"), ("validation", "val")):
        for number in ("00000001", "00000002"):
            picture(ade / "images" / folder / f"ADE_{short}_{number}.jpg")
            save(ade / "annotations" / folder / f"ADE_{short}_{number}.png", raw_mask((1, 150, 0)))
    lines(ade / "objectInfo150.txt", "Idx Ratio Train Val Name")


def coco_stuff_10k(root: Path) -> None:
    names = {"train": "COCO_train2014_000000000077", "test": "COCO_train2014_000000000349"}
    for split, name in names.items():
        lines(root / "imageLists" / f"{split}.txt", name)
        picture(root / "images" / f"{name}.jpg")
        content = {"S": raw_mask((1, 13, 182, 0), np.uint16), "names": np.array(["unlabeled", "person"], dtype=object)}
        save_mat(root / "annotations" / f"{name}.mat", {**content, "captions": np.array(["A street."], dtype=object)})


def coco_stuff_164k(root: Path) -> None:
    for folder, name in (("train2017", "000000000009"), ("val2017", "000000000139")):
        picture(root / folder / f"{name}.jpg")
        save(root / "stuffthingmaps" / folder / f"{name}.png", raw_mask((0, 12, 181, 255)))


def nyudv2(root: Path) -> None:
    import h5py

    root.mkdir(parents=True, exist_ok=True)
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
        frames, noise = 1449, np.random.default_rng(0)
        file["images"] = noise.integers(0, 256, (frames, 3, WIDTH, HEIGHT), dtype=np.uint8)
        # wall, book (a prop), no label, structure 868, furniture 892
        file["labels"] = np.repeat(raw_mask((21, 1, 0, 868, 892), np.uint16).T[None], frames, axis=0)


def sun_rgbd(root: Path) -> None:
    for folder, numbers in (("train", (1, 5285)), ("test", (1, 5050))):
        for number in numbers:
            picture(root / f"SUNRGBD-{folder}_images" / f"img-{number:06d}.jpg")
    for number in (1, 5050, 5051, 10335):
        save(root / "sunrgbd_train_test_labels" / f"img-{number:06d}.png", raw_mask((1, 37, 0)))


def lip(root: Path) -> None:
    for split, name in (("train", "77_471474"), ("val", "100034_483681")):
        lines(root / "LIP" / f"{split}_id.txt", name)
        picture(root / "LIP" / f"{split}_images" / f"{name}.jpg")
        save(root / "LIP" / f"{split}_segmentations" / f"{name}.png", raw_mask((0, 14, 15, 19)))


def isbi2012(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (30, HEIGHT, WIDTH), dtype=np.uint8)
    for name, pages in (("train-volume.tif", noise), ("train-labels.tif", [raw_mask((0, 255, 255))] * 30)):
        first, *others = (Image.fromarray(page) for page in pages)
        first.save(root / name, save_all=True, append_images=others)


def streethazards(root: Path) -> None:
    for way, frame, values in (
        ("train/{}/training/t1-3", "301", (1, 13, 4)),
        ("train/{}/validation/t4", "301", (1, 13, 4)),
        ("test/{}/test/t5", "300", (1, 13, 4, 14)),
    ):
        picture(root / way.format("images") / f"{frame}.png")
        save(root / way.format("annotations") / f"{frame}.png", raw_mask(values))


def bdd_anomaly(root: Path) -> None:
    for split, name, values in (
        ("train", "00067cfb-e535423e", (0, 18, 255)),
        ("train", "00091078-59817bb0", (0, 16, 18, 255)),
        ("val", "7d06fefd-f7be05a6", (0, 18, 255)),
        ("val", "7d128593-0ccfea4c", (0, 17, 18, 255)),
    ):
        picture(root / "bdd100k" / "images" / "10k" / split / f"{name}.jpg")
        save(root / "bdd100k" / "labels" / "sem_seg" / "masks" / split / f"{name}.png", raw_mask(values))
    picture(root / "bdd100k" / "images" / "10k" / "test" / "ac517380-00000000.jpg")


def fishyscapes(root: Path) -> None:
    for number, split, sequence, frame in (
        ("0000", "train", "04_Maurener_Weg_8", "000000_000030"),
        ("0001", "test", "02_Hanns_Klemm_Str_44", "000001_000200"),
    ):
        picture(root / "leftImg8bit" / split / sequence / f"{sequence}_{frame}_leftImg8bit.png")
        save(root / "fishyscapes_lostandfound" / f"{number}_{sequence}_{frame}_labels.png", raw_mask((0, 1, 255)))
    picture(root / "leftImg8bit" / "test" / "02_x" / "02_x_000002_000000_leftImg8bit.png")  # in no mask's name


def road_anomaly21(root: Path) -> None:
    track = root / "dataset_AnomalyTrack"
    for name in ("validation0000", "airplane0000"):
        picture(track / "images" / f"{name}.jpg")
    save(track / "labels_masks" / "validation0000_labels_semantic.png", raw_mask((0, 1, 255)))
    save(track / "labels_masks" / "validation0000_labels_semantic_color.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))


LOST = ("02_Hanns_Klemm_Str_44_000001_000200", "04_Maurener_Weg_8_000000_000030")
IN_OR_OUT = {0: 0, 1: 1, 255: IGNORE}

MINIATURES = {
    "voc2012": Miniature(
        voc2012,
        {
            "train": ("2007_000032", "2007_000039"),
            "trainaug": ("2007_000032", "2007_000039", "2008_000002", "2008_000003"),
            "val": ("2007_000033",),
            "trainval": ("2007_000032", "2007_000033", "2007_000039"),
        },
        {0: 0, 1: 1, 20: 20, 255: IGNORE},
    ),
    "pascal_context59": Miniature(
        pascal_context, {"train": ("2008_000002",), "val": ("2008_000007",)}, {0: IGNORE, 1: 0, 59: 58}
    ),
    "pascal_context60": Miniature(
        pascal_context, {"train": ("2008_000002",), "val": ("2008_000007",)}, {0: 0, 1: 1, 59: 59}
    ),
    "cityscapes": Miniature(
        cityscapes,
        {
            "train": ("aachen/aachen_000000_000019", "aachen/aachen_000001_000019"),
            "val": ("lindau/lindau_000000_000019", "lindau/lindau_000001_000019"),
            "train_extra": ("erlangen/erlangen_000000_000019", "erlangen/erlangen_000001_000019"),
        },
        {7: 0, 26: 13, 33: 18, 0: IGNORE, 4: IGNORE, 30: IGNORE},
        written={4: 0, 30: 0},
    ),
    "camvid": Miniature(
        camvid,
        {"train": ("0001TP_006690",), "val": ("0016E5_07959",), "test": ("Seq05VD_f00000",)},
        {0: 0, 10: 10, 11: IGNORE},
    ),
    "camvid32": Miniature(
        camvid32,
        {
            "train": ("0001TP_006690", "0016E5_08190"),
            "val": ("0016E5_07959",),
            "test": ("0001TP_008550", "Seq05VD_f00000"),
        },
        {0: 0, 16: 16, 31: 30, 30: IGNORE},
    ),
    "ade20k": Miniature(
        ade20k,
        {"train": ("ADE_train_00000001", "ADE_train_00000002"), "val": ("ADE_val_00000001", "ADE_val_00000002")},
        {1: 0, 150: 149, 0: IGNORE},
    ),
    "coco_stuff_10k": Miniature(
        coco_stuff_10k,
        {
            "train": ("COCO_train2014_000000000077",),
            "val": ("COCO_train2014_000000000349",),
            "test": ("COCO_train2014_000000000349",),
        },
        {1: 0, 13: 11, 182: 170, 0: IGNORE},
    ),
    "coco_stuff_164k": Miniature(
        coco_stuff_164k,
        {"train": ("000000000009",), "val": ("000000000139",)},
        {0: 0, 12: 11, 181: 170, 255: IGNORE},
    ),
    "nyudv2": Miniature(nyudv2, {}, {0: IGNORE, 1: 0, 38: 37, 39: 38, 40: 39}),
    "sun_rgbd": Miniature(
        sun_rgbd,
        {"train": ("000001", "005285"), "val": ("000001", "005050"), "test": ("000001", "005050")},
        {1: 0, 37: 36, 0: IGNORE},
    ),
    "lip": Miniature(lip, {"train": ("77_471474",), "val": ("100034_483681",)}, {0: 0, 14: 14, 15: 15, 19: 19}),
    "isbi2012": Miniature(
        isbi2012,
        {
            "train": tuple(f"{page:02d}" for page in range(24)),
            "val": tuple(f"{page:02d}" for page in range(24, 30)),
            "all": tuple(f"{page:02d}" for page in range(30)),
        },
        {0: 0, 255: 1},
    ),
    "streethazards": Miniature(
        streethazards,
        {"train": ("t1-3/301",), "val": ("t4/301",), "test": ("t5/300",)},
        {1: 0, 13: 11, 4: IGNORE, 14: IGNORE},
        written={14: 4},
        anomalies={1: 0, 13: 0, 4: 0, 14: 1},
    ),
    "bdd_anomaly": Miniature(
        bdd_anomaly,
        {
            "train": ("00067cfb-e535423e",),
            "val": ("7d06fefd-f7be05a6",),
            "test": ("00091078-59817bb0", "7d128593-0ccfea4c"),
        },
        {0: 0, 18: 16, 16: IGNORE, 17: IGNORE, 255: IGNORE},
        written={16: 255, 17: 255},
        anomalies={0: 0, 18: 0, 16: 1, 17: 1, 255: IGNORE},
    ),
    "fishyscapes": Miniature(fishyscapes, {"val": LOST}, IN_OR_OUT, anomalies=IN_OR_OUT),
    "road_anomaly21": Miniature(road_anomaly21, {"val": ("validation0000",)}, IN_OR_OUT, anomalies=IN_OR_OUT),
}
