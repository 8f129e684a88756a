"""Pictures too large to hold: rows are read, predicted in windows, and written, one band after the other."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segue.errors import DataError
from segue.files import write_atomically
from segue.labels import Labels
from segue.pictures import overlay, viewable
from segue.predicting.jobs import Job
from segue.predicting.manifest import Outcome
from segue.predicting.outputs import OVERLAY, MapFiles, found_in
from segue.predicting.tools import TOO_LARGE, Tools
from segue.prediction import Averaged, Sharpened, as_batch
from segue.rasters import Raster, open_raster

WINDOWS = (1024, 512, 256)
"""Sides of windows, of which one is taken where none is asked for: a large picture as a whole would not fit into
memory. The largest of which a row, with the probabilities of all classes, is no more than `MOST_SUMS` bytes."""
MOST_SUMS = 1 << 30
SHOWN = 4096
"""Pixels of the longer side of its overlay, at most."""


def predict_large(job: Job, tools: Tools) -> Outcome:
    """Predict one file by rows. Memory holds a band of them, as high as a window at the smallest scale."""
    start = time.perf_counter()
    try:
        raster = open_raster(job.path)
        assert raster is not None
        with raster:
            return _predict(raster, job, tools, start)
    except DataError as error:
        return Outcome(str(job.path), error=str(error))
    except torch.OutOfMemoryError:
        return Outcome(str(job.path), error=f"{job.path}: {TOO_LARGE}")
    except ValueError as error:  # such as a network that takes no windows so small
        return Outcome(str(job.path), error=f"{job.path}: {error}")


def _predict(raster: Raster, job: Job, tools: Tools, start: float) -> Outcome:
    if isinstance(tools.predictor, Sharpened):
        raise DataError(
            f"{job.path}: {raster.width}x{raster.height} pixels are predicted by rows, and the CRF needs all of them "
            "at once; leave out --crf"
        )
    first = raster.pixels(0, 1)
    tools.model.check(first, job.path)
    inference = tools.order.inference
    note = ""
    if not inference.window:
        inference = replace(inference, window=(_side(raster.width, tools.labels.num_classes),))
        note = f"{job.path}: {raster.width}x{raster.height} pixels; {inference.described()}"
    predictor = tools.model.predictor(inference)
    assert isinstance(predictor, Averaged)
    view = _View(raster, first) if tools.wanted.overlays else None
    size, done = (raster.height, raster.width), 0
    with MapFiles(tools.wanted, job.place, size, tools.labels, raster.georeference) as files:
        for band in predictor.bands(view or raster):
            found = found_in(band[0], tools.wanted)
            files.write(found)
            if view is not None:
                view.add(done, found.labels)
            done += len(found.labels)
            tools.watch(done / raster.height, f"{job.place}, row {done} of {raster.height}")
        if view is not None:
            view.write(tools.wanted.paths(job.place)[OVERLAY], tools.labels)
    outputs = tools.wanted.paths(job.place, ".tif").values()
    return Outcome(str(job.path), tuple(str(path) for path in outputs), time.perf_counter() - start, size, note=note)


def _side(width: int, classes: int) -> int:
    return next((side for side in WINDOWS if 4 * classes * width * side <= MOST_SUMS), WINDOWS[-1])


class _View:
    """Every n-th row and column of a large picture and of its classes, to look at.

    It stands before the picture as `Rows`, and keeps what it shows of them when they are read: to read them once more
    would be to decode all tiles around them once more.

    first: any rows (n, W, C) of it.
    """

    count = 1

    def __init__(self, raster: Raster, first: np.ndarray) -> None:
        self.raster, self.height, self.width = raster, raster.height, raster.width
        self.step = -(-max(raster.height, raster.width) // SHOWN)
        self.size = (-(-raster.height // self.step), -(-raster.width // self.step))
        # Made whole at first: rows that came one by one would lie scattered between what comes and goes.
        self.pixels = np.zeros((*self.size, first.shape[2]), first.dtype)
        self.classes = np.zeros(self.size, np.uint8)

    def read(self, top: int, bottom: int) -> Tensor:
        pixels = self.raster.pixels(top, bottom)
        self._keep(self.pixels, top, pixels)
        return as_batch([pixels])

    def add(self, top: int, labels: np.ndarray) -> None:
        """The classes (n, W) of rows from `top` on."""
        self._keep(self.classes, top, labels)

    def write(self, path: Path, labels: Labels) -> None:
        painted = Image.fromarray(overlay(viewable(self.pixels), self.classes, labels))
        write_atomically(path, lambda temporary: painted.save(temporary, "JPEG"))

    def _keep(self, kept: np.ndarray, top: int, rows: np.ndarray) -> None:
        first = -(-top // self.step)
        shown = rows[first * self.step - top :: self.step, :: self.step]
        kept[first : first + len(shown)] = shown
