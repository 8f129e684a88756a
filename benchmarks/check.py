"""segue check on 10,000 pictures of 512x512: seconds by the clock and by the processors, for JPEG and for PNG pictures.

python benchmarks/check.py [--pictures 10000] [--kind jpg]
"""

import argparse
import contextlib
import io
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from timing import machine

from segue.check import check
from segue.check.survey import cores

SIDE, CLASSES = 512, 12


def draw(job: tuple[Path, int, str]) -> None:
    """A picture with the grain of a photograph, and a mask of a dozen areas."""
    root, number, kind = job
    rng = np.random.default_rng(number)
    split = "val" if number % 10 == 0 else "train"
    coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(np.int16)
    picture = np.clip(smooth + rng.normal(0, 6, (SIDE, SIDE, 1)), 0, 255).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    rows, columns = np.ogrid[:SIDE, :SIDE]
    for label in range(1, CLASSES):
        row, column, radius = rng.integers(0, SIDE), rng.integers(0, SIDE), rng.integers(20, 120)
        mask[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = label
    Image.fromarray(picture).save(
        root / split / "images" / f"{number:05d}.{kind}", **({"quality": 90} if kind == "jpg" else {})
    )
    Image.fromarray(mask).save(root / split / "masks" / f"{number:05d}.png")


def measure(root: Path, workers: int) -> tuple[float, float]:
    """Seconds by the clock, and of this process's own work."""
    start, worked = time.perf_counter(), time.process_time()
    with contextlib.redirect_stderr(io.StringIO()):
        check(str(root), out=f"{root}-told", workers=workers)
    return time.perf_counter() - start, time.process_time() - worked


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--kind", choices=("jpg", "png"), default="jpg")
    parser.add_argument("--alone", action="store_true", help="in this process only, whose work is measured exactly")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "drawn"
        for split in ("train", "val"):
            for name in ("images", "masks"):
                (root / split / name).mkdir(parents=True)
        with multiprocessing.Pool(cores()) as pool:
            pool.map(draw, [(root, number, options.kind) for number in range(options.pictures)], chunksize=16)
        size = sum(path.stat().st_size for path in root.rglob("*.*")) / 1e6
        print(f"{options.pictures:,} pictures of {SIDE}x{SIDE} ({options.kind}) with masks, {size:,.0f} MB")
        workers = 1 if options.alone else cores()
        seconds, worked = measure(root, workers)
        print(f"{workers} processes: {seconds:.1f} s, {options.pictures / seconds:.0f} pictures/s")
        if options.alone:
            print(f"{worked:.1f} s of the processor, {worked / options.pictures * 1e3:.2f} ms a picture")


if __name__ == "__main__":
    main()
