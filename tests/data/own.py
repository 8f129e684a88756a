"""Small folders of own data, in every form that is read: squares of two classes on a background."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 64)
COLOURS = {0: (0, 0, 0), 1: (128, 64, 128), 2: (0, 128, 192)}


def masks(count: int) -> list[np.ndarray]:
    """Class 1 in a square of 16 pixels, class 2 in one of 12 that may cover it; both in every mask."""
    rng = np.random.default_rng(count)
    made = []
    for _ in range(count):
        mask = np.zeros(SIZE, dtype=np.uint8)
        for label, side in ((1, 16), (2, 12)):
            top, left = rng.integers(0, SIZE[0] - side), rng.integers(0, SIZE[1] // 2 - side) + (label - 1) * 32
            mask[top : top + side, left : left + side] = label
        made.append(mask)
    return made


def picture_of(mask: np.ndarray, channels: int = 3) -> np.ndarray:
    noise = np.random.default_rng(int(mask.sum())).integers(0, 60, (*mask.shape, channels))
    return (mask[..., None] * 60 + noise + 20).astype(np.uint8)


def save(path: Path, array: np.ndarray, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **how)
    return path


def corners(mask: np.ndarray, label: int) -> list[tuple[float, float]]:
    """The outline of a class's square."""
    rows, columns = np.nonzero(mask == label)
    left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    return [(float(x), float(y)) for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))]


def picture_files(
    root: Path, made: Sequence[np.ndarray], turn: Callable[[np.ndarray], np.ndarray], **how: object
) -> Path:
    """images/ and masks/, the latter as `turn` has them."""
    for index, mask in enumerate(made):
        save(root / "images" / f"{index:02d}.png", picture_of(mask))
        save(root / "masks" / f"{index:02d}.png", turn(mask))
    return root


def coco_folder(root: Path, made: Sequence[np.ndarray]) -> Path:
    """annotations/instances_{train,val}.json, with the pictures in train/ and val/: two thirds and the rest."""
    for split, part in (("train", made[: -len(made) // 3]), ("val", made[-len(made) // 3 :])):
        images, annotations = [], []
        for index, mask in enumerate(part):
            save(root / split / f"{index:02d}.jpg", picture_of(mask))
            images.append({"id": 100 + index, "file_name": f"{index:02d}.jpg", "height": SIZE[0], "width": SIZE[1]})
            for label, category in ((1, 7), (2, 18)):
                outline = [number for point in corners(mask, label) for number in point]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": 100 + index,
                        "category_id": category,
                        "segmentation": [outline],
                        "iscrowd": 0,
                    }
                )
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [
                {"id": 18, "name": "dog", "supercategory": "animal"},
                {"id": 7, "name": "train", "supercategory": "vehicle"},
            ],
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def labelme_folder(root: Path, made: Sequence[np.ndarray]) -> Path:
    """A JSON file beside each picture; class 1 as polygon, class 2 as rectangle."""
    for index, mask in enumerate(made):
        save(root / f"{index:02d}.jpg", picture_of(mask))
        box = corners(mask, 2)
        content = {
            "version": "5.4.1",
            "shapes": [
                {"label": "road", "points": corners(mask, 1), "shape_type": "polygon"},
                {"label": "car", "points": [box[0], box[2]], "shape_type": "rectangle"},
                {"label": "road", "points": [[1, 1]], "shape_type": "point"},
            ],
            "imagePath": f"{index:02d}.jpg",
            "imageHeight": SIZE[0],
            "imageWidth": SIZE[1],
        }
        (root / f"{index:02d}.json").write_text(json.dumps(content))
    return root


def yolo_folder(root: Path, made: Sequence[np.ndarray]) -> Path:
    """images/{train,val}, labels/{train,val} and data.yaml."""
    for index, mask in enumerate(made):
        split = "val" if index % 3 == 0 else "train"
        save(root / "images" / split / f"{index:02d}.jpg", picture_of(mask))
        lines = [
            f"{label - 1} " + " ".join(f"{x / SIZE[1]:.6f} {y / SIZE[0]:.6f}" for x, y in corners(mask, label))
            for label in (1, 2)
        ]
        path = root / "labels" / split / f"{index:02d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames:\n  0: road\n  1: car\n")
    return root
