"""How fast pictures come, stage by stage, and how long the network waits for them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from segue import recipe as recipes
from segue.data import DataSet, open_split
from segue.data.loading import TrainingSamples, collate, training_loader, training_positions
from segue.data.source import PairStamp, read_pair
from segue.data.transforms import augment
from segue.evaluation import Evaluation
from segue.feed import Balance, keep_pictures, training_samples
from segue.options import Recipe
from segue.prediction import Preprocessing
from segue.progress import ProgressLine, counted
from segue.run import build_network, cores, fit_levels, loader_workers, make_accelerator, understand_data
from segue.training import Job, Seen, Tick, train

MOST_PICTURES = 256  # of the data set that are looked at
FIRST_STEPS = 3  # of the network, which are slower than all others
FEWEST_STEPS = 8
LITTLE = 0.05  # share of time waiting that is not worth a thought


@dataclass(frozen=True)
class DataSpeed:
    """What was measured; times are in milliseconds of one process.

    pictures: of the data set that were looked at. size: height and width of the first. crop: what the network sees.
    read, kept, augment, collate: per picture; kept, where it is kept once decoded, or None.
    first, later: pictures per second of the loader alone, in the first epoch and in those after it.
    step: of the network, for `batch` pictures. waiting: share of the time that it waits for them.
    """

    pictures: int
    size: tuple[int, int]
    crop: tuple[int, int]
    cache: str
    workers: int
    cores: int
    beside_processor: bool
    batch: int
    read: float
    kept: float | None
    augment: float
    collate: float
    first: float
    later: float
    step: float
    waiting: float

    @property
    def wanted(self) -> float:
        """Pictures per second that the network could take."""
        return self.batch / self.step * 1000

    @property
    def work(self) -> float:
        """Milliseconds that a picture takes until it is in a batch."""
        return (self.read if self.kept is None else self.kept) + self.augment + self.collate


def measure(recipe: Recipe, *, step_ms: float = 0.0, seconds: float = 3.0) -> DataSpeed:
    """Measure a recipe's data, each stage for about so many seconds, with its network or with steps of `step_ms`.

    Raises DataError, RecipeError and whatever else training with the recipe would raise.
    """
    accelerator = make_accelerator(recipe, Path())
    line = ProgressLine()
    labels = understand_data(recipe).labels
    whole = open_split(recipe.data.name, recipe.data.root, recipe.data.train, labels)
    data = Some(whole, MOST_PICTURES)
    recipe = fit_levels(recipe, data, line.say)
    recipe = recipes.resolve_crop(recipe, data.image(0).shape[:2])
    read, augmented, collated = _stages(data, recipe, seconds)
    kept, _ = keep_pictures(data, data, replace(recipe.data, val=recipe.data.train), accelerator, lambda text: None)
    beside_processor = accelerator.device.type == "cpu" and not step_ms
    workers = loader_workers(recipe, 1, beside_processor=beside_processor)
    samples = training_samples(recipe, kept, Balance(None, None))
    first, later = _loader(samples, recipe.training.batch, workers, seconds)
    if step_ms:
        step, waiting = step_ms, _wait_beside(samples, recipe.training.batch, workers, step_ms, seconds)
    else:
        step, waiting = _wait_for_network(samples, recipe, accelerator, workers, seconds)
    image = data.image(0)
    return DataSpeed(
        pictures=len(data),
        size=(image.shape[0], image.shape[1]),
        crop=recipe.augment.crop,
        cache="off" if kept is data else "disk" if recipe.data.cache == "disk" else "ram",
        workers=workers,
        cores=cores(),
        beside_processor=beside_processor,
        batch=recipe.training.batch,
        read=read,
        kept=_milliseconds(lambda index: read_pair(kept, index), len(data), seconds) if kept is not data else None,
        augment=augmented,
        collate=collated,
        first=first,
        later=later,
        step=step,
        waiting=waiting,
    )


class Some(DataSet):
    """So many pictures of a data set at most, evenly apart."""

    def __init__(self, data: DataSet, most: int) -> None:
        self.data, self.labels = data, data.labels
        self.numbers = np.unique(np.linspace(0, len(data) - 1, min(most, len(data))).round().astype(int)).tolist()

    def __len__(self) -> int:
        return len(self.numbers)

    def name(self, index: int) -> str:
        return self.data.name(self.numbers[index])

    def image(self, index: int) -> np.ndarray:
        return self.data.image(self.numbers[index])

    def target(self, index: int) -> np.ndarray:
        return self.data.target(self.numbers[index])

    def stamp(self, index: int) -> PairStamp | None:
        return self.data.stamp(self.numbers[index])


def _milliseconds(work: Callable[[int], object], count: int, seconds: float) -> float:
    """Median time of the work on number 0, 1, 2, ... of `count`, over and over for so many seconds."""
    times: list[float] = []
    started = time.perf_counter()
    while not times or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        work(len(times) % count)
        times.append(time.perf_counter() - before)
    return 1000 * float(np.median(times))


def _stages(data: DataSet, recipe: Recipe, seconds: float) -> tuple[float, float, float]:
    """Milliseconds per picture of reading, augmenting and collating."""
    read = _milliseconds(lambda index: read_pair(data, index), len(data), seconds)
    pairs = [read_pair(data, index) for index in range(min(32, len(data)))]
    how = training_samples(recipe, data, Balance(None, None)).augmentation
    rng = np.random.default_rng(recipe.training.seed)
    augmented = _milliseconds(lambda index: augment(*pairs[index], rng, how, data.labels), len(pairs), seconds)
    batch = [(*augment(*pairs[index % len(pairs)], rng, how), "") for index in range(recipe.training.batch)]
    return read, augmented, _milliseconds(lambda index: collate(batch), 1, seconds / 3) / len(batch)


def _loader(samples: TrainingSamples, batch: int, workers: int, seconds: float) -> tuple[float, float]:
    """Pictures per second of the loader alone: in the first epoch, and then for so many seconds."""
    epoch = math.ceil(len(samples.data) / batch)
    batches = iter(training_loader(samples, training_positions(0, 10**9, batch, 1, 0, 1), workers=workers))
    first = _rate(batches, batch, lambda done, took: done >= epoch)
    return first, _rate(batches, batch, lambda done, took: took >= seconds and done >= 2)


def _rate(batches: Iterator[object], batch: int, enough: Callable[[int, float], bool]) -> float:
    started = time.perf_counter()
    for done in count(1):
        next(batches)
        took = time.perf_counter() - started
        if enough(done, took):
            return done * batch / took
    raise AssertionError


def _wait_beside(samples: TrainingSamples, batch: int, workers: int, step_ms: float, seconds: float) -> float:
    """Share of time waiting for batches beside a device that takes `step_ms` for each."""
    batches = iter(training_loader(samples, training_positions(0, 10**9, batch, 1, 0, 1), workers=workers))
    next(batches)
    waited, started, done = 0.0, time.perf_counter(), 0
    while done < FEWEST_STEPS or time.perf_counter() - started < seconds:
        time.sleep(step_ms / 1000)
        before = time.perf_counter()
        next(batches)
        waited += time.perf_counter() - before
        done += 1
    return waited / (time.perf_counter() - started)


def _wait_for_network(
    samples: TrainingSamples, recipe: Recipe, accelerator: Accelerator, workers: int, seconds: float
) -> tuple[float, float]:
    """Milliseconds of a step of the recipe's network, and the share of time that it waits, in training as it is."""
    torch.manual_seed(recipe.training.seed)
    watcher = _Stopwatch(seconds)
    job = Job(
        network=build_network(recipe, samples.data.labels, fetch=False),
        samples=samples,
        validation=samples.data,
        preprocessing=Preprocessing(recipe.data.mean, recipe.data.std, recipe.data.shrink),
        policy=lambda step: 0.0,
        steps=10**9,
        how=replace(recipe.training, validate_every=10**9),
        optim=recipe.optim,
        folder=Path(),
        recipe={},
        accelerator=accelerator,
        watcher=watcher,
        keep=lambda network, row: None,
        workers=workers,
    )
    with suppress(_EnoughError):
        train(job)
    first, last = watcher.ticks[FIRST_STEPS - 1], watcher.ticks[-1]
    took, waited = last.seconds - first.seconds, last.waited - first.waited
    return 1000 * (took - waited) / (last.step - first.step), waited / took


