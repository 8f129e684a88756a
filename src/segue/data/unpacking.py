"""Unpacking archives of strangers: nothing leaves the folder, nothing is linked, and nothing grows without bounds."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from segue.data.fetching import CHUNK, ROOM_LEFT, Show, in_bytes
from segue.errors import DataError

MOST_MEMBERS = 2_000_000  # the largest data set, COCO-Stuff 164k, has 250 thousand files
MOST_GROWTH = 100  # times an archive's size: masks shrink to a tenth or so, and what is made to fill a disk to 1/1000
SMALL = 64 << 20  # bytes that any archive may unpack to


class UnusableArchive(DataError):
    """An archive that is damaged, or made to do harm: it must be fetched anew, or not at all."""


@dataclass(frozen=True)
class Unpacked:
    """files, size: how many files were unpacked, and their bytes. links: members that were left out, as links are."""

    files: int
    size: int
    links: int


def unpack(archive: Path, folder: Path, show: Show) -> Unpacked:
    """Unpack a zip archive, or a tar archive however compressed, into a new folder.

    Raises UnusableArchive for an archive that is damaged, that has a member outside of the folder, or that grows beyond
    measure, and DataError when there is no room; what was unpacked until then is taken away.
    """
    folder.mkdir(parents=True)
    try:
        with _readable(archive), _opened(archive) as members:
            return _write(archive, members, folder, show)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@dataclass(frozen=True)
class _Member:
    """What an archive holds under a name; `open` is None for folders, and for what is neither file nor folder."""

    name: str
    folder: bool
    open: Callable[[], IO[bytes] | None] | None


def _write(archive: Path, members: Iterator[_Member], folder: Path, show: Show) -> Unpacked:
    most = max(SMALL, MOST_GROWTH * archive.stat().st_size)
    room = shutil.disk_usage(folder).free - ROOM_LEFT
    files = size = links = 0
    for count, member in enumerate(members, 1):
        target = folder / safe_way(member.name, archive)
        if count > MOST_MEMBERS:
            raise UnusableArchive(f"{archive}: holds more than {MOST_MEMBERS} members, as no data set does")
        if member.folder:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        content = member.open() if member.open else None
        if content is None:
            links += 1
        else:
            files += 1
            with content as source, target.open("wb") as file:
                while block := source.read(CHUNK):
                    size += len(block)  # as it comes: what an archive says of its sizes may be a lie
                    if size > most:
                        raise UnusableArchive(
                            f"{archive}: unpacks to more than {in_bytes(most)}, as no data set of its size does"
                        )
                    if size > room:
                        raise DataError(
                            f"{archive}: there is too little room to unpack it, {in_bytes(room)}; make some"
                        )
                    file.write(block)
            show(f"{archive.name}: unpacking, {files} files")
    return Unpacked(files, size, links)


def safe_way(name: str, archive: Path) -> PurePosixPath:
    """A member's name as a way below a folder. Raises UnusableArchive when it leads elsewhere."""
    way = PurePosixPath(name.replace("\\", "/"))
    if way.is_absolute() or ".." in way.parts or ":" in name.partition("/")[0] or "\0" in name:
        raise UnusableArchive(f"{archive}: holds {name!r}, which leads out of the folder it is unpacked to")
    return way


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[_Member]]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as file:
            yield _zip_members(file)
    else:
        with tarfile.open(archive) as file:
            yield _tar_members(file)


def _zip_members(file: zipfile.ZipFile) -> Iterator[_Member]:
    for info in file.infolist():
        kind = info.external_attr >> 28  # of Unix: 0 where none is said, 8 a file, 4 a folder
        plain = not info.is_dir() and kind in (0, 8)
        yield _Member(info.filename, info.is_dir(), partial(file.open, info) if plain else None)


def _tar_members(file: tarfile.TarFile) -> Iterator[_Member]:
    for info in file:
        yield _Member(info.name, info.isdir(), partial(file.extractfile, info) if info.isreg() else None)


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Turns what the libraries raise for a damaged archive into an UnusableArchive, and a disk's trouble into a
    DataError."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = " ".join(
            str(error).split("\n- ")[0].rstrip(":").split()
        )  # tarfile tells what it took it for, in lines
        raise UnusableArchive(f"{archive}: is not a whole archive ({reason})") from error
    except (NotImplementedError, RuntimeError) as error:  # a method of packing unknown to Python, or a password
        raise UnusableArchive(f"{archive}: cannot be unpacked ({error})") from error
    except OSError as error:
        raise DataError(f"{archive}: could not be unpacked ({error})") from error
