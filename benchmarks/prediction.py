"""Prediction: what folding, the layout, batches of windows, and reading and writing beside the network are worth.

python benchmarks/prediction.py [--network unet] [--backbone resnet18]
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import alternate, machine

from segue.labels import Labels
from segue.model import Card, Model
from segue.models import create
from segue.options import InferenceOptions
from segue.predicting import Wanted, predict_files
from segue.predicting.outputs import Found, write_picture
from segue.prediction import Averaged, Predictor, Preprocessing, as_batch
from segue.reading import read_image

CLASSES, HEIGHT, WIDTH = 11, 360, 480
WINDOW, PICTURES = 256, 12


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8: smooth blotches with some noise, which pack about as well as photographs."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    return np.clip(pixels + rng.integers(-8, 9, pixels.shape), 0, 255).astype(np.uint8)


def show(title: str, times: dict[str, float], pictures: int = 1) -> None:
    first = next(iter(times.values()))
    print(f"\n{title}")
    for name, seconds in times.items():
        print(f"  {name:44} {seconds / pictures * 1000:8.1f} ms a picture  {first / seconds:5.2f} x")


def whole(network: torch.nn.Module) -> dict[str, float]:
    images = torch.from_numpy(scene(HEIGHT, WIDTH).transpose(2, 0, 1).copy())[None]
    kinds = {
        "eager float32": {"precision": "float32", "channels_last": False, "fold": False},
        "BatchNorm folded": {"precision": "float32", "channels_last": False},
        "folded, channels-last": {"precision": "float32"},
        "folded, channels-last, bfloat16 where it is fast": {},
    }
    predictors = {name: Predictor(network, Preprocessing(), **kind) for name, kind in kinds.items()}
    return alternate({name: (lambda one=one: one.labels(images)) for name, one in predictors.items()})


def windows(network: torch.nn.Module) -> dict[str, float]:
    images = torch.from_numpy(scene(2 * HEIGHT, 2 * WIDTH).transpose(2, 0, 1).copy())[None]
    predictor = Predictor(network, Preprocessing())
    sides: dict[str, Callable[[], object]] = {"whole picture": lambda: predictor.labels(images)}
    for batch in (1, 2, 4, 8):
        averaged = Averaged(predictor, InferenceOptions(window=(WINDOW,), batch=batch))
        sides[f"windows of {WINDOW}, overlap 0.5, {batch} at a time"] = lambda one=averaged: one.labels(images)
    averaged = Averaged(predictor, InferenceOptions(window=(WINDOW,), overlap=0.0))
    sides[f"windows of {WINDOW}, overlap 0"] = lambda: averaged.labels(images)
    return alternate(sides, rounds=5)


def files(network: torch.nn.Module, folder: Path) -> dict[str, float]:
    labels = Labels(tuple(f"class {index}" for index in range(CLASSES)))
    card = Card("unet", {"backbone": "resnet18"}, labels, Preprocessing())
    model = Model(network, card)
    model.save(folder / "run" / "model")
    for index in range(PICTURES):
        (folder / "pictures").mkdir(exist_ok=True)
        Image.fromarray(scene(HEIGHT, WIDTH, index)).save(folder / "pictures" / f"{index:03d}.png")
    paths = sorted((folder / "pictures").iterdir())

    def in_turn() -> None:
        """What `segue predict` would take if it did one thing after the other, loading included."""
        from segue.model import load

        predictor = load(folder / "run").predictor()
        wanted = Wanted(folder / "in_turn")
        for start in range(0, PICTURES, 8):
            group = [read_image(path) for path in paths[start : start + 8]]
            found = predictor.labels(as_batch(group)).to(torch.uint8).cpu().numpy()
            for path, pixels, one in zip(paths[start : start + 8], group, found, strict=True):
                write_picture(wanted, path.stem, pixels, Found(one), labels, None)

    def beside() -> None:
        predict_files(folder / "run", [str(folder / "pictures")], Wanted(folder / "beside"))

    return alternate({"read, predict, write in turn": in_turn, "segue predict": beside}, rounds=5)


def main() -> None:
    torch.manual_seed(0)
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", default="unet")
    parser.add_argument("--backbone", default="resnet18")
    asked = parser.parse_args()
    network = create(asked.network, CLASSES, backbone=asked.backbone).eval()
    print(machine())
    print(f"{asked.network} on {asked.backbone}, {CLASSES} classes")
    show(f"one picture of {WIDTH}x{HEIGHT}", whole(network))
    show(f"one picture of {2 * WIDTH}x{2 * HEIGHT}", windows(network))
    if (asked.network, asked.backbone) == ("unet", "resnet18"):
        with tempfile.TemporaryDirectory() as folder:
            show(f"{PICTURES} files of {WIDTH}x{HEIGHT}, mask and overlay", files(network, Path(folder)), PICTURES)


if __name__ == "__main__":
    main()
