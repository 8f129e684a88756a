"""What is written about an evaluation: tables, pictures, counts for later comparisons, and the page with all of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from segue import report
from segue.apply import to_csv
from segue.errors import DataError
from segue.evaluation import Boundaries, Calibration, Evaluation, Measure, PictureScore, worst_first
from segue.files import make_folder, write_atomically, write_json, write_text
from segue.labels import Labels
from segue.metrics import Interval, calibration_error, iou, reliability
from segue.metrics.boundary import WIDTHS

EXAMPLES = 24  # pictures that the page shows for each kind of confusion
CALIBRATION = (
    "Bars: the share of hits among the pixels of such a confidence. Dots: their mean confidence. Where a bar ends "
    "below the dashed line the network is too sure of itself, above it not sure enough. Small: the pixels that are "
    "called each class, and their calibration error."
)
BORDERS = (
    "Only pixels so near to a true border of two classes are counted: the lower the curve begins, the more of the "
    "errors lie at borders."
)
COUNTS = "counts.npz"
METRICS = "metrics.json"


@dataclass
class Found:
    """What was counted in some pictures, or in all."""

    evaluation: Evaluation
    measures: dict[str, Measure] = field(default_factory=dict)
    thumbnails: dict[str, report.Thumbnail] = field(default_factory=dict)

    def merge(self, other: Found) -> None:
        """Add what another process found in its share."""
        self.evaluation.merge(other.evaluation)
        self.thumbnails |= other.thumbnails
        for name, measure in self.measures.items():
            measure.merge(other.measures[name])

    @property
    def boundaries(self) -> Boundaries:
        """Boundary IoU and the trimap's counts."""
        measure = self.measures["boundaries"]
        assert isinstance(measure, Boundaries)
        return measure

    @property
    def calibration(self) -> Calibration:
        """Confidence against hits."""
        measure = self.measures["calibration"]
        assert isinstance(measure, Calibration)
        return measure

    def class_rows(self, labels: Labels) -> list[dict[str, object]]:
        """A row per class, with Boundary IoU and the calibration error of the pixels that are called so."""
        further = zip(self.boundaries.per_class(), calibration_error(self.calibration.counts), strict=True)
        return [
            {**row, "boundary_iou": float(boundary), "ece": float(gap)}
            for row, (boundary, gap) in zip(self.evaluation.class_rows(labels), further, strict=True)
        ]


def write_evaluation(
    found: Found,
    interval: Interval,
    labels: Labels,
    facts: Mapping[str, object],
    folder: Path,
) -> None:
    """Write everything into the folder, each file in one stroke."""
    make_folder(folder)
    evaluation = found.evaluation
    rows = found.class_rows(labels)
    summary, numbers = evaluation.summary(), evaluation.numbers()
    plain = [{key: value for key, value in row.items() if key != "colour"} for row in rows]
    write_text(folder / "classes.csv", to_csv(plain))
    write_text(folder / "classes.md", report.markdown_table(rows, numbers))
    write_text(folder / "pictures.csv", to_csv(evaluation.picture_rows(labels)))
    write_counts(evaluation, labels, folder / COUNTS)
    report.confusion_picture(evaluation.table.numpy(), labels, folder / "confusion.png")
    report.calibration_picture(_reliability_panels(found, labels), folder / "calibration.png")
    near = found.boundaries.curve()
    report.trimap_picture(WIDTHS, near.numpy(), folder / "boundary.png")
    report.write_evaluation_page(
        folder,
        report.EvaluationPage(
            title=f"{Path(str(facts['run'])).resolve().name} on {folder.name}",
            summary=numbers,
            facts={
                "mean IoU, 95 % interval": f"{_percent(interval.low)} to {_percent(interval.high)}",
                "pictures": len(evaluation.pictures),
                "classes averaged": f"{summary.classes} of {labels.num_classes}",
                **facts,
            },
            labels=labels,
            class_rows=rows,
            table=evaluation.table.numpy(),
            pictures=[_picture(one, found.thumbnails[one.name]) for one in worst_first(evaluation.pictures)],
            class_ious=_class_ious(evaluation),
            examples=examples(evaluation),
            figures=[
                ("Calibration", folder / "calibration.png", CALIBRATION),
                ("Near the borders", folder / "boundary.png", BORDERS),
            ],
        ),
    )
    content = {
        **numbers,
        "miou_interval": [interval.low, interval.high],
        "classes_averaged": summary.classes,
        "absent": [labels.classes[index] for index in summary.absent],
        "pictures": len(evaluation.pictures),
        **facts,
        "classes": plain,
        "near_borders": [
            {"pixels": width, "miou": miou, "pixel_accuracy": accuracy}
            for width, (miou, accuracy) in zip(WIDTHS, near.tolist(), strict=True)
        ],
        "confusion": evaluation.table.tolist(),
    }
    write_json(folder / METRICS, content)


