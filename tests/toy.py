"""A small folder of images and masks, and a recipe that trains on it in seconds."""

from pathlib import Path

import numpy as np
from PIL import Image

RECIPE = {
    "network": "unet",
    "model": {"channels": [8, 16, 16]},
    "augment": {"crop": [32, 32]},
    "optim": {"lr": 0.01},
    "training": {"steps": 12, "batch": 4, "validate_every": 6, "precision": "float32"},
    "data": {"workers": 0},
}


def write_pictures(root: Path, split: str, count: int, classes: int = 3) -> None:
    """`root`/split/images and masks: squares of each class on class 0, at two sizes."""
    rng = np.random.default_rng(count)
    for index in range(count):
        height, width = [(48, 64), (41, 57)][index % 2]
        mask = np.zeros((height, width), dtype=np.uint8)
        for label in range(1, classes):
            top, left = rng.integers(0, height - 16), rng.integers(0, width - 16)
            mask[top : top + 16, left : left + 16] = label
        noise = rng.integers(0, 60, mask.shape)
        image = np.stack([mask * 60 + noise, 40 + noise, 200 - mask * 60 - noise], axis=-1).astype(np.uint8)
        for folder, array in (("images", image), ("masks", mask)):
            place = root / split / folder
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(place / f"{index:03d}.png")


def toy(root: Path, classes: int = 3) -> Path:
    """The folder, made: 15 training and 5 validation pictures."""
    write_pictures(root, "train", 15, classes)
    write_pictures(root, "val", 5, classes)
    return root
