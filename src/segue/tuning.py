"""The search for a run's CRF parameters on its validation split, coarse to fine, as DeepLab v1 and v2 did.

DeepLab v2 (arXiv:1606.00915): the smoothness kernel stays at weight 3 and deviation 3, and the weight and
both deviations of the appearance kernel are searched on 100 pictures, first coarsely, then with finer steps around the
best. What is maximised is the mean IoU of these pictures together.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from segue.apply import open_run_split, to_csv
from segue.crf import DenseCRF
from segue.data.loading import WholePictures
from segue.files import make_folder, write_json, write_text
from segue.metrics import confusion, summarise
from segue.model import WEIGHTS, Model, load
from segue.options import CRFOptions, CRFSearch
from segue.prediction import Sharpened, as_batch, crf_kernels
from segue.progress import ProgressLine, bar, duration
from segue.sharpening import (
    BEST,
    FOLDER,
    PICTURE,
    SHOWN_PICTURES,
    SharpeningError,
    described,
    effect_of_updates,
    spread,
)

Point = tuple[float, float, float]
"""bilateral_sxy, bilateral_srgb and bilateral_compat: deviations first, since they vary slowest."""

Rows = dict[Point | None, tuple[str, float]]
"""Combination, or None for no CRF -> the stage of the search that tried it, and the mean IoU."""

WITHOUT = "without CRF"
ROWS, SETTINGS = "search.csv", "search.json"
COLUMNS = ("stage", "bilateral_sxy", "bilateral_srgb", "bilateral_compat", "miou")


@dataclass(frozen=True)
class Tuned:
    """What a search found: the mean IoU of its pictures without CRF, with the default parameters and with the best."""

    folder: Path
    options: CRFOptions
    without: float
    default: float
    best: float
    pictures: int
    tried: int

    def lines(self) -> str:
        """The outcome, for the terminal."""
        text = (
            f"mean IoU of {self.pictures} pictures: without CRF {100 * self.without:.2f}, with the defaults "
            f"{100 * self.default:.2f}, with the best of {self.tried} combinations {100 * self.best:.2f}\n"
            f"best: {described(self.options)}\n{self.folder / BEST}: what --crf takes from now on"
        )
        if self.best <= self.without:
            text += "\nno combination is better than no CRF: this network is better off without it"
        return text


def tune(
    run: str | Path,
    search: CRFSearch,
    *,
    split: str = "val",
    data: str = "",
    root: str = "",
    device: str = "",
) -> Tuned:
    """Search, and write RUN/crf: search.csv (each combination as soon as it is known), best.json and iterations.png.

    A search that was killed goes on from its search.csv. Where its settings were others (ranges, pictures, iterations,
    or the model has been trained on), a new file is begun, and the old one kept as search-1.csv.
    """
    model = load(run, device or None)
    fixed = CRFOptions(normalization=search.normalization, iterations=search.iterations)
    Sharpened(model.predictor(), fixed)  # refuses networks that do not take RGB
    whole = WholePictures(open_run_split(run, model, split, data, root))
    folder = Path(run) / FOLDER
    make_folder(folder)
    line = ProgressLine()
    chosen = spread(len(whole), search.pictures)
    names = [whole.data.name(index) for index in chosen]
    known = _known_rows(folder, _settings(Path(run), search, data, split, names), line)
    with tempfile.TemporaryFile(dir=folder) as store:
        cases = _Cases(model, whole, chosen, store)
        finder = _Finder(cases, fixed, model.labels.num_classes, folder / ROWS, known, line)
        axes: tuple[tuple[float, ...], ...] = tuple(
            tuple(sorted(set(values))) for values in (search.sxy, search.srgb, search.compat)
        )
        fine = math.prod(3 if len(values) > 1 else 1 for values in axes)
        finder.planned = 2 + math.prod(map(len, axes)) + search.refinements * fine
        without, default = finder.without(), finder.default()
        best = finder.best_of("coarse", axes)
        for turn in range(search.refinements):
            axes = tuple(refined(values, value) for values, value in zip(axes, best, strict=True))
            best = finder.best_of("fine" if turn == 0 else f"fine {turn + 1}", axes)
        line.finish()
        point, miou = finder.best()
        options = _at(fixed, point)
        measured = {"miou": miou, "miou_default": default, "miou_without": without}
        content = {"crf": asdict(options), "measured": {"split": split, "pictures": len(chosen), **measured}}
        write_json(folder / BEST, content)
        shown = (cases[place] for place in spread(len(chosen), SHOWN_PICTURES))
        effect_of_updates(shown, options, model.labels, folder / PICTURE)
    return Tuned(folder, options, without, default, miou, len(chosen), len(finder.rows) - 1)


def refined(values: Sequence[float], best: float) -> tuple[float, ...]:
    """The best of some values and what lies halfway to its neighbours; at an end, as far outside, but above 0."""
    place = values.index(best)
    gaps = [b - a for a, b in pairwise(values)]
    if not gaps:
        return (best,)
    below, above = gaps[max(place - 1, 0)], gaps[min(place, len(gaps) - 1)]
    return tuple(value for value in (best - below / 2, best, best + above / 2) if value > 0)


def _at(options: CRFOptions, point: Point) -> CRFOptions:
    sxy, srgb, compat = point
    return replace(options, bilateral_sxy=sxy, bilateral_srgb=srgb, bilateral_compat=compat)


def _settings(run: Path, search: CRFSearch, data: str, split: str, names: Sequence[str]) -> dict[str, object]:
    """All that a combination's mean IoU depends on, and where the search begins, as JSON gives it back."""
    weights = next(path for path in (run / "model" / WEIGHTS, run / WEIGHTS) if path.is_file())
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    settings = {**asdict(search), "data": data, "split": split, "names": list(names), "weights": digest}
    del settings["pictures"]  # which ones counts, not how many were asked for
    del settings["refinements"]  # a finer search goes on from a coarse one
    return dict(json.loads(json.dumps(settings)))


