"""Arrays in memory that all processes of a machine share, and how much memory there is for them."""

from __future__ import annotations

import atexit
import mmap
import os
import pickle
import secrets
import struct
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

HEADER = struct.Struct("<4s4s3Q32x")  # kind of array, its type, its shape: 64 bytes
ALIGNED = HEADER.size
TOKEN = 64  # bytes before the table: what tells this file from another of the same path


class MemoryStore:
    """Arrays by slot, written once each by whoever has them first, read by every process without a copy.

    They lie in a file without a name that lives in memory and is gone with the last process that has it open, however
    that ends (on Linux; elsewhere in a temporary file). Arrays are put behind each other in one write each, which the
    kernel keeps apart, and then entered in the table at the file's beginning: there is no lock that a killed process
    could hold.

    slots: how many arrays at most. limit: bytes at most; when they are used up, nothing more is kept.
    """

    def __init__(self, slots: int, limit: int) -> None:
        self.slots, self.limit = slots, limit
        self.token = secrets.token_bytes(TOKEN)
        file, self.path = _new_file()
        os.ftruncate(file, self._first)
        os.pwrite(file, self.token, 0)
        self._keep_open = file
        self._open()

    @property
    def _first(self) -> int:
        """Where the first array may lie."""
        return TOKEN + -(-8 * self.slots // ALIGNED) * ALIGNED

    def _open(self) -> None:
        # Every process opens the file for itself: with an open file in common, it would not know where its write went.
        self.file = os.open(self.path, os.O_RDWR | os.O_APPEND)
        if os.pread(self.file, TOKEN, 0) != self.token:
            os.close(self.file)
            raise FileNotFoundError(f"{self.path}: is not the memory it was")
        self.process, self.writing, self.full = os.getpid(), threading.Lock(), False
        self.table = np.frombuffer(mmap.mmap(self.file, self._first), dtype=np.uint64, offset=TOKEN)[: self.slots]
        self.mapped = mmap.mmap(self.file, 0, access=mmap.ACCESS_READ)

    def __getstate__(self) -> dict[str, object]:
        return {"slots": self.slots, "limit": self.limit, "token": self.token, "path": self.path}

    def __setstate__(self, state: dict[str, object]) -> None:
        """In another process, or on another machine, where it raises OSError."""
        self.__dict__.update(state)
        self._open()

    @property
    def handle(self) -> bytes:
        """What `reach` needs."""
        return pickle.dumps(self)

    @staticmethod
    def reach(handle: bytes) -> MemoryStore | None:
        """The store of another process of this machine; None where it cannot be reached, on another machine say."""
        try:
            store = pickle.loads(handle)
        except OSError:
            return None
        assert isinstance(store, MemoryStore)
        return store

    def _in_this_process(self) -> None:
        if self.process != os.getpid():  # after a fork
            self._open()

    def get(self, slot: int) -> np.ndarray | None:
        """The array of a slot, read-only; None when there is none yet."""
        self._in_this_process()
        start = int(self.table[slot])
        if not start:
            return None
        mapped = self._up_to(start + HEADER.size)
        kind, code, *shape = HEADER.unpack_from(mapped, start)
        assert kind == b"segu"
        dtype, lengths = np.dtype(code.rstrip(b"\0").decode()), [length for length in shape if length]
        count = int(np.prod(lengths))
        mapped = self._up_to(start + HEADER.size + count * dtype.itemsize)
        return np.frombuffer(mapped, dtype, count, start + HEADER.size).reshape(lengths)

    def _up_to(self, end: int) -> mmap.mmap:
        """The file, mapped at least to this byte; arrays keep the map that they were taken from."""
        mapped = self.mapped
        if end > len(mapped):
            mapped = self.mapped = mmap.mmap(self.file, 0, access=mmap.ACCESS_READ)
        return mapped

    def put(self, slot: int, array: np.ndarray) -> None:
        """Keep an array of up to three dimensions, none of length 0, if there is room."""
        self._in_this_process()
        shape = [*array.shape, 0, 0, 0][:3]
        header = HEADER.pack(b"segu", array.dtype.str.encode(), *shape)
        content = np.ascontiguousarray(array).data.cast("B")
        padding = bytes(-len(content) % ALIGNED)
        length = len(header) + len(content) + len(padding)
        with self.writing:
            if self.full or self.table[slot]:
                return
            self.full = self.used + length > self.limit
            if self.full:
                return
            try:
                self.full = os.writev(self.file, [header, content, padding]) < length
            except OSError:  # no room: the pictures are read again, that is all
                self.full = True
            if not self.full:
                self.table[slot] = os.lseek(self.file, 0, os.SEEK_CUR) - length

    @property
    def used(self) -> int:
        """Bytes, of all processes together."""
        return os.fstat(self.file).st_size


def _new_file() -> tuple[int, str]:
    """An open file in memory, and a path by which other processes of this machine can open it as well."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("segue")
        return file, f"/proc/{os.getpid()}/fd/{file}"
    file, path = tempfile.mkstemp(prefix="segue-", suffix=".cache")
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            Path(path).unlink(missing_ok=True)

    atexit.register(remove)
    return file, path


def free_memory() -> int:
    """Bytes that processes may still take: what the machine has left, or this process's control group if less."""
    return max(0, min([int(psutil.virtual_memory().available), *_left_in_control_groups()]))


def _left_in_control_groups(root: Path = Path("/sys/fs/cgroup"), of: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Bytes left in the control group of a process and in those around it, of version 2 or 1."""
    left: list[int] = []
    with suppress(OSError):
        for line in of.read_text(encoding="utf-8").splitlines():
            _, controllers, way = line.split(":", 2)
            if not controllers:
                base, limit, used, cached = root, "memory.max", "memory.current", "inactive_file"
            elif "memory" in controllers.split(","):
                base, limit, used = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
                cached = "total_inactive_file"
            else:
                continue
            here = base / way.strip("/")
            for folder in (here, *here.parents):
                with suppress(OSError, ValueError, KeyError):  # not there, or "max": no limit
                    statistics = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
                    taken = int((folder / used).read_text()) - int(statistics[cached])  # files, given up when needed
                    left.append(int((folder / limit).read_text()) - taken)
                if folder == base:
                    break
    return left
