"""The page of `segue evaluate` with thousands of pictures: its size, and how quick it is in Chromium.

python benchmarks/evaluation_page.py [--pictures 5000] [--chromium chromium]

The pictures are made up; page and thumbnails are written as `segue evaluate` writes them. In the browser, scripts that
are appended to a copy of the page take the times of what a person does: opening, searching, choosing a class.
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import machine

from segue import report
from segue.assessment.writing import Found, write_evaluation
from segue.evaluation import Boundaries, Calibration, Evaluation, PictureScore
from segue.labels import Labels
from segue.metrics import confusion, miou_interval

CLASSES, HEIGHT, WIDTH = 19, 256, 512
TIMED = """
{
const began = performance.now();
byId("search").value = "000123"; choose();
const found = performance.now();
byId("search").value = ""; byId("class").value = 3; byId("order").value = "best"; choose();
const ordered = performance.now();
showCell(2, 5);
const looked = performance.now();
document.title = `read and run after ${began.toFixed(0)} ms; search ${(found - began).toFixed(0)} ms, another class `
  + `and order ${(ordered - found).toFixed(0)} ms, a cell's pictures ${(looked - ordered).toFixed(0)} ms`;
}
"""


def blocks(rng: np.random.Generator) -> np.ndarray:
    small = rng.integers(0, CLASSES, (HEIGHT // 32, WIDTH // 32), dtype=np.uint8)
    return np.kron(small, np.ones((32, 32), np.uint8))


def photograph(rng: np.random.Generator) -> np.ndarray:
    """Smooth colours with the grain of a camera."""
    coarse = Image.fromarray(rng.integers(0, 256, (16, 32, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)


def write(pictures: int, folder: Path) -> Path:
    """The evaluation of made-up pictures, an area wrong in each -> its page."""
    rng = np.random.default_rng(0)
    evaluation = Evaluation(torch.zeros(CLASSES, CLASSES, dtype=torch.int64))
    thumbnails = {}
    for number in range(pictures):
        true = blocks(rng)
        guess = true.copy()
        top, left = rng.integers(HEIGHT - 90), rng.integers(WIDTH - 100)
        guess[top : top + 90, left : left + 100] = rng.integers(CLASSES)
        table = confusion(torch.from_numpy(guess), torch.from_numpy(true), CLASSES)
        evaluation.table += table
        name = f"city{number % 21:02d}/{number:06d}"
        evaluation.pictures.append(PictureScore.of(name, table))
        thumbnails[name] = report.thumbnail(photograph(rng), true, guess, report.side_for(pictures))
    further = {"boundaries": Boundaries(CLASSES), "calibration": Calibration(CLASSES)}
    labels = Labels(tuple(f"class {k}" for k in range(CLASSES)))
    interval = miou_interval(evaluation.picture_counts())
    write_evaluation(Found(evaluation, further, thumbnails), interval, labels, {"run": "made up"}, folder)
    return folder / "evaluation.html"


def measure(page: Path, chromium: str) -> str:
    """What the browser says of its times."""
    timed = page.with_name("timed.html")
    before, script, after = page.read_text(encoding="utf-8").rpartition("</script>")
    timed.write_text(f"{before}{TIMED}{script}{after}", encoding="utf-8")
    words = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", timed.as_uri()]
    found = subprocess.run(words, check=True, capture_output=True, text=True, timeout=300).stdout
    title = re.search(r"<title>(.*?)</title>", found)
    assert title is not None
    return html.unescape(title[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--chromium", default="chromium", help="the browser's command")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        page = write(options.pictures, Path(folder))
        print(f"{options.pictures:,} pictures of {CLASSES} classes: {page.stat().st_size / 1e6:.0f} MB")
        if shutil.which(options.chromium) is None:
            raise SystemExit(f"{options.chromium}: there is no such browser; give one with --chromium")
        for _ in range(options.repeat):
            print(measure(page, options.chromium))


if __name__ == "__main__":
    main()
