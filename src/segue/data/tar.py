"""Tar shards as WebDataset has them: `key.jpg` and `key.png` are a picture and its mask, read from where they lie."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from segue.errors import DataError, SaveError
from segue.files import cache_folder, write_text

PICTURES = ("jpg", "jpeg", "webp", "png", "tif", "tiff", "bmp", "ppm", "pgm")
LOSSLESS = ("png", "tif", "tiff", "bmp", "pgm")
MASK_WORDS = ("mask", "seg", "segmentation", "label", "labels", "target", "gt", "annotation")
BLOCK = 512  # what a tar archive is made of
INDEX = ".index.json"
"""What an index is called that lies beside its shard, after the shard's own name."""


@dataclass(frozen=True)
class TarMember:
    """A file inside of a tar archive, read from where it lies without looking at the others."""

    archive: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"

    @property
    def suffix(self) -> str:
        """The name's last suffix, with its dot."""
        return "." + _suffix(self.name)

    def open(self, mode: str = "rb") -> IO[Any]:
        """The file as a stream of bytes in memory. Raises DataError when it is not where the index says."""
        with self.archive.open("rb") as file:
            file.seek(self.offset - BLOCK)
            content = file.read(BLOCK + self.size)
        if len(content) < BLOCK + self.size or _size_in(content[:BLOCK]) != self.size:
            raise DataError(
                f"{self}: is not where the shard's index says; remove the index ({self.archive.name}{INDEX} beside it, "
                f"or {index_path(self.archive)})"
            )
        return io.BytesIO(content[BLOCK:])


def _size_in(header: bytes) -> int:
    """The size of a file as the block before it has it; -1 where that is not such a block."""
    try:
        return int(header[124:136].rstrip(b" \0"), 8)
    except ValueError:
        return -1


@dataclass(frozen=True, eq=False)
class TarIndex:
    """What a shard of so many bytes holds.

    keys: of its samples. endings: what follows the key in the names of each one's picture and mask.
    places: (n, 4) int64, offset and size of the picture, offset and size of the mask.
    """

    bytes: int
    keys: tuple[str, ...]
    endings: tuple[tuple[str, str], ...]
    places: np.ndarray

    def image(self, archive: Path, number: int) -> TarMember:
        """The picture of a sample."""
        offset, size, _, _ = self.places[number].tolist()
        return TarMember(archive, f"{self.keys[number]}.{self.endings[number][0]}", offset, size)

    def mask(self, archive: Path, number: int) -> TarMember:
        """The mask of a sample."""
        _, _, offset, size = self.places[number].tolist()
        return TarMember(archive, f"{self.keys[number]}.{self.endings[number][1]}", offset, size)


def index_of(path: Path) -> TarIndex:
    """A shard's index: the one beside it, or that of an earlier run, if it is of a file of this size, or a new one.

    Raises DataError for a file that is no tar archive or is cut off, and for a sample that lacks its picture or mask.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: there is no such shard") from error
    for place in (path.with_name(path.name + INDEX), index_path(path)):
        with suppress(OSError, ValueError, TypeError, KeyError):
            index = parse_index(place.read_text(encoding="utf-8"))
            if index.bytes == size:
                return index
    index = make_index(path)
    with suppress(SaveError):  # without one, the next run makes it again
        write_text(index_path(path), dump_index(index))
    return index


def index_path(path: Path) -> Path:
    """Where a shard's index is kept that does not lie beside it."""
    digest = hashlib.sha256(str(path.absolute()).encode()).hexdigest()
    return cache_folder() / "indexes" / f"{digest[:32]}{INDEX}"


def dump_index(index: TarIndex) -> str:
    """An index as JSON."""
    content = {
        "bytes": index.bytes,
        "keys": index.keys,
        "endings": index.endings,
        "places": index.places.tolist(),
    }
    return json.dumps(content) + "\n"


