"""DFN's border labels against OpenCV's Canny and dilation, in the same run.

    python benchmarks/borders.py                       # drawn label maps of three data sets' sizes and class counts
    python benchmarks/borders.py --masks DIR           # the PNG masks (class numbers, 255 for none) of a folder
    python benchmarks/borders.py --device cuda         # OpenCV stays on the processor, copies there and back included

The rule is that of DFN's authors (255 counts as class 0), so that both sides must give the same labels: it is checked.
The third line is what the network trains on, where void is left out instead, which OpenCV has no call for. Both sides
start from the (B, H, W) int64 target that a loss is given, end with labels on the target's device, and have the same
number of threads.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from timing import alternate, machine
from torch import Tensor

from segue.labels import IGNORE
from segue.models.borders import border_labels

SQUARE = np.ones((7, 7), np.uint8)
SIZES = {
    "VOC, 8 x 512 x 512": (8, 512, 512, 21),
    "Cityscapes, 4 x 800 x 800": (4, 800, 800, 19),
    "ADE20K, 8 x 512 x 512": (8, 512, 512, 150),
}


def opencv(target: Tensor) -> Tensor:
    """What the authors run picture by picture before training."""
    ids = target.to(torch.uint8).masked_fill(target == IGNORE, 0).cpu().numpy()
    labels = np.stack([cv2.dilate(cv2.Canny(one, 5, 5, apertureSize=7), SQUARE) for one in ids])
    return torch.from_numpy((labels > 0).astype(np.uint8)).to(target.device)


def draw(batch: int, height: int, width: int, classes: int) -> Tensor:
    """Overlapping ellipses on a background, some of them void, and a margin of padding."""
    rng = np.random.default_rng(0)
    target = np.zeros((batch, height, width), np.uint8)
    for picture in target:
        for _ in range(60):
            centre = (int(rng.integers(width)), int(rng.integers(height)))
            axes = (int(rng.integers(8, width // 5)), int(rng.integers(8, height // 5)))
            label = IGNORE if rng.random() < 0.1 else int(rng.integers(classes))
            cv2.ellipse(picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, label, -1)
        picture[height - height // 12 :] = IGNORE
    return torch.from_numpy(target).long()


def read(folder: Path) -> Tensor:
    """The first eight masks, cut to the smallest one's size."""
    masks = [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))[:8]]
    if not masks or any(mask.ndim != 2 for mask in masks):
        raise SystemExit(f"{folder}: it must hold PNG masks of one number per pixel")
    height, width = (min(sides) for sides in zip(*(mask.shape for mask in masks), strict=True))
    return torch.from_numpy(np.stack([mask[:height, :width] for mask in masks])).long()


def compare(name: str, target: Tensor, classes: int, rounds: int) -> None:
    exact = torch.equal(border_labels(target, classes, void_borders=True), opencv(target))

    def timed(run: Callable[[], Tensor]) -> Callable[[], None]:
        def wait() -> None:
            run()
            if target.is_cuda:
                torch.cuda.synchronize()

        return wait

    times = alternate(
        {
            "OpenCV": timed(lambda: opencv(target)),
            "segue, void as class 0": timed(lambda: border_labels(target, classes, void_borders=True)),
            "segue, void left out": timed(lambda: border_labels(target, classes)),
        },
        rounds=rounds,
        warmup=3,
    )
    print(f"{name}, {classes} classes: {'the same labels' if exact else 'OTHER LABELS'}")
    for side, seconds in times.items():
        print(f"  {side:24} {seconds * 1e3:8.2f} ms   {seconds / times['OpenCV']:5.2f} of OpenCV's time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--masks", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    cv2.setNumThreads(torch.get_num_threads())
    print(f"{machine()}; OpenCV {cv2.__version__}, {cv2.getNumThreads()} threads")
    if options.masks is not None:
        target = read(options.masks)
        classes = int(target[target != IGNORE].max()) + 1
        batch, height, width = target.shape
        compare(f"{options.masks}, {batch} x {height} x {width}", target.to(options.device), classes, options.rounds)
        return
    for name, shape in SIZES.items():
        compare(name, draw(*shape).to(options.device), shape[-1], options.rounds)


if __name__ == "__main__":
    main()