class _EnoughError(Exception):
    """All is measured."""


class _Stopwatch:
    """Watches training for some steps."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.ticks = seconds, list[Tick]()

    def stepped(self, tick: Tick) -> None:
        self.ticks.append(tick)
        measured = len(self.ticks) - FIRST_STEPS
        if measured >= FEWEST_STEPS and tick.seconds - self.ticks[FIRST_STEPS - 1].seconds >= self.seconds:
            raise _EnoughError

    def validated(
        self, rows: Sequence[Mapping[str, float]], evaluation: Evaluation, panels: Sequence[Seen], best: bool
    ) -> None:
        raise AssertionError("there is no validation in a measurement")


# For people


def report_lines(speed: DataSpeed) -> list[str]:
    """What was measured, as a table, and what to do about it."""
    height, width = speed.size
    rows: list[tuple[str, float | None, str]] = [
        ("read and decode", speed.read, f"{width}x{height}, picture and mask"),
        ("take from the cache", speed.kept, f"data.cache = {speed.cache}"),
        ("augment", speed.augment, f"to {speed.crop[1]}x{speed.crop[0]}"),
        ("collate", speed.collate, f"batches of {speed.batch}"),
    ]
    rows.append((f"loader, {counted(speed.workers, 'worker')}", 1000 / speed.later, ""))
    if speed.kept is not None:
        rows.append(("  in the first epoch", 1000 / speed.first, ""))
    rows.append(("network", speed.step / speed.batch, f"{speed.step:.0f} ms a step"))
    lines = [f"{'one process':24}{'ms per picture':>16}{'pictures/s':>12}"]
    lines += [
        f"{name:24}{ms:>16.2f}{1000 / ms:>12,.{0 if ms < 100 else 1}f}  {what}".rstrip()
        for name, ms, what in rows
        if ms is not None
    ]
    lines.append(f"The network waits {speed.waiting:.1%} of its time. {advice(speed)}")
    return lines


def advice(speed: DataSpeed) -> str:
    """One sentence: what would make the network wait less."""
    if speed.waiting < LITTLE:
        return "Loading is fast enough."
    if speed.kept is None and speed.read > 0.3 * speed.work:
        return (
            f"Decoding is {speed.read / speed.work:.0%} of the loader's work: keep decoded pictures with "
            'data.cache = "ram", or "disk" where memory is too small.'
        )
    needed = math.ceil(speed.wanted * speed.work / 1000)
    spare = speed.cores - (1 if not speed.beside_processor else speed.cores // 2)
    if needed > speed.workers and speed.workers < spare:
        return f"The network could take {speed.wanted:.0f} pictures/s: set data.workers = {min(needed, spare)}."
    if speed.augment > 0.5 * speed.work:
        return (
            f"Augmentation is {speed.augment / speed.work:.0%} of the loader's work and the processor has no core to "
            "spare: augment.photometric = 0 makes it cheaper, a smaller augment.crop both it and the network."
        )
    return f"The processor has no core to spare: {needed} would be needed for {speed.wanted:.0f} pictures/s."
