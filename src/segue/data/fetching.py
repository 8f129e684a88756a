"""Fetching a file over HTTP: what broke goes on where it broke, and nothing is trusted before its hash is right."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from segue.data.declaration import Archive
from segue.errors import SegueError
from segue.files import write_json
from segue.progress import bar, duration, in_bytes

Show = Callable[[str], None]
"""Shows one changing line of text."""

CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte, after which a connection counts as broken
ATTEMPTS = 5  # in a row that bring nothing new, after which an address is given up
ROOM_LEFT = 256 << 20  # bytes that stay free on the disk
PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP says: try again later


class FetchError(SegueError):
    """A file could not be fetched; what was fetched of it stays, for another try."""


@dataclass(frozen=True)
class Fetched:
    """A whole file, as it was fetched.

    checked: whether its hash was known and is right; recorded only, otherwise.
    """

    path: Path
    url: str
    size: int
    sha256: str
    checked: bool


@dataclass(frozen=True)
class _Version:
    """Which version of which file a part is of; `validator` is the server's ETag or date, "" where it has none."""

    url: str
    validator: str
    total: int


def fetch(archive: Archive, folder: Path, show: Show, pause: Callable[[float], object] = time.sleep) -> Fetched:
    """Fetch a file into a folder, from the first address that has it whole and right.

    What an earlier try left behind (`NAME.part`) is gone on with. Raises FetchError, with each address's own trouble.
    """
    folder.mkdir(parents=True, exist_ok=True)
    troubles = []
    for url in archive.urls:
        try:
            part = _Part(archive, url, folder, show, pause)
            return part.fetched()
        except FetchError as error:
            troubles.append(str(error))
    raise FetchError("; ".join(troubles))


