"""Runs beside each other: measures with their intervals, whether differences are chance, speed, and pictures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from segue import recipe as recipes
from segue import report
from segue.apply import open_run_split, to_csv
from segue.assessment.standing import Standing, bytes_of_maps, check_alike, milliseconds, standing
from segue.data import DataSet
from segue.errors import DataError
from segue.files import make_folder, write_json, write_text
from segue.metrics import Difference, iou_of, miou_difference, miou_interval
from segue.pictures import viewable
from segue.prediction import as_batch
from segue.progress import ProgressLine

DRAWN = 8  # pictures in columns: those on which the runs differ most
MEASURED = ("pixel_accuracy", "boundary_iou", "ece")


@dataclass(frozen=True)
class Compared:
    """The outcome for a terminal, and where everything is written."""

    tables: list[list[list[str]]]
    words: list[str]
    folder: Path

    def lines(self) -> str:
        """As text."""
        tables = [report.text_lines(cells) + "\n" for cells in self.tables]
        return "\n".join([*tables, *self.words, f"open {self.folder / 'comparison.html'}"])


def compare_runs(
    runs: Sequence[str],
    *,
    split: str = "val",
    data: str = "",
    root: str = "",
    out: str = "comparison",
    batch: int = 8,
    device: str = "",
) -> Compared:
    """Compare runs on the same pictures; differences are taken from the first one.

    Runs that are not evaluated on this split yet, or have been trained on since, are evaluated first. Writes
    comparison.csv, .json, .md and .html and the pictures on the page to `out`.
    """
    folders = [Path(run) for run in runs]
    if len(folders) < 2:
        raise DataError(f"{' '.join(runs) or 'nothing'}: name two runs or more to compare")
    if len({one.resolve() for one in folders}) < len(folders):
        raise DataError(f"{' '.join(runs)}: a run is named twice")
    line = ProgressLine()
    names = short_names(folders)
    standings = [
        standing(one, name, split=split, data=data, root=root, batch=batch, device=device)
        for one, name in zip(folders, names, strict=True)
    ]
    check_alike(standings)
    pictures = open_run_split(folders[0], standings[0].model, split, data, root)
    first_pixels = pictures.image(0)
    line.show("measuring speed")
    times = milliseconds(standings, first_pixels)
    rows = [_row(one, standings[0], taken, first_pixels) for one, taken in zip(standings, times, strict=True)]
    folder = Path(out)
    make_folder(folder)
    tables = [_scores(rows), _further(rows)]
    words = [*_explained(standings[0], first_pixels), *_seeds_words(standings)]
    _write(rows, tables, standings, words, folder)
    line.show("the pictures on which the runs differ most")
    report.comparison_curves({one.name: one.log for one in standings if one.log}, folder / "curves.png")
    samples = _samples(standings, pictures)
    report.columns_picture(samples, names, standings[0].model.labels, folder / "pictures.png")
    _write_page(tables, standings, words, folder)
    line.finish()
    return Compared(tables, words, folder)


def short_names(folders: Sequence[Path]) -> list[str]:
    """The last parts of the paths: as many as tell the runs apart."""
    parts = [one.resolve().parts for one in folders]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-count:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(one) for one in folders]


def _row(one: Standing, first: Standing, taken: float, pixels: np.ndarray) -> dict[str, object]:
    interval = miou_interval(one.counts)
    row: dict[str, object] = {
        "run": one.name,
        "network": one.model.card.network,
        "miou": interval.value,
        "miou_low": interval.low,
        "miou_high": interval.high,
        **{key: one.measures.get(key) for key in MEASURED},
    }
    if one is not first:
        difference = miou_difference(first.counts, one.counts)
        row |= {f"difference_{key}": value for key, value in asdict(difference).items()}
    else:
        row |= dict.fromkeys((f"difference_{key}" for key in Difference.__dataclass_fields__), math.nan)
    return row | {
        "parameters": one.parameters,
        "milliseconds": taken,
        "megabytes_of_maps": bytes_of_maps(one, pixels) / 1e6,
        "pictures": len(one.pictures),
    }


def _scores(rows: Sequence[dict[str, object]]) -> list[list[str]]:
    """Mean IoU and how it differs from the first run's, as text: in per cent, differences in points."""
    cells = [["run", "mean IoU", "95 % interval", "difference", "95 % interval", "p"]]
    for row in rows:
        value = {key: report.as_number(one) for key, one in row.items()}
        signed, chance = value["difference_value"], value["difference_p"]
        cells.append(
            [
                str(row["run"]),
                report.in_percent(value["miou"]),
                _range(value["miou_low"], value["miou_high"]),
                "" if math.isnan(signed) else f"{100 * signed:+.2f}",
                _range(value["difference_low"], value["difference_high"]),
                "" if math.isnan(chance) else f"{chance:.3f}",
            ]
        )
    return cells


