"""What is known of a run that is compared: its counts per picture, its log, its size and its speed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.assessment.evaluating import evaluate_run, evaluation_folder
from segue.assessment.writing import COUNTS, METRICS, read_counts
from segue.errors import DataError
from segue.explain.memory import peak_bytes
from segue.files import read_json
from segue.log import read_log
from segue.metrics import iou_of
from segue.model import CARD, WEIGHTS, Model, load, model_folder
from segue.prediction import as_batch


@dataclass(frozen=True)
class Standing:
    """A run, evaluated.

    name: what the comparison calls it. pictures: their names, in the order of `counts`, (N, 3, K). measures: what
    `segue evaluate` found, by name. log: a row per validation, none for a model that was converted.
    """

    name: str
    run: Path
    model: Model
    pictures: list[str]
    counts: Tensor
    measures: Mapping[str, Any]
    log: list[dict[str, float]]

    @property
    def parameters(self) -> int:
        """How many numbers training may change."""
        return sum(one.numel() for one in self.model.network.parameters())

    @property
    def inference(self) -> str:
        """How its pictures were looked at, in words."""
        return str(self.measures["inference"])

    def picture_miou(self) -> np.ndarray:
        """(N,) mean IoU of each picture, NaN where nothing is counted."""
        hits, true, guessed = self.counts.unbind(dim=1)
        means: np.ndarray = iou_of(hits, true, guessed).nanmean(dim=1).numpy()
        return means


def standing(run: Path, name: str, *, split: str, data: str, root: str, batch: int, device: str) -> Standing:
    """A run's evaluation on a split: the one that is there, if the model is no newer than it, or else a fresh one."""
    folder = evaluation_folder(run, split, data)
    model = load(run, device or None)
    parts = [model_folder(run) / name for name in (WEIGHTS, CARD)]  # the card has the temperature
    known = folder / METRICS  # written last
    if not known.is_file() or known.stat().st_mtime_ns < max(part.stat().st_mtime_ns for part in parts):
        evaluate_run(run, split=split, data=data, root=root, batch=batch, device=device)
    pictures, counts, _ = read_counts(folder / COUNTS)
    measures = read_json(known, "evaluate the run again")
    return Standing(name, run, model, pictures, counts, measures, read_log(run / "log.csv"))


def check_alike(standings: Sequence[Standing]) -> None:
    """Raises DataError where runs know other classes, or were evaluated on other pictures or in another way."""
    first = standings[0]
    for other in standings[1:]:
        if other.model.labels.classes != first.model.labels.classes:
            odd = set(other.model.labels.classes) ^ set(first.model.labels.classes)
            raise DataError(
                f"{first.run} and {other.run}: their classes differ ({', '.join(sorted(odd)) or 'in their order'}); "
                "only runs of the same classes can be compared"
            )
        if other.pictures != first.pictures:
            raise DataError(
                f"{first.run} and {other.run}: evaluated on other pictures ({len(first.pictures)} and "
                f"{len(other.pictures)}); name the same data for both with --data and --root"
            )
        if other.inference != first.inference:
            raise DataError(
                f"{first.run} and {other.run}: evaluated in different ways ({first.inference}, and {other.inference}); "
                "run `segue evaluate` on one of them with the options of the other"
            )


def milliseconds(standings: Sequence[Standing], pixels: np.ndarray, rounds: int = 5) -> list[float]:
    """How long each takes for one picture, alternating, so that whatever else the machine does hits all alike: medians.

    The first turn of each is not counted.
    """
    images = as_batch([pixels])
    times: list[list[float]] = [[] for _ in standings]
    for turn in range(rounds + 1):
        for one, taken in zip(standings, times, strict=True):
            began = time.perf_counter()
            one.model.predictor().labels(images).cpu()  # which waits for an accelerator
            if turn:
                taken.append(1000 * (time.perf_counter() - began))
    return [statistics.median(taken) for taken in times]


def bytes_of_maps(one: Standing, pixels: np.ndarray) -> int:
    """The most memory that the network's maps take at a time for one picture, beside its weights."""
    network = one.model.network.eval()
    side = [max(1, round(length * one.model.preprocessing.shrink)) for length in pixels.shape[:2]]
    with torch.inference_mode(mode=False), torch.no_grad():
        return peak_bytes(network, (pixels.shape[2], *side), lambda net, images: net(images))
