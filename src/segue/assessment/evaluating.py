"""A run's model measured on a split, and everything that is written about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segue import report
from segue.apply import AnyPredictor, open_run_split, predictor_of
from segue.assessment.team import Team
from segue.assessment.writing import Found, write_evaluation
from segue.data import DataSet
from segue.data.loading import WholePictures
from segue.evaluation import (
    Boundaries,
    BoundaryF,
    Calibration,
    Cells,
    Evaluation,
    Looked,
    Measure,
    WholePicture,
    evaluate_probabilities,
    worst_first,
)
from segue.labels import Labels
from segue.metrics import Interval, miou_interval
from segue.model import WHOLE, Model, load
from segue.options import InferenceOptions
from segue.pictures import viewable
from segue.prediction import Sharpened, as_batch
from segue.progress import ProgressLine, bar
from segue.sharpening import PICTURE, SHOWN_PICTURES, effect_of_updates, spread

EXTREMES = 12  # of the worst and of the best pictures, which the page shows larger than the others
DRAWN = 6  # of each, in worst.png and best.png
LARGE = 480  # pixels of their longer side on the page


@dataclass(frozen=True)
class Assessed:
    """What `segue evaluate` found, and where it is written. labels: of the model."""

    evaluation: Evaluation
    interval: Interval
    labels: Labels
    folder: Path

    def lines(self) -> str:
        """The table, for the terminal."""
        evaluation, interval = self.evaluation, self.interval
        text = report.text_table(evaluation.class_rows(self.labels), evaluation.numbers())
        if np.isfinite(interval.low):
            text += (
                f"mean IoU {100 * interval.value:.2f}, 95 % interval {100 * interval.low:.2f} to "
                f"{100 * interval.high:.2f} (pictures drawn again, {len(evaluation.pictures)} of them)\n"
            )
        return text + f"open {self.folder / report.EVALUATION_PAGE}"


def evaluate_run(
    run: str | Path,
    *,
    split: str = "val",
    data: str = "",
    root: str = "",
    batch: int = 8,
    out: str = "",
    device: str = "",
    inference: InferenceOptions = WHOLE,
    crf: Mapping[str, Any] | None = None,
    boundary: bool = False,
    cells: str = "",
) -> Assessed | None:
    """Evaluate a run's model on a split of its own data, or of other data with the same classes.

    inference: windows, scales and mirror images, whose probabilities are averaged.
    crf: sharpen with the dense CRF; options over the best that were found for the run. None for no CRF.
    boundary: the boundary F-measures as well, which take long.
    cells: the class whose regions are measured by V-rand and V-info; "" for none.

    Writes tables, pictures and a page to RUN/evaluation/SPLIT (DATA-SPLIT for other data, SPLIT-crf with the CRF).
    Several processes, as `torchrun` starts them, share the pictures; the first one writes, and None is what the others
    return.
    """
    team = Team.joined(device)
    model = load(run, team.device or None)
    label = _class_of(model.labels, cells)
    pictures = open_run_split(run, model, split, data, root)
    line = ProgressLine()
    predictor = predictor_of(run, model, line, inference=inference, crf=crf)
    found = _look(predictor, pictures, model, team, line, batch=batch, boundary=boundary, cells=label)
    if not team.first:
        return None
    folder = Path(out) if out else evaluation_folder(run, split, data, crf=crf is not None)
    interval = miou_interval(found.evaluation.picture_counts())
    extremes = _extremes(found.evaluation, predictor, pictures, line)
    found.thumbnails |= extremes.large()
    facts = {
        "run": str(run),
        "split": split,
        "data": data or "the run's own",
        "inference": inference.described(),
        "CRF": "none" if crf is None else "yes",
        "temperature": model.card.temperature,
    }
    write_evaluation(found, interval, model.labels, facts, folder)
    for name, panels in (("worst.png", extremes.worst), ("best.png", extremes.best)):
        report.predictions_picture(panels[:DRAWN], model.labels, folder / name)
    if isinstance(predictor, Sharpened):
        _draw_updates(predictor, model, pictures, inference, folder)
    line.finish()
    return Assessed(found.evaluation, interval, model.labels, folder)


def evaluation_folder(run: str | Path, split: str, data: str = "", *, crf: bool = False) -> Path:
    """Where an evaluation is written by default."""
    name = f"{Path(data).expanduser().name}-{split}" if data else split
    return Path(run) / "evaluation" / (f"{name}-crf" if crf else name)


def _class_of(labels: Labels, name: str) -> int | None:
    if name and name not in labels.classes:
        raise ValueError(f"--cells {name}: the model knows no such class; it knows {', '.join(labels.classes)}")
    return labels.classes.index(name) if name else None


def _look(
    predictor: AnyPredictor,
    pictures: DataSet,
    model: Model,
    team: Team,
    line: ProgressLine,
    *,
    batch: int,
    boundary: bool,
    cells: int | None,
) -> Found:
    """Predict this process's share and count; what all processes found, put together."""
    count = model.labels.num_classes
    measures: dict[str, Measure] = {"boundaries": Boundaries(count), "calibration": Calibration(count)}
    if boundary:
        measures["boundary F"] = BoundaryF(count)
    if cells is not None:
        measures["cells"] = Cells(cells)
    whole = WholePictures(pictures)
    mine = team.share(len(whole))
    side = report.side_for(len(whole))
    thumbnails: dict[str, report.Thumbnail] = {}

    def read() -> Iterator[WholePicture]:
        for done, index in enumerate(mine):
            if team.first:
                line.show(f"{bar(done, len(mine))} {done}/{len(mine)}")
            yield whole[index]

    def see(one: Looked) -> None:
        for measure in measures.values():
            measure.add(one)
        thumbnails[one.name] = report.thumbnail(one.pixels, _as_array(one.target), _as_array(one.predicted), side)

    evaluation = evaluate_probabilities(predictor, read(), count, batch=batch, device=predictor.device, seen=see)
    evaluation.table = evaluation.table.cpu()
    mine_found = Found(evaluation, measures, thumbnails)
    first, *others = team.gather(mine_found)
    for other in others:
        first.merge(other)
    order = {pictures.name(index): index for index in range(len(pictures))}
    first.evaluation.pictures.sort(key=lambda one: order[one.name])
    for measure in first.measures.values():
        first.evaluation.more |= measure.numbers()
    return first