def _known_rows(folder: Path, settings: Mapping[str, object], line: ProgressLine) -> Rows:
    """What an earlier search with the same settings found already; one with others is put aside."""
    try:
        before = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        before = None
    rows = folder / ROWS
    if before == settings and rows.is_file():
        known = _read(rows)
        line.say(f"{rows}: goes on with {len(known)} results")
        return known
    if rows.is_file():
        number = 1
        while (kept := folder / f"search-{number}.csv").exists():
            number += 1
        rows.rename(kept)
        changed = [key for key, value in settings.items() if not isinstance(before, dict) or before.get(key) != value]
        line.say(f"{rows}: begins anew, since {', '.join(changed)} changed; the earlier search is kept as {kept.name}")
    write_json(folder / SETTINGS, settings)
    return {}


def _read(path: Path) -> Rows:
    rows: Rows = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                sxy, srgb, compat, miou = (float(row[key] or "nan") for key in COLUMNS[1:])
            except (KeyError, TypeError, ValueError) as error:
                raise SharpeningError(f"{path}: cannot be read ({error}); delete it to begin anew") from error
            rows[None if row["stage"] == WITHOUT else (sxy, srgb, compat)] = row["stage"], miou
    return rows


class _Cases:
    """The chosen pictures, each predicted when it is first asked for.

    Probabilities wait in a file that no name leads to, so that nothing is left behind: a hundred pictures of Cityscapes
    have 16 GB of them.
    """

    def __init__(self, model: Model, whole: WholePictures, chosen: Sequence[int], store: IO[bytes]) -> None:
        self.model, self.whole, self.chosen, self.store = model, whole, chosen, store
        self.places: dict[int, tuple[int, tuple[int, ...]]] = {}

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, place: int) -> tuple[str, np.ndarray, np.ndarray, Tensor]:
        """Name, picture (H, W, 3) uint8, classes (H, W) uint8 and probabilities (K, H, W)."""
        pixels, classes, name = self.whole[self.chosen[place]]
        predictor = self.model.predictor()
        if place not in self.places:
            values = np.ascontiguousarray(predictor.probabilities(as_batch([pixels]))[0].cpu().numpy())
            start = self.store.seek(0, os.SEEK_END)
            self.store.write(values.tobytes())
            self.store.flush()
            self.places[place] = start, values.shape
        start, shape = self.places[place]
        kept = np.memmap(self.store, np.float32, "c", start, shape)
        return name, pixels, classes, torch.from_numpy(kept).to(predictor.device)


