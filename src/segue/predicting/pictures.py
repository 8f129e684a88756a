"""Pictures, group by group: the next are read and the last are written while the network works."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from segue.errors import DataError
from segue.evaluation import same_size
from segue.predicting.jobs import Job
from segue.predicting.large import predict_large
from segue.predicting.manifest import Outcome
from segue.predicting.outputs import Found, write_picture
from segue.predicting.tools import TOO_LARGE, Tools
from segue.rasters import LARGE, Georeference, open_raster
from segue.reading import read_image

THREADS = 2  # that read, and as many that write
AHEAD = 8  # pictures that are read before they are needed, and as many that wait to be written


@dataclass(frozen=True)
class Picture:
    """A picture (H, W, C) in memory, and the seconds that reading it took."""

    job: Job
    pixels: np.ndarray
    georeference: Georeference | None
    seconds: float


@dataclass(frozen=True)
class TooLargeToHold:
    """A picture that is read by rows."""

    job: Job


Opened = Picture | TooLargeToHold | Outcome


def predict_pictures(jobs: Sequence[Job], tools: Tools) -> Iterator[Outcome]:
    """Predict files and write what is wanted of them; an outcome for each, in no particular order.

    Raises SaveError when results cannot be written: the next ones could not be either.
    """
    aside: deque[TooLargeToHold | Outcome] = deque()
    writing: deque[Future[Outcome]] = deque()
    with ThreadPoolExecutor(THREADS) as readers, ThreadPoolExecutor(THREADS) as writers:
        try:
            for group in same_size(_held(_opened(jobs, tools, readers), aside), tools.order.batch):
                yield from _taken(aside, tools)
                pictures = [picture for _, picture in group]
                together = max(1, LARGE // pictures[0].pixels[..., 0].size)
                for start in range(0, len(pictures), together):
                    yield from _predicted(pictures[start : start + together], tools, writers, writing)
                while len(writing) > AHEAD:
                    yield writing.popleft().result()
            while writing:
                yield writing.popleft().result()
        finally:
            for future in writing:
                future.cancel()
    yield from _taken(aside, tools)


def _opened(jobs: Sequence[Job], tools: Tools, readers: ThreadPoolExecutor) -> Iterator[Opened]:
    """The pictures in their order, some of them read ahead."""
    coming: deque[Future[Opened]] = deque()
    for job in jobs:
        coming.append(readers.submit(_open, job, tools))
        if len(coming) > AHEAD:
            yield coming.popleft().result()
    while coming:
        yield coming.popleft().result()


def _open(job: Job, tools: Tools) -> Opened:
    start = time.perf_counter()
    try:
        raster = open_raster(job.path)
        if raster is None:
            pixels, georeference = read_image(job.path), None
        else:
            with raster:
                if raster.height * raster.width > LARGE:
                    return TooLargeToHold(job)
                pixels, georeference = raster.pixels(0, raster.height), raster.georeference
        tools.model.check(pixels, job.path)
    except DataError as error:
        return Outcome(str(job.path), error=str(error))
    return Picture(job, pixels, georeference, time.perf_counter() - start)


def _held(opened: Iterator[Opened], aside: deque[TooLargeToHold | Outcome]) -> Iterator[tuple[np.ndarray, Picture]]:
    """The pictures in memory; the others are put aside."""
    for one in opened:
        if isinstance(one, Picture):
            yield one.pixels, one
        else:
            aside.append(one)


def _taken(aside: deque[TooLargeToHold | Outcome], tools: Tools) -> Iterator[Outcome]:
    while aside:
        one = aside.popleft()
        yield one if isinstance(one, Outcome) else predict_large(one.job, tools)


def _predicted(
    pictures: list[Picture], tools: Tools, writers: ThreadPoolExecutor, writing: deque[Future[Outcome]]
) -> Iterator[Outcome]:
    """Predict pictures of one size and have them written; outcomes come from here only where it fails."""
    start = time.perf_counter()
    try:
        found = tools.found([picture.pixels for picture in pictures])
    except torch.OutOfMemoryError:
        for picture in pictures:
            yield Outcome(str(picture.job.path), error=f"{picture.job.path}: {TOO_LARGE}")
        return
    except ValueError as error:  # such as a network that takes no pictures so small
        for picture in pictures:
            yield Outcome(str(picture.job.path), error=f"{picture.job.path}: {error}")
        return
    share = (time.perf_counter() - start) / len(pictures)
    for picture, one in zip(pictures, found, strict=True):
        writing.append(writers.submit(_write, picture, one, share, tools))


def _write(picture: Picture, found: Found, seconds: float, tools: Tools) -> Outcome:
    start = time.perf_counter()
    outputs = write_picture(tools.wanted, picture.job.place, picture.pixels, found, tools.labels, picture.georeference)
    return Outcome(
        str(picture.job.path),
        tuple(str(path) for path in outputs),
        picture.seconds + seconds + time.perf_counter() - start,
        found.labels.shape,
    )
