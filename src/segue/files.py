"""Writing files so that a kill, at any moment, leaves the old one or the new one and never half of one."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from segue.errors import SaveError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, sync it, and rename it to `path`.

    Raises SaveError when the disk is full or the folder cannot be written; the temporary file is removed then.
    """
    with replacing(path) as temporary:
        try:
            write(temporary)
        except RuntimeError as error:  # torch.save reports a full disk as one
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
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full: make room"
        else:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SaveError(f"{path}: could not be written ({reason}); what was there before is intact") from error
    finally:
        with suppress(OSError):  # a folder that is none: the error above says so
            temporary.unlink(missing_ok=True)


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


def _sayable(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _sayable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
