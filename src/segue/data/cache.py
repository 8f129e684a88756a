"""Decoded pictures and masks that are kept, in memory or on disk, so that no file is decoded twice."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import zstandard

from segue.data.memory import HEADER
from segue.data.source import DataSet, FileStamp, PairStamp
from segue.options import CacheName

KIND = b"seg1"  # of a file on disk; another number when its layout or the decoding changes
AUTO_SHARE, RAM_SHARE = 0.25, 0.75
"""Of the free memory: what pictures may take when nobody asked for it, and when somebody did."""
DISK_RESERVE = 1 << 30
"""Bytes that are left free on the disk."""


class Store(Protocol):
    """Where arrays are kept by slot: 2 * index for a picture's pixels, 2 * index + 1 for its classes."""

    def get(self, slot: int) -> np.ndarray | None:
        """What is kept, or None."""

    def put(self, slot: int, array: np.ndarray) -> None:
        """Keep an array, if there is room."""


class KeptDataSet(DataSet):
    """A data set whose pictures and masks are decoded once and then come from a store."""

    def __init__(self, data: DataSet, store: Store) -> None:
        self.data, self.store = data, store
        self.labels, self.anomalies = data.labels, data.anomalies

    def __len__(self) -> int:
        return len(self.data)

    def name(self, index: int) -> str:
        return self.data.name(index)

    def image(self, index: int) -> np.ndarray:
        return self._kept(2 * index, self.data.image, index)

    def target(self, index: int) -> np.ndarray:
        return self._kept(2 * index + 1, self.data.target, index)

    def stamp(self, index: int) -> PairStamp | None:
        return self.data.stamp(index)

    def order(self, seed: int, epoch: int) -> np.ndarray:
        return self.data.order(seed, epoch)

    def _kept(self, slot: int, read: Callable[[int], np.ndarray], index: int) -> np.ndarray:
        array = self.store.get(slot)
        if array is None:
            array = read(index)
            self.store.put(slot, array)
        return array


class DiskStore:
    """Arrays in files, compressed by zstandard and memory-mapped when they are read; they serve the next runs as well.

    A file is named after what it was made from and holds its size and time of change, so that one that has changed is
    decoded again. A file is written beside its place and then renamed: a kill leaves none that is half written. A
    damaged one is as good as none. A full disk ends the keeping, not the run.
    """

    def __init__(self, folder: Path, data: DataSet) -> None:
        self.folder, self.data, self.full = folder, data, False
        self.labels = json.dumps(data.labels.to_dict())

    def _place(self, slot: int) -> tuple[Path, bytes]:
        """The file of a slot, and the version that it must have been made from."""
        stamp = self.data.stamp(slot // 2)
        assert stamp is not None  # `keep` does not ask for the disk where there are no files
        of: FileStamp = stamp.mask if slot % 2 else stamp.image
        what = f"{self.data.name(slot // 2)}\n{self.labels}" if slot % 2 else ""  # a file may hold many pictures' masks
        key = hashlib.sha256(f"{of.path}\n{what}".encode()).hexdigest()
        return self.folder / key[:2] / f"{key[2:40]}.seg", hashlib.sha256(of.version.encode()).digest()

    def get(self, slot: int) -> np.ndarray | None:
        path, version = self._place(slot)
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                kind, code, *shape = HEADER.unpack_from(mapped, 0)
                start = HEADER.size + len(version)
                if kind != KIND or mapped[HEADER.size : start] != version:
                    return None
                with memoryview(mapped) as view, view[start:] as packed:
                    content = zstandard.ZstdDecompressor().decompress(packed)
            lengths = [length for length in shape if length]
            return np.frombuffer(content, np.dtype(code.rstrip(b"\0").decode())).reshape(lengths)
        except (OSError, ValueError, TypeError, struct.error, zstandard.ZstdError):
            return None

    def put(self, slot: int, array: np.ndarray) -> None:
        if self.full:
            return
        path, version = self._place(slot)
        shape = [*array.shape, 0, 0, 0][:3]
        header = HEADER.pack(KIND, array.dtype.str.encode(), *shape)
        # Level 1 leaves 0.58 of CamVid's pixels and unpacks 1 GB/s; level 3 takes half as long again for a tenth less.
        packed = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(np.ascontiguousarray(array).data)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.full = shutil.disk_usage(path.parent).free < DISK_RESERVE
            if not self.full:
                temporary.write_bytes(header + version + packed)
                temporary.replace(path)
        except OSError:
            self.full = True
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class CachePlan:
    """Whether and where the pictures of a split are kept.

    needed: bytes of all of them, as far as the first one tells. limit: bytes that they may take in memory.
    """

    where: Literal["ram", "disk", "off"]
    needed: int
    limit: int = 0


def plan_cache(asked: CacheName | bool, count: int, first: tuple[np.ndarray, np.ndarray], free: int) -> CachePlan:
    """What `data.cache` means for `count` pictures such as the first one, with so many bytes of memory free.

    auto keeps them in memory where all of them fit into a quarter of what is free. ram takes up to three quarters, and
    keeps those that fit. True is ram and False is off, as in older recipes.
    """
    needed = count * (first[0].nbytes + first[1].nbytes + 2 * HEADER.size)
    if asked == "auto":
        limit = int(AUTO_SHARE * free)
        return CachePlan("ram" if needed <= limit else "off", needed, limit)
    if asked == "disk":
        return CachePlan("disk", needed)
    if asked in ("ram", True):
        return CachePlan("ram", needed, int(RAM_SHARE * free))
    return CachePlan("off", needed)
