"""Shards on a web server: fetched whole when their first picture is wanted, kept, and the next ones fetched ahead."""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from filelock import FileLock

from segue.data.declaration import Archive
from segue.data.fetching import ATTEMPTS, PASSING, TIMEOUT, FetchError, fetch
from segue.data.tar import INDEX, TarIndex, index_of, parse_index
from segue.errors import DataError
from segue.files import cache_folder, write_text

Pause = Callable[[float], object]
LONGEST = 4.0  # seconds between two tries: a training step waits


class RemoteShard:
    """A tar archive on a web server.

    It lies in the cache folder once it was wanted, for every process and every later run. One process of a machine
    fetches it while the others wait.
    """

    def __init__(self, url: str, pause: Pause = time.sleep) -> None:
        self.url, self.pause = url, pause
        self.file = PurePosixPath(urlsplit(url).path).name
        self.folder = cache_folder() / "shards" / hashlib.sha256(url.rpartition("/")[0].encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """Its name without address and suffix."""
        return PurePosixPath(urlsplit(self.url).path).stem

    @property
    def stamp(self) -> tuple[str, str]:
        """Its address and its size, which stand for its content."""
        return self.url, str(self.known.bytes)

    @cached_property
    def known(self) -> TarIndex:
        """Its index: the one kept from an earlier run, or the server's, or, without that, one made of the archive."""
        kept = self.folder / (self.file + INDEX)
        with suppress(OSError, ValueError, TypeError, KeyError):
            return parse_index(kept.read_text(encoding="utf-8"))
        if (self.folder / self.file).is_file():
            return index_of(self.folder / self.file)
        text = read_small(self.url + INDEX, self.pause)
        if text is None:
            return index_of(self._fetched(None))
        try:
            index = parse_index(text)
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{self.url}{INDEX}: is no index; make it again with `segue data shard`") from error
        write_text(kept, text)
        return index

    def index(self) -> TarIndex:
        """Where its samples are."""
        return self.known

    @cached_property
    def whole(self) -> Path:
        """The archive on this machine."""
        return self._fetched(self.known.bytes)

    def path(self, coming: Sequence[RemoteShard]) -> Path:
        """The archive on this machine, fetched if need be; and the coming ones after it, in the background."""
        path = self.whole
        _ahead.want([shard for shard in coming if "whole" not in vars(shard)])
        return path

    def _fetched(self, size: int | None) -> Path:
        path = self.folder / self.file
        if _has_size(path, size):
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):  # let go of by the system, should this process be killed
            if not _has_size(path, size):
                self._fetch()
        if not _has_size(path, size):
            path.unlink(missing_ok=True)
            raise DataError(f"{self.url}: is not of the {size} bytes that its index says; make the index again")
        return path

    def _fetch(self) -> None:
        archive = Archive(self.file, "", urls=(self.url,))
        try:
            fetch(archive, self.folder, lambda text: None, lambda seconds: self.pause(min(seconds, LONGEST)))
        except FetchError as error:
            raise DataError(f"{error}; what there is of it is kept, and gone on with next time") from error


def _has_size(path: Path, size: int | None) -> bool:
    """Whether a file is there, and of this size where one is known."""
    try:
        return size in (None, path.stat().st_size)
    except OSError:
        return False


class _Ahead:
    """A thread of this process that fetches what will be wanted soon; trouble is left to whoever wants it then."""

    def __init__(self) -> None:
        self._new()

    def _new(self) -> None:
        self.process, self.lock = os.getpid(), threading.Lock()
        self.wanted: list[RemoteShard] = []
        self.running = False

    def want(self, shards: list[RemoteShard]) -> None:
        """Fetch these next, in this order, instead of what was wanted before."""
        if self.process != os.getpid():  # a fork takes no threads along
            self._new()
        with self.lock:
            self.wanted = shards
            if not shards or self.running:
                return
            self.running = True
        threading.Thread(target=self._work, daemon=True, name="fetching shards").start()

    def _work(self) -> None:
        while True:
            with self.lock:
                if not self.wanted:
                    self.running = False
                    return
                shard = self.wanted.pop(0)
            with suppress(Exception):
                _ = shard.whole


_ahead = _Ahead()


def read_small(url: str, pause: Pause = time.sleep) -> str | None:
    """A small text; None where the server has none. Raises DataError when it cannot be reached."""
    request = urllib.request.Request(url, headers={"User-Agent": "segue"})
    trouble = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(min(2.0 ** (attempt - 2), LONGEST))
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                content: bytes = response.read()
                return content.decode()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in PASSING:
                return None
            trouble = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            trouble = str(getattr(error, "reason", error)) or type(error).__name__
    raise DataError(f"{url}: cannot be reached ({trouble}), {ATTEMPTS} times in a row; is the address right?")
