"""Writing files so that a kill, at any moment, leaves the old one or the new one and never half of one."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from segue.errors import DataError, SaveError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, sync it, and rename it to `path`.

    Raises SaveError when the disk is full or the folder cannot be written; the temporary file is removed then.
    """
    with replacing(path) as temporary:
        try:
            write(temporary)
        except (RuntimeError, SafetensorError) as error:  # as torch and safetensors report what the disk says
            raise OSError(str(error)) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` to be filled; synced and renamed to `path` when the block ends well.

    Raises SaveError when the block raises an OSError. Whatever ends the block, no temporary file stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        if os.name == "posix":  # the new name itself is on disk only when its folder is
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        reason = _reason(error, path.parent)
        raise SaveError(f"{path}: could not be written ({reason}); what was there before is intact") from error
    finally:
        with suppress(OSError):  # a folder that is none: the error above says so
            temporary.unlink(missing_ok=True)


def make_folder(folder: Path, *, new: bool = False) -> None:
    """Make a folder and those above it, where they are not there yet. Raises SaveError when it cannot be made.

    new: raise FileExistsError when it is there already.
    """
    try:
        folder.mkdir(parents=True, exist_ok=not new)
    except OSError as error:
        if new and isinstance(error, FileExistsError):
            raise
        raise SaveError(f"{folder}: this folder cannot be made ({_reason(error, folder)})") from error


def _reason(error: OSError, folder: Path) -> str:
    """What hinders from writing to a folder, and the mend where it is known."""
    # What is written by other libraries than Python's own often says how many bytes are missing, and not why.
    said = os.strerror(errno.ENOSPC) in str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or said or (error.errno is None and _is_full(folder)):
        return "the disk is full: make room"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "a file is where a folder should be: name another"
    first = str(error.strerror or error).strip().splitlines()
    return first[0] if first else type(error).__name__


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < FULL
    except OSError:
        return False


FULL = 65536
"""A disk with fewer free bytes is full, whatever could not be written."""


def cache_folder() -> Path:
    """Where segue keeps what can be made again: $SEGUE_CACHE, or segue/ in the user's folder for such things."""
    if os.environ.get("SEGUE_CACHE"):
        return Path(os.environ["SEGUE_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segue"


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write a JSON file atomically; null for numbers that are none or infinite, which JSON cannot say."""
    write_text(path, json.dumps(_sayable(value), indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path, mend: str) -> dict[str, Any]:
    """The object that a JSON file holds. Raises DataError, which says the mend, for a file that holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); {mend}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: is not a JSON object; {mend}")
    return content


def _sayable(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _sayable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