def _picture(one: PictureScore, thumbnail: report.Thumbnail) -> dict[str, object]:
    scores = {"name": one.name, "miou": round(one.miou, 5), "accuracy": round(one.pixel_accuracy, 5)}
    return scores | thumbnail.to_dict()


def _class_ious(evaluation: Evaluation) -> np.ndarray:
    """(N, K) IoU of each class in each picture, the worst picture first; NaN where it does not occur."""
    size = len(evaluation.table)
    rows = [iou(one.table(size)) for one in worst_first(evaluation.pictures)]
    return torch.stack(rows).numpy() if rows else np.zeros((0, size))


def examples(evaluation: Evaluation) -> dict[int, list[int]]:
    """Cell of the confusion matrix, read row by row -> the pictures (worst first, by number) that hold most of it."""
    size = len(evaluation.table)
    found: dict[int, list[tuple[int, int]]] = {}
    for number, one in enumerate(worst_first(evaluation.pictures)):
        for cell, count in zip(one.cells.tolist(), one.counts.tolist(), strict=True):
            if cell // size != cell % size:
                found.setdefault(cell, []).append((-count, number))
    return {cell: [number for _, number in sorted(places)[:EXAMPLES]] for cell, places in sorted(found.items())}


def _reliability_panels(found: Found, labels: Labels) -> list[report.Reliability]:
    """Of all pixels together, and then of those that are called each class."""
    counts = found.calibration.counts
    names = ["all classes", *labels.classes]
    colours: list[tuple[int, int, int] | None] = [None, *labels.palette]
    panels = []
    for name, colour, one in zip(names, colours, (counts.sum(dim=1), *counts.unbind(dim=1)), strict=True):
        accuracy, confidence = reliability(one)
        shares = one[0].double() / max(1, int(one[0].sum()))
        panels.append(
            report.Reliability(
                name,
                colour,
                accuracy.numpy(),
                confidence.numpy(),
                shares.numpy(),
                float(calibration_error(one)),
                int(one[0].sum()),
            )
        )
    return panels


def write_counts(evaluation: Evaluation, labels: Labels, path: Path) -> None:
    """The counts of each picture, (N, 3, K), with names and classes: all that intervals and comparisons need."""
    names = np.array([one.name for one in evaluation.pictures], dtype=np.str_)
    counts = evaluation.picture_counts().numpy()

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, names=names, counts=counts, classes=np.array(labels.classes, dtype=np.str_))

    write_atomically(path, save)


def read_counts(path: Path) -> tuple[list[str], Tensor, list[str]]:
    """Names, (N, 3, K) counts and classes. Raises DataError for a file that is not what `segue evaluate` writes."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            names, classes = content["names"].tolist(), content["classes"].tolist()
            return names, torch.from_numpy(content["counts"]), classes
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{path}: is not what `segue evaluate` writes ({error}); evaluate the run again") from error


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.2f} %"
