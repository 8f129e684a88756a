"""Where files lie: in a folder, or in a zip archive that is read as it is, without unpacking.

A `Place` is a `pathlib.Path` or a `ZipPlace`, which has the part of its face that reading needs. `place` makes one of
what a user types; `photos.zip/train` names a folder inside of an archive.
"""

from __future__ import annotations

import fnmatch
import io
import os
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from segue.errors import DataError


def place(path: str | Path) -> Place:
    """A path as it is, or, where it leads to a .zip file or into one, that archive's root or member.

    `~` is expanded. What is not there is a `Path` that does not exist. Raises DataError for a broken archive.
    """
    whole = Path(path).expanduser()
    for outer in (whole, *whole.parents):
        if outer.suffix.lower() == ".zip" and outer.is_file():
            _index(outer)
            inside = whole.relative_to(outer).as_posix()
            return ZipPlace(outer, "" if inside == "." else inside)
    return whole


@dataclass(frozen=True, order=True)
class ZipPlace:
    """A file or folder inside of a zip archive, read-only; `inside` is "" for the archive's root.

    It may be pickled, read by several threads at once, and used on both sides of a fork: every process opens the
    archive for itself.
    """

    archive: Path
    inside: str = ""

    def __str__(self) -> str:
        return (self.archive / self.inside).as_posix() if self.inside else str(self.archive)

    def __truediv__(self, name: str | PurePosixPath) -> ZipPlace:
        inside = (PurePosixPath(self.inside) / name).as_posix()
        return ZipPlace(self.archive, "" if inside == "." else inside)

    @property
    def _path(self) -> PurePosixPath:
        return PurePosixPath(self.inside or self.archive.name)

    @property
    def name(self) -> str:
        """The last part; the archive's own name at its root."""
        return self._path.name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self._path.stem

    @property
    def suffix(self) -> str:
        """The name's last suffix, with its dot."""
        return self._path.suffix

    @property
    def parent(self) -> ZipPlace:
        """The folder around it; the root is its own."""
        return ZipPlace(self.archive, _folder_of(self.inside))

    def with_name(self, name: str) -> ZipPlace:
        """Another name in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> ZipPlace:
        """The same name with another suffix."""
        return self.with_name(self._path.with_suffix(suffix).name)

    def relative_to(self, other: Place) -> PurePosixPath:
        """The way from a folder of the same archive to here. Raises ValueError when there is none."""
        if not isinstance(other, ZipPlace) or other.archive != self.archive:
            raise ValueError(f"{self} is not in {other}")
        return PurePosixPath(self.inside or ".").relative_to(other.inside or ".")

    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        return self.is_dir() or self.is_file()

    def is_file(self) -> bool:
        """Whether there is such a file."""
        return self.inside in _index(self.archive).files

    def is_dir(self) -> bool:
        """Whether there is such a folder; one without a record of its own counts when files lie in it."""
        return self.inside in _index(self.archive).children

    def iterdir(self) -> Iterator[ZipPlace]:
        """What lies in this folder, by name."""
        children = _index(self.archive).children
        if self.inside not in children:
            raise NotADirectoryError(f"{self}: there is no such folder in the archive")
        return (self / name for name in children[self.inside])

    def rglob(self, pattern: str) -> Iterator[ZipPlace]:
        """Everything below this folder whose name (or last names, with `/`) matches a shell pattern."""
        return self.glob(f"**/{pattern}")

    def glob(self, pattern: str) -> Iterator[ZipPlace]:
        """What matches a shell pattern from here; `**` stands for any folders or none."""
        first, _, rest = pattern.partition("/")
        if first == "**":
            yield from self.glob(rest)
            for child in self._children():
                if child.is_dir():
                    yield from child.glob(pattern)
            return
        for child in self._children():
            if fnmatch.fnmatchcase(child.name, first):
                if rest:
                    yield from child.glob(rest)
                else:
                    yield child

    def _children(self) -> list[ZipPlace]:
        return list(self.iterdir()) if self.is_dir() else []

    def read_bytes(self) -> bytes:
        """The file, unpacked. Raises FileNotFoundError, or DataError when the archive is damaged there."""
        member = _index(self.archive).files.get(self.inside)
        if member is None:
            raise FileNotFoundError(f"{self}: there is no such file in the archive")
        try:
            return _opened(self.archive).read(member)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise DataError(f"{self}: is damaged in the archive ({error}); pack the archive again") from error
        except (RuntimeError, NotImplementedError) as error:  # a password, or a method of packing unknown to Python
            raise DataError(f"{self}: cannot be unpacked ({error}); pack the archive without it") from error

    def read_text(self, encoding: str = "utf-8") -> str:
        """The file as text."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "rb") -> io.BytesIO:
        """The file as a stream of bytes in memory; `mode` is rb, and nothing else."""
        if mode != "rb":
            raise ValueError(f"{self}: files in an archive are opened as rb, not {mode}")
        return io.BytesIO(self.read_bytes())


