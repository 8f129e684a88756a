"""From a data set to batches: which picture comes when, and the loader that brings it.

Training counts samples by position: 0, 1, 2, ... through all epochs. A position alone says which picture it is and what
random numbers augment it, so a run that goes on at step 700 goes on with the very same pictures, whatever the number of
workers or processes, and nothing is replayed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segue.data.sampling import RareClasses, pixel_of
from segue.data.source import DataSet, read_pair
from segue.data.transforms import Augmentation, augment
from segue.errors import DataError

Batch = tuple[Tensor, Tensor, list[str]]
"""Images (B, C, H, W) as the pictures are (uint8, or float32), classes (B, H, W) uint8, and the pictures' names."""


class TrainingSamples(Dataset[tuple[np.ndarray, np.ndarray, str]]):
    """Augmented pictures by position; see the module's docstring.

    shrink: the factor by which pictures are shrunk for the network; it multiplies the augmentation's scale.
    rare: draws the share of the crops that show rare classes; the others, and all without it, go through the epochs.
    """

    def __init__(
        self,
        data: DataSet,
        augmentation: Augmentation,
        *,
        seed: int,
        shrink: float = 1.0,
        rare: RareClasses | None = None,
    ) -> None:
        if len(data) == 0:
            raise DataError("the training split holds no pictures")
        self.data = data
        low, high = augmentation.scale
        self.augmentation = replace(augmentation, scale=(low * shrink, high * shrink))
        self.seed = seed
        self.rare = rare
        self._orders: dict[int, np.ndarray] = {}

    def picture_at(self, position: int) -> int:
        """Which picture a position is: every epoch is a permutation of its own."""
        epoch, place = divmod(position, len(self.data))
        if epoch not in self._orders:
            # The one before is still asked for while batches of both epochs are under way.
            self._orders = {old: order for old, order in self._orders.items() if old == epoch - 1}
            self._orders[epoch] = self.data.order(self.seed, epoch)
        return int(self._orders[epoch][place])

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray, str]:
        rng = np.random.Generator(np.random.PCG64([self.seed, 1, position]))
        drawing = np.random.Generator(np.random.PCG64([self.seed, 2, position]))
        drawn = self.rare.draw(drawing) if self.rare is not None else None
        index = drawn[0] if drawn is not None else self.picture_at(position)
        image, target = read_pair(self.data, index)
        centre = pixel_of(target, drawn[1], drawing) if drawn is not None else None
        pixels, classes = augment(image, target, rng, self.augmentation, self.data.labels, centre)
        return pixels, classes, self.data.name(index)


def collate(samples: Sequence[tuple[np.ndarray, np.ndarray, str]]) -> Batch:
    """Stack pictures of one size; the channels go first, and 16-bit values become float32, which networks take."""
    pictures = np.stack([pixels for pixels, _, _ in samples])
    images = torch.from_numpy(pictures if pictures.dtype == np.uint8 else pictures.astype(np.float32))
    images = images.permute(0, 3, 1, 2)
    targets = torch.from_numpy(np.stack([classes for _, classes, _ in samples]))
    return images, targets, [name for _, _, name in samples]


def training_positions(
    first_step: int, last_step: int, batch: int, accumulate: int, process: int, processes: int
) -> Iterator[list[int]]:
    """The positions of each forward pass of one process, from `first_step` to before `last_step`.

    Step s holds the positions s * batch to (s + 1) * batch - 1, however many processes and passes share them.
    """
    part = batch // (accumulate * processes)
    for step in range(first_step, last_step):
        for turn in range(accumulate):
            start = step * batch + (turn * processes + process) * part
            yield list(range(start, start + part))


def training_loader(
    samples: TrainingSamples, positions: Iterator[list[int]], *, workers: int, pin_memory: bool = False
) -> DataLoader[Any]:
    """The loader of one process; `workers` processes decode and augment, 0 for this one."""
    return DataLoader(
        samples,
        batch_sampler=_Positions(positions),
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # its own: the loader must not draw from the generator that dropout resumes
        prefetch_factor=4 if workers else None,
        worker_init_fn=_start_worker if workers else None,
        multiprocessing_context="fork" if workers and os.name == "posix" and not torch.cuda.is_available() else None,
    )


class _Positions:
    """An iterator as a batch sampler."""

    def __init__(self, positions: Iterator[list[int]]) -> None:
        self.positions = positions

    def __iter__(self) -> Iterator[list[int]]:
        return self.positions


def _start_worker(worker: int) -> None:
    torch.set_num_threads(1)  # several workers with a pool of threads each would fight over the cores
    # Ctrl-C and `kill` reach the whole process group. What to do is the main process's to decide: a worker that died of
    # it would take the run down before its checkpoint is written. Workers end when the main process does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class WholePictures(Dataset[tuple[np.ndarray, np.ndarray, str]]):
    """Pictures at their own size, as evaluation sees them."""

    def __init__(self, data: DataSet) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        image, target = read_pair(self.data, index)
        return (
            image,
            target.copy(),
            self.data.name(index),
        )  # torch wants memory that it may write to; kept masks are not


def share(count: int, process: int, processes: int) -> range:
    """The pictures of one process among several: each picture belongs to exactly one."""
    return range(process, count, processes)