class _Finder:
    """Measures combinations that are not known yet, and writes each block of them as soon as it is measured."""

    def __init__(
        self, cases: _Cases, fixed: CRFOptions, num_classes: int, path: Path, rows: Rows, line: ProgressLine
    ) -> None:
        self.cases, self.fixed, self.num_classes = cases, fixed, num_classes
        self.path, self.rows, self.line = path, rows, line
        self.planned = 0
        self.seconds, self.measured = 0.0, 0  # of this session, for what is left to wait

    def without(self) -> float:
        """The mean IoU without CRF."""
        if None not in self.rows:
            table = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64)
            for place in range(len(self.cases)):
                _, _, classes, probability = self.cases[place]
                table += self._counts(probability, classes)
            self._keep(WITHOUT, {None: summarise(table).miou})
        return self.rows[None][1]

    def default(self) -> float:
        """The mean IoU with the default parameters."""
        point = (self.fixed.bilateral_sxy, self.fixed.bilateral_srgb, self.fixed.bilateral_compat)
        self._measure("default", [point])
        return self.rows[point][1]

    def best_of(self, stage: str, axes: Sequence[Sequence[float]]) -> Point:
        """The best of all combinations of the axes' values, the first of equals."""
        spatial, colour, weights = axes
        for sxy, srgb in product(spatial, colour):
            self._measure(stage, [(sxy, srgb, compat) for compat in weights])
        return max(((sxy, srgb, compat) for sxy, srgb, compat in product(*axes)), key=self._score)

    def best(self) -> tuple[Point, float]:
        """The best combination of all, and its mean IoU."""
        point = max((point for point in self.rows if point is not None), key=self._score)
        return point, self.rows[point][1]

    def _score(self, point: Point) -> float:
        miou = self.rows[point][1]
        return -1.0 if math.isnan(miou) else miou

    def _measure(self, stage: str, points: Sequence[Point]) -> None:
        """Measure points with the same deviations: a picture's lattices are built once for all of them."""
        points = [point for point in points if point not in self.rows]
        if not points:
            return
        tables = torch.zeros(len(points), self.num_classes, self.num_classes, dtype=torch.int64)
        kernels = [crf_kernels(_at(self.fixed, point)) for point in points]
        for place in range(len(self.cases)):
            began = time.monotonic()
            _, pixels, classes, probability = self.cases[place]
            crf = DenseCRF(as_batch([pixels])[0].to(probability.device))
            with torch.inference_mode():
                for table, pair in zip(tables, kernels, strict=True):
                    table += self._counts(crf(probability, *pair, self.fixed.iterations), classes)
            self.seconds += time.monotonic() - began
            self.measured += len(points)
            self._show(stage, len(points), place + 1)
        miou = [summarise(table).miou for table in tables]
        self._keep(stage, dict(zip(points, miou, strict=True)))

    def _counts(self, probability: Tensor, classes: np.ndarray) -> Tensor:
        target = torch.from_numpy(np.array(classes))
        return confusion(probability.argmax(dim=0).cpu(), target, self.num_classes)

    def _keep(self, stage: str, found: Mapping[Point, float] | Mapping[None, float]) -> None:
        for point, miou in found.items():
            self.rows[point] = stage, miou
        rows = [
            dict(zip(COLUMNS, (stage, *(point or ("", "", "")), miou), strict=True))
            for point, (stage, miou) in self.rows.items()
        ]
        write_text(self.path, to_csv(rows))

    def _show(self, stage: str, points: int, pictures: int) -> None:
        done = len(self.rows) + points * pictures / len(self.cases)
        left = max(self.planned - done, 0) * len(self.cases) * self.seconds / self.measured
        known = [self._score(point) for point in self.rows if point is not None]
        best = f"  best mIoU {100 * max(known):.2f}" if known else ""
        text = f"{bar(int(done), self.planned)} {int(done)}/{self.planned} {stage}{best}  {duration(left)} left"
        self.line.show(text)