Place = Path | ZipPlace


def only_folder(root: Place) -> list[Place]:
    """The one folder that a folder or an archive holds, where it holds nothing else; [] otherwise."""
    inside: list[Place] = [one for one in root.iterdir() if not is_aside(one.name)] if root.is_dir() else []
    return inside if len(inside) == 1 and inside[0].is_dir() else []


THUMBNAILS = ("__MACOSX", "@eaDir")
"""Folders of programs that keep pictures of pictures in them: those of macOS and of Synology's disks."""


def is_aside(name: str) -> bool:
    """Whether a file or folder of this name is no part of the data: hidden, or kept there by some program."""
    return name.startswith(".") or name in THUMBNAILS


def files_below(folder: Place) -> list[tuple[str, Place]]:
    """Every file below a folder with its way from there (`train/a.png`), sorted by it; those that are aside left out.

    Links to folders are followed.
    """
    return [(way, folder / way) for way in sorted(_ways_below(folder))]


def any_below(folder: Place, suffixes: tuple[str, ...]) -> bool:
    """Whether a file below a folder has one of these suffixes, given in small letters."""
    return any(way.lower().endswith(suffixes) for way in _ways_below(folder))


def _ways_below(folder: Place) -> Iterator[str]:
    if isinstance(folder, ZipPlace):
        start = f"{folder.inside}/" if folder.inside else ""
        for inside in _index(folder.archive).files:
            way = inside.removeprefix(start)
            if inside.startswith(start) and not any(map(is_aside, way.split("/"))):
                yield way
        return
    seen = {os.path.realpath(folder)}  # a link may lead back to a folder around it
    for at, folders, names in os.walk(folder, followlinks=True):
        where = {name: os.path.realpath(Path(at, name)) for name in folders if not is_aside(name)}
        folders[:] = [name for name, real in where.items() if real not in seen]
        seen.update(where.values())
        from_here = Path(at).relative_to(folder)
        yield from ((from_here / name).as_posix() for name in names if not is_aside(name))


@dataclass(frozen=True)
class _Index:
    """An archive's members by name, and the names in each of its folders."""

    files: dict[str, str]
    children: dict[str, tuple[str, ...]]


def _folder_of(inside: str) -> str:
    return inside.rpartition("/")[0]


@lru_cache(maxsize=64)
def _index(archive: Path) -> _Index:
    files: dict[str, str] = {}
    folders: dict[str, set[str]] = {"": set()}
    for member in _opened(archive).namelist():
        plain = member.replace("\\", "/")  # as some programs for Windows write them
        inside = plain.strip("/")
        if not inside or plain.startswith("/") or ".." in inside.split("/") or inside.startswith("__MACOSX/"):
            continue
        if plain.endswith("/"):
            folders.setdefault(inside, set())
        else:
            files[inside] = member
        while inside:
            folder = _folder_of(inside)
            folders.setdefault(folder, set()).add(inside.rpartition("/")[2])
            inside = folder
    return _Index(files, {name: tuple(sorted(names)) for name, names in folders.items()})


_archives: dict[Path, zipfile.ZipFile] = {}
_lock = threading.Lock()


def _opened(archive: Path) -> zipfile.ZipFile:
    """The archive, opened once in this process; a ZipFile lets several threads read at once."""
    with _lock:
        if archive not in _archives:
            try:
                _archives[archive] = zipfile.ZipFile(archive)
            except FileNotFoundError as error:
                raise DataError(f"{archive}: there is no such archive") from error
            except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
                raise DataError(f"{archive}: is not a whole zip archive ({error}); fetch or pack it again") from error
        return _archives[archive]


def _forget_archives() -> None:
    """A forked process shares the position in its parent's open files: it must open its own."""
    global _archives, _lock
    _archives, _lock = {}, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_archives)
