"""Data sets from where their publishers have them, into a folder that holds all of a data set or nothing of it.

Archives are fetched, checked and unpacked in ROOT/.segue-download, where a stopped download is gone on with. When all
of them are there, their folders are moved to their places in one stroke each.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from segue.data.declaration import Archive, Declaration
from segue.data.fetching import Fetched, check_file, fetch
from segue.data.layouts import Root
from segue.data.unpacking import UnusableArchive, unpack
from segue.errors import DataError
from segue.files import make_folder, write_json
from segue.progress import ProgressLine

WORK = ".segue-download"
RECORD = "segue-downloads.json"
"""What was fetched from where, with its hash, beside the data."""


def download(declaration: Declaration, root: Path, line: ProgressLine) -> None:
    """Fetch a data set to a folder.

    What is in its place already is left as it is. Archives that were fetched by hand and lie in the folder are checked
    and unpacked, and stay. Raises DataError or FetchError; the folder then holds nothing new but what a next try goes
    on with.
    """
    wanted = [archive for archive in declaration.archives if not (root / archive.place).exists()]
    for archive in declaration.archives:
        if archive not in wanted:
            line.say(f"{root / archive.place} is there already")
    unreachable = [archive for archive in wanted if not archive.urls]
    _ask_for(declaration, [one for one in unreachable if not (_by_hand(root, one) or _ready(root, one).exists())], root)
    if not wanted:
        return
    make_folder(root / WORK)
    try:
        with FileLock(root / WORK / "lock", timeout=0):
            for archive in wanted:
                if not _ready(root, archive).exists():
                    _prepare(archive, root, line)
            for archive in wanted:
                target = root / archive.place
                target.parent.mkdir(parents=True, exist_ok=True)
                _ready(root, archive).rename(target)
            write_json(root / RECORD, _read(root / RECORD) | _read(root / WORK / RECORD))
    except Timeout as error:
        raise DataError(f"{root}: another download to this folder is under way") from error
    shutil.rmtree(root / WORK)


def splits_there(declaration: Declaration, root: Path) -> Iterator[str]:
    """Which splits a folder holds, and how many pictures. Raises DataError when there is none."""
    troubles = []
    for name, split in declaration.splits.items():
        try:
            count = len(declaration.open(root, name))
        except DataError as error:
            troubles.append(error)
        else:
            yield f"{name}: {count} pictures" + (
                "" if count == split.pictures else f", where {split.pictures} are known"
            )
    if len(troubles) == len(declaration.splits):
        raise troubles[0]


def _ask_for(declaration: Declaration, missing: list[Archive], root: Path) -> None:
    """Raise DataError that says what a person must fetch, where there is something."""
    if missing:
        raise DataError(
            f"{declaration.name}: its publishers ask you to register at {declaration.registration}; put "
            f"{' and '.join(archive.name for archive in missing)} into {root} and run this again, which checks and "
            "unpacks them"
        )
    if not declaration.archives:
        first = next(iter(declaration.splits.values())).layouts[0].missing(Root(root))
        if first:
            raise DataError(
                f"{declaration.name}: its publishers ask you to register at {declaration.registration}; "
                f"{root} must then hold {', '.join(first)}"
            )


def _by_hand(root: Path, archive: Archive) -> Path | None:
    """The archive as somebody fetched it; a file that is no archive is in its place then."""
    path = root / archive.name
    return path if archive.holds and path.is_file() else None


def _ready(root: Path, archive: Archive) -> Path:
    """Where the folder or file waits until all others are there."""
    return root / WORK / "ready" / archive.place


def _prepare(archive: Archive, root: Path, line: ProgressLine) -> None:
    """Fetch, check and unpack one archive."""
    work, ready = root / WORK, _ready(root, archive)
    given = _by_hand(root, archive)
    whole = given or work / archive.name
    if whole.exists():
        fetched = check_file(archive, whole, str(whole), line.show)
    else:
        fetched = fetch(archive, work, line.show)
    _record(root, archive, fetched, line)
    ready.parent.mkdir(parents=True, exist_ok=True)
    if not archive.holds:
        whole.rename(ready)
        return
    raw = work / "unpacking"
    shutil.rmtree(raw, ignore_errors=True)  # of a try that was killed
    try:
        unpacked = unpack(whole, raw, line.show)
        folder = _folder_with(raw, archive)
    except UnusableArchive as error:
        if given:
            raise UnusableArchive(f"{error}; fetch it again") from error
        whole.unlink()  # or the next try would find it, and stop here as well
        raise UnusableArchive(f"{error}; it is taken away, and fetched anew when you run this again") from error
    if unpacked.links:
        line.say(f"{archive.name}: left out {unpacked.links} links; a data set needs none")
    folder.rename(ready)
    shutil.rmtree(raw, ignore_errors=True)
    if whole != given:
        whole.unlink()


def _folder_with(raw: Path, archive: Archive) -> Path:
    """The unpacked folder that holds what the archive must, the uppermost one."""
    found = {path.parent for path in raw.rglob(archive.holds) if not path.name.startswith("._")}
    if not found:
        raise UnusableArchive(f"{archive.name}: holds no {archive.holds}, as if its publishers had changed it")
    return min(found, key=lambda folder: (len(folder.parts), folder))


def _record(root: Path, archive: Archive, fetched: Fetched, line: ProgressLine) -> None:
    """Note a file's hash, and say it where nobody knew it before."""
    before = _read(root / RECORD).get(archive.name, {}).get("sha256", fetched.sha256)
    if not fetched.checked:
        change = "" if before == fetched.sha256 else f"; when it was last fetched, this was {before}"
        line.say(f"{archive.name}: no hash of it is known to compare; its sha256 is {fetched.sha256}{change}")
    entry = {
        "url": fetched.url,
        "bytes": fetched.size,
        "sha256": fetched.sha256,
        "checked": fetched.checked,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(root / WORK / RECORD, _read(root / WORK / RECORD) | {archive.name: entry})


def _read(path: Path) -> dict[str, Any]:
    """A record; empty where there is none yet."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
