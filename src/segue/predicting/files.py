"""Files to masks: which are still to be done, how far it is, and a record of it all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from segue.errors import DataError
from segue.model import WEIGHTS, model_folder
from segue.options import CRFOptions, InferenceOptions
from segue.predicting.jobs import Job, find_jobs
from segue.predicting.manifest import NAME, Manifest, Outcome
from segue.predicting.outputs import Wanted
from segue.predicting.processes import devices_for, work, work_in_processes
from segue.predicting.tools import Order, Tools
from segue.progress import ProgressLine, bar, duration
from segue.sharpening import announced, crf_options


@dataclass(frozen=True)
class Predicted:
    """How many files were predicted, how many were there already, and what was wrong with the others."""

    done: int
    skipped: int
    failed: tuple[str, ...]


def predict_files(
    run: str | Path,
    inputs: Sequence[str],
    wanted: Wanted,
    *,
    inference: InferenceOptions = InferenceOptions(),  # noqa: B008
    crf: Mapping[str, Any] | None = None,
    batch: int = 8,
    device: str = "",
    processes: int = 0,
    skip_existing: bool = False,
) -> Predicted:
    """Segment pictures and videos, and write what is wanted of them.

    crf: sharpen with the dense CRF; options over the best that were found for the run. None for no CRF.
    batch: pictures of one size that go through the network together, at most.
    processes: 0 for one per GPU, or one where there is none.
    skip_existing: leave out files whose results are there, which are whole whatever happened.

    A file that cannot be read is told of, noted in OUT/manifest.jsonl and left out; the others are predicted all the
    same. Raises ValueError for inputs that name nothing and for a folder that holds masks of others, SaveError when
    results cannot be written.
    """
    line = ProgressLine()
    sharpening = None if crf is None else crf_options(run, crf)
    order = Order(str(run), wanted, inference, sharpening, batch, device, skip_existing)
    jobs = find_jobs(inputs, wanted.out)
    manifest = Manifest(wanted.out)
    if not manifest.path.is_file():
        _spare_others(jobs, wanted)
    waiting = [job for job in jobs if not (skip_existing and not job.is_video and wanted.are_written(job.place))]
    devices = devices_for(device, processes, len(waiting))
    alone = len(devices) == 1
    progress = Progress(len(waiting), line)
    # Whatever is wrong with the model is said before anything is written, by this process.
    tools = Tools(order if alone else replace(order, device="cpu"), progress.within if alone else _silent)
    if sharpening is not None:
        line.say(announced(run, sharpening, changed=bool(crf)))
    manifest.begin(_how(run, tools.model.card.temperature, inference, sharpening), go_on=skip_existing)
    progress.begin()
    for outcome in work(waiting, tools) if alone else work_in_processes(waiting, order, devices):
        manifest.add(outcome)
        progress.one_more(outcome)
    line.finish()
    return Predicted(progress.done, len(jobs) - len(waiting), tuple(progress.failed))


def _spare_others(jobs: Sequence[Job], wanted: Wanted) -> None:
    """Raise DataError where results would replace files that were not predicted, such as the masks of a data set."""
    for job in jobs:
        places = (wanted.out / job.place,) if job.is_video else ()
        files = (path for suffix in (".png", ".tif") for path in wanted.paths(job.place, suffix).values())
        taken = next((path for path in (*places, *files) if path.exists()), None)
        if taken is not None:
            raise DataError(
                f"{taken}: is there already, and {wanted.out} has no {NAME}, which segue predict would have written; "
                "choose another folder with --out"
            )


def _silent(share: float, words: str) -> None:
    pass


def _how(run: str | Path, temperature: float, inference: InferenceOptions, crf: CRFOptions | None) -> dict[str, Any]:
    """What decides on the results: weights and temperature, and how pictures are looked at."""
    with (model_folder(Path(run)) / WEIGHTS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    looked = {f"inference.{key}": value for key, value in asdict(inference).items() if key != "batch"}
    sharpened = {f"crf.{key}": value for key, value in asdict(crf).items()} if crf is not None else {}
    return {"weights": digest, "temperature": temperature, **looked, "crf": crf is not None, **sharpened}


class Progress:
    """The progress line: how many files, the one at hand, how fast, and how long it will take."""

    def __init__(self, total: int, line: ProgressLine) -> None:
        self.total, self.line = total, line
        self.done = 0
        self.failed: list[str] = []
        self.begin()

    def begin(self) -> None:
        """The clock starts here: making the model ready says nothing of how long pictures take."""
        self.start = time.monotonic()

    def one_more(self, outcome: Outcome) -> None:
        """A file came out, well or not."""
        if outcome.note:
            self.line.say(outcome.note)
        if outcome.error:
            self.failed.append(outcome.error)
            self.line.say(f"segue: {outcome.error}")
        else:
            self.done += 1
        self._show(0.0, Path(outcome.path).name)

    def within(self, share: float, words: str) -> None:
        """So much of a long one is done."""
        self._show(share, words)

    def _show(self, share: float, words: str) -> None:
        finished = self.done + len(self.failed)
        took = time.monotonic() - self.start
        left = took * (self.total - finished - share) / (finished + share) if finished + share else 0.0
        speed = f"  {finished / took:.1f}/s" if finished and took else ""
        self.line.show(f"{bar(finished, self.total)} {finished}/{self.total}  {words}{speed}  {duration(left)} left")
