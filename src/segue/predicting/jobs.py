"""What is asked for: files, folders and patterns, and the place of each result below the output folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segue.errors import DataError
from segue.rasters import GDAL_SUFFIXES
from segue.reading import IMAGE_SUFFIXES

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
READ = (*IMAGE_SUFFIXES, *GDAL_SUFFIXES, *VIDEO_SUFFIXES)


@dataclass(frozen=True)
class Job:
    """One file to predict.

    place: where its results go, below the output folder and without a suffix.
    """

    path: Path
    place: str

    @property
    def is_video(self) -> bool:
        """Whether it holds frames, each of which is predicted."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def find_jobs(inputs: Sequence[str], out: Path) -> list[Job]:
    """Files, folders and patterns with a star -> what is to be predicted, numbered frames in their order.

    A folder's files keep their place in it; what lies in the output folder is left out. Raises DataError for an input
    that names nothing, for two files that would be written to one place, and for results that would replace an input.
    """
    found: list[Job] = []
    for given in inputs:
        path = Path(given).expanduser()
        if path.is_dir():
            found += _inside(path, out)
        elif path.suffix.lower() == ".zip" and path.is_file():
            raise DataError(
                f"{path}: an archive is read for training, not for prediction; unpack it, and name its folder"
            )
        elif path.is_file():
            found.append(Job(path, path.stem))
        else:
            found += [Job(one, one.stem) for one in _matches(given, path)]
    for job in found:
        str(job.path).encode()  # raises UnicodeEncodeError for a name that no manifest could hold
    jobs: dict[str, Job] = {}
    for job in found:
        other = jobs.get(job.place, job)
        if other.path != job.path:
            raise DataError(f"{job.path} and {other.path}: both would be written to {job.place}; predict them apart")
        jobs[job.place] = job
    for job in jobs.values():
        if any(_same(Path(f"{out / job.place}{suffix}"), job.path) for suffix in (".png", ".tif")):
            raise DataError(f"{job.path}: would be replaced by its own mask; choose another folder with --out")
    return list(jobs.values())


def _inside(folder: Path, out: Path) -> list[Job]:
    own = out.resolve()
    inside = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in READ
        and path.is_file()
        and not path.name.startswith(".")
        and (own == folder.resolve() or not path.resolve().is_relative_to(own))
    ]
    if not inside:
        raise DataError(f"{folder}: holds no pictures ({', '.join(IMAGE_SUFFIXES)}) and no videos")
    places = sorted(((path, path.relative_to(folder).with_suffix("").as_posix()) for path in inside), key=_by_number)
    return [Job(path, place) for path, place in places]


def _matches(given: str, path: Path) -> list[Path]:
    parent = Path(path.anchor) if path.is_absolute() else Path()
    found = [p for p in parent.glob(str(path.relative_to(parent))) if p.is_file()] if "*" in given else []
    if not found:
        raise DataError(f"{given}: there is no such picture, video, folder or pattern of them")
    return sorted(found, key=lambda one: _numbers(one.as_posix()))


def _by_number(found: tuple[Path, str]) -> list[tuple[int, str]]:
    return _numbers(found[1])


def _numbers(text: str) -> list[tuple[int, str]]:
    """A key by which frame9 comes before frame10."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", text)]


def _same(one: Path, other: Path) -> bool:
    return one.exists() and one.samefile(other)
