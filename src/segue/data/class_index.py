"""Which picture holds how much of which class: counted once per mask, in parallel, and remembered between runs."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from segue.data.source import DataSet
from segue.errors import SaveError
from segue.files import cache_folder, write_atomically
from segue.labels import IGNORE

Told = Callable[[int, int], None]
"""Hears how many masks of how many are counted."""


@dataclass(frozen=True)
class ClassIndex:
    """pixels: (N, K) int64, of each class in each picture; ignored pixels are in none."""

    pixels: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """(K,) pixels of each class."""
        total: np.ndarray = self.pixels.sum(axis=0)
        return total

    @property
    def share(self) -> np.ndarray:
        """(K,) of all counted pixels."""
        share: np.ndarray = self.total / max(self.total.sum(), 1)
        return share

    @property
    def present(self) -> np.ndarray:
        """(K,) counted pixels, of any class, of the pictures in which the class occurs."""
        present: np.ndarray = ((self.pixels > 0) * self.pixels.sum(axis=1, keepdims=True)).sum(axis=0)
        return present

    @property
    def pictures(self) -> np.ndarray:
        """(K,) pictures in which the class occurs."""
        pictures: np.ndarray = np.count_nonzero(self.pixels, axis=0)
        return pictures


def index_classes(data: DataSet, told: Told = lambda done, count: None) -> ClassIndex:
    """Count every mask of a split, with several threads; those that were counted in an earlier run are not read again.

    A mask is known again by its path, size and time of change, where the data set can tell those.
    """
    known = _Remembered(data)
    rows = np.zeros((len(data), data.labels.num_classes), dtype=np.int64)
    unknown = []
    for index in range(len(data)):
        row = known.row(index)
        if row is None:
            unknown.append(index)
        else:
            rows[index] = row
    for done, (index, counts) in enumerate(_counted(data, unknown), start=1):
        rows[index] = counts
        told(done, len(unknown))
    if unknown:
        known.write(rows)
    return ClassIndex(rows)


def _counted(data: DataSet, pictures: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Index and class counts (K,) of each picture, in the order given."""

    def count(index: int) -> np.ndarray:
        return np.bincount(data.target(index).reshape(-1), minlength=IGNORE + 1)[: data.labels.num_classes]

    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:  # Pillow lets go of the GIL while it decodes
        left = iter(pictures)
        # A few at a time: a mask that cannot be read ends the count at once, not after all others.
        while batch := list(islice(left, 16 * threads)):
            yield from zip(batch, pool.map(count, batch), strict=True)


class _Remembered:
    """The counts of earlier runs: a file for each folder of masks and label map, a row for each state of a mask."""

    def __init__(self, data: DataSet) -> None:
        stamps = [data.stamp(index) for index in range(len(data))]
        # With the name: one file of annotations may hold the masks of many pictures.
        self.keys = [
            hashlib.sha256(f"{data.name(index)}\n{one.mask}".encode()).digest()[:16]
            for index, one in enumerate(stamps)
            if one is not None
        ]
        self.path: Path | None = None
        self.rows: dict[bytes, np.ndarray] = {}
        if not stamps or len(self.keys) < len(stamps):  # drawn pictures, say: there is no file to know again
            return
        place = stamps[0].mask.path.rpartition("/")[0] if stamps[0] is not None else ""
        digest = hashlib.sha256(f"{place}\n{json.dumps(data.labels.to_dict())}".encode()).hexdigest()
        self.path = cache_folder() / "classes" / f"{digest[:32]}.npz"
        # A damaged file is written anew.
        with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                keys, pixels = file["keys"], file["pixels"]
            if pixels.shape == (len(keys), data.labels.num_classes):
                self.rows = {key.tobytes(): row for key, row in zip(keys, pixels, strict=True)}

    def row(self, index: int) -> np.ndarray | None:
        """The counts of a picture whose mask is as it was."""
        return self.rows.get(self.keys[index]) if self.path is not None else None

    def write(self, pixels: np.ndarray) -> None:
        """Remember these counts of all pictures."""
        if self.path is None:
            return
        keys = np.frombuffer(b"".join(self.keys), dtype=np.uint8).reshape(-1, 16)

        def save(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez_compressed(file, keys=keys, pixels=pixels)

        with suppress(SaveError):  # a home that cannot be written costs time in the next run, nothing else
            write_atomically(self.path, save)