def _as_array(classes: torch.Tensor) -> np.ndarray:
    array: np.ndarray = classes.to(torch.uint8).cpu().numpy()
    return array


@dataclass(frozen=True)
class Extremes:
    """The worst and the best pictures, looked at once more."""

    worst: list[report.Panel]
    best: list[report.Panel]

    def large(self) -> dict[str, report.Thumbnail]:
        """All of them, larger than the other pictures of a page."""
        return {
            one.name: report.thumbnail(one.image, one.truth, one.predicted, LARGE)
            for one in (*self.worst, *self.best)
            if one.truth is not None
        }


def _extremes(evaluation: Evaluation, predictor: AnyPredictor, pictures: DataSet, line: ProgressLine) -> Extremes:
    line.show("the worst and the best pictures once more")
    places = {pictures.name(index): index for index in range(len(pictures))}
    ordered = [places[one.name] for one in worst_first(evaluation.pictures)]
    panels = {index: _panel(predictor, pictures, index) for index in {*ordered[:EXTREMES], *ordered[-EXTREMES:]}}
    best = ordered[-EXTREMES:][::-1] if ordered else []
    return Extremes([panels[index] for index in ordered[:EXTREMES]], [panels[index] for index in best])


def _panel(predictor: AnyPredictor, pictures: DataSet, index: int) -> report.Panel:
    pixels = pictures.image(index)
    predicted = _as_array(predictor.labels(as_batch([pixels]))[0])
    return report.Panel(pictures.name(index), viewable(pixels), pictures.target(index), predicted)


def _draw_updates(
    predictor: Sharpened, model: Model, pictures: DataSet, inference: InferenceOptions, folder: Path
) -> None:
    """What each update of the CRF changes in some pictures."""
    plain = model.predictor(inference)
    chosen = [(index, pictures.image(index)) for index in spread(len(pictures), SHOWN_PICTURES)]
    effect_of_updates(
        (
            (pictures.name(index), pixels, pictures.target(index), plain.probabilities(as_batch([pixels]))[0])
            for index, pixels in chosen
        ),
        predictor.options,
        model.labels,
        folder / PICTURE,
    )