def _further(rows: Sequence[dict[str, object]]) -> list[list[str]]:
    """The other measures, in per cent, and what a run costs, as text."""
    head = ("pixel accuracy", "Boundary IoU", "calib. error", "M parameters", "ms", "MB of maps")
    cells = [["run", "network", *head]]
    for row in rows:
        value = {key: report.as_number(one) for key, one in row.items()}
        cells.append(
            [
                str(row["run"]),
                str(row["network"]),
                *(report.in_percent(value[key]) for key in MEASURED),
                f"{value['parameters'] / 1e6:.2f}",
                f"{value['milliseconds']:.1f}",
                f"{value['megabytes_of_maps']:.0f}",
            ]
        )
    return cells


def _range(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{100 * low:.2f} to {100 * high:.2f}"


def _explained(first: Standing, pixels: np.ndarray) -> list[str]:
    """What the columns mean."""
    height, width = pixels.shape[:2]
    return [
        f"measures in per cent, of {len(first.pictures)} pictures, each looked at so: {first.inference}; differences "
        f"in points from {first.name}",
        "p: how easily the choice of pictures would give no difference or the opposite one (paired bootstrap)",
        f"ms, MB of maps: for one picture of {width}x{height}, the median of turns taken in alternation, and the most "
        "that maps take at a time beside the weights",
    ]


def _seeds_words(standings: Sequence[Standing]) -> list[str]:
    """Mean and deviation of runs that differ in nothing but their seeds."""
    alike: dict[str, list[Standing]] = {}
    for one in standings:
        path = one.run / "recipe.toml"
        if path.is_file():
            content = recipes.to_dict(recipes.read(path))
            content["training"].pop("seed", None)
            alike.setdefault(repr(content), []).append(one)
    words = []
    for group in alike.values():
        if len(group) > 1:
            scores = [100 * miou_interval(one.counts, rounds=1).value for one in group]
            words.append(
                f"{', '.join(one.name for one in group)} differ in their seeds alone: mean IoU "
                f"{statistics.fmean(scores):.2f}, deviation {statistics.stdev(scores):.2f}"
            )
    return words


def _class_cells(standings: Sequence[Standing]) -> list[list[str]]:
    """IoU of each class, a column for each run."""
    columns = [iou_of(*one.counts.sum(dim=0)).tolist() for one in standings]
    cells = [["class", *(one.name for one in standings)]]
    for label, name in enumerate(standings[0].model.labels.classes):
        cells.append([name, *(report.in_percent(column[label]) for column in columns)])
    return cells


def _samples(standings: Sequence[Standing], pictures: DataSet) -> list[report.Columns]:
    """The pictures whose mean IoU differs most between runs, the greatest difference first."""
    scores = np.stack([one.picture_miou() for one in standings])
    known = np.isfinite(scores).all(axis=0)
    spread = np.where(known, scores.max(axis=0) - scores.min(axis=0), -1.0)
    order = [place for place in np.argsort(-spread, kind="stable")[:DRAWN].tolist() if spread[place] >= 0]
    places = {pictures.name(index): index for index in range(len(pictures))}
    samples = []
    for place in order:
        index = places[standings[0].pictures[place]]
        pixels = pictures.image(index)
        images = as_batch([pixels])
        predicted = [one.model.predictor().labels(images)[0].to(torch.uint8).cpu().numpy() for one in standings]
        samples.append(
            report.Columns(
                pictures.name(index), viewable(pixels), pictures.target(index), predicted, scores[:, place].tolist()
            )
        )
    return samples


def _write(
    rows: Sequence[dict[str, object]],
    tables: Sequence[list[list[str]]],
    standings: Sequence[Standing],
    words: Sequence[str],
    folder: Path,
) -> None:
    write_text(folder / "comparison.csv", to_csv(rows))
    marked = [report.markdown_lines(cells) for cells in (*tables, _class_cells(standings))]
    write_text(folder / "comparison.md", "\n".join([*marked, *words]) + "\n")
    write_json(folder / "comparison.json", {"runs": list(rows), "words": list(words)})


def _write_page(
    tables: Sequence[list[list[str]]], standings: Sequence[Standing], words: Sequence[str], folder: Path
) -> None:
    figures = (
        ("Training", folder / "curves.png"),
        ("Where they differ most", folder / "pictures.png"),
    )
    scores, further = (report.html_lines(cells) for cells in tables)
    paragraphs = "".join(f'<p class="hint">{report.escaped(one)}</p>' for one in words)
    labels = standings[0].model.labels
    report.write_page(
        folder / "comparison.html",
        f"Comparison: {', '.join(one.name for one in standings)}",
        [
            report.section("Mean IoU", scores),
            report.section("Other measures, and what they cost", further + paragraphs),
            *(report.section(title, report.figure(title, path)) for title, path in figures if path.is_file()),
            report.section("IoU of each class, %", report.html_lines(_class_cells(standings), labels.palette)),
        ],
    )
