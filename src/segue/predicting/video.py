"""Videos: a mask for each frame, and the video again with the classes' colours over it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image

from segue.errors import DataError
from segue.files import replacing
from segue.pictures import overlay
from segue.predicting.jobs import Job
from segue.predicting.manifest import Outcome
from segue.predicting.outputs import MASK, Wanted, write_picture
from segue.predicting.tools import TOO_LARGE, Tools

if TYPE_CHECKING:
    import av

THREADS = 4  # that write frames
QUALITY = "20"  # x264's constant rate factor: from 17, which looks like the original, to 28
FALLBACK_RATE = 25


@dataclass(frozen=True)
class Frame:
    """A frame (H, W, 3) uint8, upright, with its number and its time in units of its own."""

    pixels: np.ndarray
    number: int
    time: int | None
    unit: Any


def predict_video(job: Job, tools: Tools) -> Outcome:
    """Predict every frame to OUT/NAME/000000.png and so on, and write OUT/overlays/NAME.mp4.

    Frames that are written already are not predicted again where the order says so; a video whose overlay is there is
    done.
    """
    start = time.perf_counter()
    shown = tools.wanted.out / "overlays" / f"{job.place}.mp4"
    frames = replace(tools.wanted, overlays=False)
    if tools.order.go_on and tools.wanted.overlays and shown.is_file():
        return Outcome(str(job.path), (str(shown),), note=f"{job.path}: was done")
    try:
        number = _predict(job, tools, frames, shown if tools.wanted.overlays else None)
    except DataError as error:
        return Outcome(str(job.path), error=str(error))
    except torch.OutOfMemoryError:
        return Outcome(str(job.path), error=f"{job.path}: {TOO_LARGE}")
    except ValueError as error:  # such as a network that takes no frames so small
        return Outcome(str(job.path), error=f"{job.path}: {error}")
    outputs = [str(path.parent) for path in frames.paths(f"{job.place}/0").values()]
    if tools.wanted.overlays:
        outputs.append(str(shown))
    return Outcome(str(job.path), tuple(outputs), time.perf_counter() - start, frames=number)


def _predict(job: Job, tools: Tools, wanted: Wanted, shown: Path | None) -> int:
    """Predict and write all frames; returns how many there are."""
    tools.model.check(np.empty((1, 1, 3), np.uint8), job.path)
    done = 0
    with ExitStack() as open_files, ThreadPoolExecutor(THREADS) as writers:
        painted = None
        if shown is not None:
            painted = _Painted(open_files.enter_context(replacing(shown)), tools)
            open_files.callback(painted.container.close)
        for group, expected in _groups(job.path, tools.order.batch):
            classes = _classes(group, job, tools, wanted, writers)
            if painted is not None:
                painted.add(group, classes)
            done += len(group)
            tools.watch(done / max(done, expected), f"{job.place}, frame {done} of {expected or '?'}")
        if not done:
            raise DataError(f"{job.path}: holds no frames")
        if painted is not None:
            painted.close()
    return done


def _classes(
    group: list[Frame], job: Job, tools: Tools, wanted: Wanted, writers: ThreadPoolExecutor
) -> list[np.ndarray]:
    """The classes (H, W) of frames of one size: predicted and written, or read from the masks that are there."""
    places = [f"{job.place}/{frame.number:06d}" for frame in group]
    known = [tools.order.go_on and wanted.are_written(place) for place in places]
    missing = [frame for frame, there in zip(group, known, strict=True) if not there]
    predicted = iter(tools.found([frame.pixels for frame in missing]) if missing else [])
    classes, writing = [], []
    for frame, place, there in zip(group, places, known, strict=True):
        if there:
            with Image.open(wanted.paths(place)[MASK]) as mask:
                classes.append(tools.labels.read(np.asarray(mask)))
            continue
        found = next(predicted)
        classes.append(found.labels)
        writing.append(writers.submit(write_picture, wanted, place, frame.pixels, found, tools.labels, None))
    for written in writing:
        written.result()
    return classes


def _groups(path: Path, batch: int) -> Iterator[tuple[list[Frame], int]]:
    """Frames in their order, at most so many of one size at a time, and how many the file says it holds (or 0)."""
    waiting: list[Frame] = []
    expected = 0
    for frame, expected in _decoded(path):
        if len(waiting) == batch or (waiting and waiting[0].pixels.shape != frame.pixels.shape):
            yield waiting, expected
            waiting = []
        waiting.append(frame)
    if waiting:
        yield waiting, expected


def _decoded(path: Path) -> Iterator[tuple[Frame, int]]:
    try:
        import av
    except ImportError as error:
        raise DataError(f"{path}: a video, which is read by PyAV: pip install 'segue[video]'") from error
    number = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path}: holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            expected = stream.frames or round(
                float(container.duration or 0) / av.time_base * float(stream.average_rate or FALLBACK_RATE)
            )
            for frame in container.decode(stream):
                pixels = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                yield Frame(np.ascontiguousarray(pixels), number, frame.pts, frame.time_base), expected
                number += 1
    except av.FFmpegError as error:
        where = f"breaks off after {number} frames, whose masks are kept" if number else "cannot be decoded"
        raise DataError(f"{path}: {where} ({error.strerror}); replace the file") from error


class _Painted:
    """The video with the classes' colours over it, frame by frame; H.264 where the library has it."""

    def __init__(self, path: Path, tools: Tools) -> None:
        import av

        self.labels = tools.labels
        self.container = av.open(str(path), "w", format="mp4")
        self.codec: Literal["libx264", "mpeg4"] = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self.stream: av.VideoStream | None = None

    def add(self, frames: list[Frame], classes: list[np.ndarray]) -> None:
        """The next frames with their classes."""
        import av

        for frame, labels in zip(frames, classes, strict=True):
            picture = _even(overlay(frame.pixels, labels, self.labels))
            if self.stream is None:
                self.stream = self._begun(frame, *picture.shape[:2])
            painted = av.VideoFrame.from_ndarray(picture, format="rgb24")
            painted.pts, painted.time_base = frame.time, frame.unit
            self.container.mux(self.stream.encode(painted))

    def close(self) -> None:
        """Write what the encoder holds back."""
        if self.stream is not None:
            self.container.mux(self.stream.encode())
        self.container.close()

    def _begun(self, frame: Frame, height: int, width: int) -> av.VideoStream:
        stream = self.container.add_stream(self.codec, rate=FALLBACK_RATE)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        if frame.unit is not None:
            stream.codec_context.time_base = frame.unit
        if self.codec == "libx264":
            stream.options = {"crf": QUALITY}
        return stream


def _even(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) with a last row and column repeated where H or W is odd: half-size colours need pairs of pixels."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