def check_file(archive: Archive, path: Path, url: str, show: Show) -> Fetched:
    """A file that is there already. Raises FetchError when its hash is not the known one."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    size = path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(8 * CHUNK):
            sha256.update(block)
            if archive.md5 and not archive.sha256:
                md5.update(block)
            show(f"{archive.name}: checking, {file.tell() / max(size, 1):.0%}")
    for kind, known, found in (("sha256", archive.sha256, sha256), ("md5", archive.md5, md5)):
        if known:
            if found.hexdigest() != known:
                raise FetchError(f"{url}: is not {archive.name}: its {kind} is {found.hexdigest()}, not {known}")
            break
    return Fetched(path, url, size, sha256.hexdigest(), checked=bool(archive.sha256 or archive.md5))


class _Part:
    """A file on its way from one address, as far as it has come: NAME.part, and NAME.part.json about it."""

    def __init__(self, archive: Archive, url: str, folder: Path, show: Show, pause: Callable[[float], object]) -> None:
        self.archive, self.url, self.show, self.pause = archive, url, show, pause
        self.path = folder / f"{archive.name}.part"
        self.notes = folder / f"{archive.name}.part.json"
        self.whole = folder / archive.name
        self.verifiable = bool(archive.sha256 or archive.md5)
        self.version = self._version()
        self.pieced = False  # whether it was gone on with

    def _version(self) -> _Version | None:
        try:
            return _Version(**json.loads(self.notes.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.exists() else 0

    def fetched(self) -> Fetched:
        """The whole file. One that was put together from pieces and has the wrong hash is fetched anew, once."""
        self._fetch()
        try:
            result = check_file(self.archive, self.path, self.url, self.show)
        except FetchError:
            self._drop()
            if not self.pieced:
                raise
            self._fetch()
            result = check_file(self.archive, self.path, self.url, self.show)
        self.path.replace(self.whole)
        self.notes.unlink(missing_ok=True)
        return replace(result, path=self.whole)

    def _fetch(self) -> None:
        """Try until all is here."""
        furthest, fruitless = self.size, 0
        while True:
            try:
                self._try()
                if self.version is not None and self.size == self.version.total:
                    return
                trouble = (
                    "the connection ends early"
                    if self.version is None
                    else (f"the connection ends after {self.size} of {self.version.total} bytes")
                )
            except (OSError, http.client.HTTPException) as error:
                trouble = _reason(error)
            fruitless = 0 if self.size > furthest else fruitless + 1
            furthest = max(furthest, self.size)
            if fruitless == ATTEMPTS:
                raise FetchError(f"{self.url}: {trouble}, {ATTEMPTS} times in a row")
            self.show(f"{self.archive.name}: {trouble}; trying again")
            self.pause(min(2.0**fruitless, 30.0))

    def _resumable(self) -> bool:
        """Whether the part may be gone on with: if its hash will tell, or if the server can tell its version."""
        if not self.size or self.version is None:
            return False
        return self.verifiable or (self.version.url == self.url and bool(self.version.validator))

    def _try(self) -> None:
        """One connection: what it brings is added to the part, or replaces it."""
        headers = {"User-Agent": "segue", "Accept-Encoding": "identity"}
        start = self.size if self._resumable() else 0
        if start:
            headers["Range"] = f"bytes={start}-"
            if self.version and self.version.url == self.url and self.version.validator:
                headers["If-Range"] = self.version.validator
        try:
            with _opener().open(urllib.request.Request(self.url, headers=headers), timeout=TIMEOUT) as response:
                if response.status != 206:
                    self._receive(response, 0)
                elif self._continues(response, start):
                    self.pieced = True
                    self._receive(response, start)
                else:
                    self._drop()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and start:  # nothing comes after what is here: it is whole, or of another version
                if self.version is None or start != self.version.total:
                    self._drop()
                self.pieced = True
            elif error.code in PASSING:
                raise
            else:
                raise FetchError(f"{self.url}: the server says {error.code} {error.reason}") from error

    def _continues(self, response: Any, start: int) -> bool:
        """Whether a partial answer goes on exactly where the part ends, in the same version of the file."""
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if not match or self.version is None or (int(match[1]), int(match[2])) != (start, self.version.total):
            return False
        return self.version.url != self.url or _validator(response) in ("", self.version.validator)

    def _receive(self, response: Any, start: int) -> None:
        """Write what comes to the part, from `start` on."""
        if start == 0:
            self._begin(response)
        assert self.version is not None
        total, name = self.version.total, self.archive.name
        room = shutil.disk_usage(self.path.parent).free - ROOM_LEFT
        if total - start > room:
            raise FetchError(f"{self.path.parent}: too little room for {name}: {in_bytes(total - start)} are to come")
        began, size = time.monotonic(), start
        with self.path.open("ab" if start else "wb") as file:
            while block := response.read(min(CHUNK, total - size) if total else CHUNK):
                size += len(block)
                if size - start > room or size > (self.archive.size or size):
                    raise FetchError(f"{self.url}: sends more than {name} has, or than there is room for: {size} bytes")
                _write(file, block, self.path)
                speed = (size - start) / max(time.monotonic() - began, 1e-3)
                self.show(_progress(name, size, total, speed))
        if not total:  # a server that does not say how much there is; http.client tells of a broken end
            self.version = _Version(self.version.url, self.version.validator, size)

    def _begin(self, response: Any) -> None:
        """Begin anew, and note which version comes. Raises FetchError for one that cannot be the right one."""
        total = int(response.headers.get("Content-Length") or 0)
        if self.archive.size and total and total != self.archive.size:
            raise FetchError(
                f"{self.url}: has {total} bytes, where {self.archive.name} has {self.archive.size}: not the same file"
            )
        self.version = _Version(self.url, _validator(response), total)
        self.path.unlink(missing_ok=True)
        write_json(self.notes, asdict(self.version))

    def _drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)
        self.version = None


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS alone: no redirection leads to a file of this machine."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _write(file: IO[bytes], block: bytes, path: Path) -> None:
    try:
        file.write(block)
    except OSError as error:
        reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        raise FetchError(f"{path}: could not be written ({reason})") from error


def _validator(response: Any) -> str:
    """What tells a file's versions apart: a strong ETag, or a date."""
    etag: str = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _progress(name: str, size: int, total: int, speed: float) -> str:
    if not total:
        return f"{name}: {in_bytes(size)}, {in_bytes(speed)}/s"
    left = (total - size) / max(speed, 1.0)
    return (
        f"{name}: {bar(size, total)} {in_bytes(size)} of {in_bytes(total)}, {in_bytes(speed)}/s, {duration(left)} left"
    )