def parse_index(text: str) -> TarIndex:
    """The inverse of `dump_index`. Raises ValueError, TypeError or KeyError for anything else."""
    content = json.loads(text)
    endings = tuple((sys.intern(image), sys.intern(mask)) for image, mask in content["endings"])
    keys, places = tuple(content["keys"]), np.array(content["places"], dtype=np.int64)
    if not len(keys) == len(endings) == len(places) or places.shape[1:] != (4,):
        raise ValueError("not an index")
    return TarIndex(int(content["bytes"]), keys, endings, places)


def make_index(path: Path) -> TarIndex:
    """Read the headers of a shard from first to last."""
    found: dict[str, dict[str, tarfile.TarInfo]] = {}
    try:
        with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                folder, _, base = member.name.rpartition("/")
                if not member.isreg() or base.startswith("."):
                    continue
                stem, _, ending = base.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if ending.lower() in found.setdefault(key.removeprefix("./"), {}):
                    raise DataError(f"{path}: holds {member.name} twice; pack it again with keys that are unique")
                found[key.removeprefix("./")][ending.lower()] = member
            _check_end(path, stream, archive.offset)
    except tarfile.ReadError as error:
        if _starts_like_gzip(path):
            raise DataError(
                f"{path}: is compressed; unpack it to a plain .tar, pictures are compressed anyway"
            ) from error
        reason = "it is cut off" if "unexpected end" in str(error) else str(error)
        raise DataError(f"{path}: is not a whole tar archive ({reason}); fetch or pack it again") from error
    keys = [key for key, members in found.items() if any(_suffix(ending) in PICTURES for ending in members)]
    if not keys:
        raise DataError(f"{path}: holds no pictures; a shard has KEY.jpg and KEY.png for each")
    endings = [_endings(path, key, found[key]) for key in keys]
    places = [
        [number for ending in pair for number in (found[key][ending].offset_data, found[key][ending].size)]
        for key, pair in zip(keys, endings, strict=True)
    ]
    return TarIndex(path.stat().st_size, tuple(keys), tuple(endings), np.array(places, dtype=np.int64))


def _check_end(path: Path, stream: IO[bytes], end: int) -> None:
    """Raise DataError unless the archive ends where its last member does: with a block of zeros, and more of them."""
    stream.seek(end)
    block = stream.read(BLOCK)
    if len(block) < BLOCK:
        raise DataError(f"{path}: is cut off after {end} bytes (its end is not marked); fetch or pack it again")
    if block.strip(b"\0"):
        raise DataError(f"{path}: is damaged at byte {end}; fetch or pack it again")
    if stream.read(1 << 16).strip(b"\0"):
        raise DataError(f"{path}: goes on after its end at byte {end}, as archives joined by `cat` do; pack it again")


def _starts_like_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _suffix(ending: str) -> str:
    return ending.rpartition(".")[2]


def _endings(path: Path, key: str, members: Collection[str]) -> tuple[str, str]:
    """Which of a key's members is the picture and which the mask, by their endings; all that is neither is left out.

    A mask is called so (`key.mask.png`, `key.seg.png`), or else it is the lossless one beside a JPEG or WebP.
    """
    pictures = [ending for ending in members if _suffix(ending) in PICTURES]
    masks = [ending for ending in pictures if any(word in MASK_WORDS for word in ending.split(".")[:-1])]
    if not masks and len(pictures) == 2:
        masks = [ending for ending in pictures if _suffix(ending) in LOSSLESS]
    others = [ending for ending in pictures if ending not in masks]
    listed = ", ".join(f"{key}.{ending}" for ending in pictures)
    if len(masks) == 1 and len(others) == 1:
        return sys.intern(others[0]), sys.intern(masks[0])
    if len(pictures) == 1:
        lacks = "picture" if masks else "mask"
        raise DataError(f"{path}: {listed} has no {lacks}; a shard has KEY.jpg and KEY.png for each sample")
    raise DataError(f"{path}: {listed}: which is the mask? Call it {key}.mask.png, and have one picture beside it")
