"""A trained model applied to a data set, and to files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from segue import recipe as recipes
from segue import report
from segue.data import DataSet, open_split
from segue.data.loading import WholePictures
from segue.errors import DataError
from segue.evaluation import Evaluation, evaluate, same_size, worst_first
from segue.files import write_atomically, write_json, write_text
from segue.labels import Labels
from segue.metrics import boundary_f
from segue.model import Model, ModelError, load, mask_image
from segue.options import DataOptions
from segue.pictures import overlay, viewable
from segue.prediction import Predictor, Sharpened, as_batch
from segue.progress import ProgressLine, bar
from segue.reading import IMAGE_SUFFIXES, read_image
from segue.sharpening import (
    PICTURE,
    SHOWN_PICTURES,
    crf_options,
    described,
    effect_of_updates,
    source_of_options,
    spread,
)

WORST = 6  # pictures in the picture of the worst ones


def evaluate_run(
    run: str | Path,
    *,
    split: str = "val",
    data: str = "",
    root: str = "",
    batch: int = 8,
    out: str = "",
    device: str = "",
    crf: Mapping[str, Any] | None = None,
    boundary: bool = False,
) -> Evaluation:
    """Evaluate a run's model on a split of its own data, or of other data with the same classes.

    crf: sharpen with the dense CRF; options over the best that were found for the run. None for no CRF.
    boundary: measure the boundaries as well: `boundary_f`, the mean over pictures of the mean over classes.

    Writes the tables (CSV, JSON, Markdown), the confusion matrix and the worst pictures to RUN/evaluation/SPLIT, or
    SPLIT-crf.
    """
    model = load(run, device or None)
    pictures = open_run_split(run, model, split, data, root)
    line = ProgressLine()
    predictor = _predictor(run, model, crf, line)
    folder = Path(out) if out else Path(run) / "evaluation" / (split if crf is None else f"{split}-crf")
    whole = WholePictures(pictures)
    near: list[float] = []

    def read() -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
        for index in range(len(whole)):
            line.show(f"{bar(index, len(whole))} {index}/{len(whole)}")
            yield whole[index]

    def measure_boundary(name: str, pixels: np.ndarray, classes: np.ndarray, guess: np.ndarray) -> None:
        predicted, target = (torch.from_numpy(np.ascontiguousarray(one))[None] for one in (guess, classes))
        near.append(float(boundary_f(predicted, target, model.labels.num_classes).nanmean()))

    evaluation = evaluate(
        predictor,
        read(),
        model.labels.num_classes,
        batch=batch,
        device=predictor.device,
        seen=measure_boundary if boundary else None,
    )
    line.finish()
    if boundary:
        evaluation.more["boundary_f"] = float(np.nanmean(near)) if np.isfinite(near).any() else float("nan")
    _write_evaluation(evaluation, model, predictor, pictures, folder)
    if isinstance(predictor, Sharpened):
        chosen = (whole[index] for index in spread(len(whole), SHOWN_PICTURES))
        effect_of_updates(
            ((name, pixels, classes, _probability(model, pixels)) for pixels, classes, name in chosen),
            predictor.options,
            model.labels,
            folder / PICTURE,
        )
    return evaluation


def open_run_split(run: str | Path, model: Model, split: str, data: str = "", root: str = "") -> DataSet:
    """A split of the data that a run was trained on, or of other data with the same classes."""
    where = _data_of(Path(run), data, root)
    pictures = open_split(where.name, where.root, split, model.labels)
    if pictures.labels.num_classes != model.labels.num_classes:
        raise ModelError(
            f"{run}: the model knows {model.labels.num_classes} classes, {where.name} has "
            f"{pictures.labels.num_classes}; train with --init {run} to carry it over"
        )
    return pictures


def _predictor(
    run: str | Path, model: Model, crf: Mapping[str, Any] | None, line: ProgressLine
) -> Predictor | Sharpened:
    """The model's predictor, behind the CRF if it is asked for; says which parameters that has."""
    if crf is None:
        return model.predictor()
    options = crf_options(run, crf)
    sharpened = Sharpened(model.predictor(), options)
    line.say(
        f"CRF: {described(options)} (from {' and '.join([source_of_options(run), *(['--crf.*'] if crf else [])])})"
    )
    return sharpened


def _probability(model: Model, pixels: np.ndarray) -> torch.Tensor:
    """(H, W, C) -> (K, H, W), without the CRF."""
    return model.predictor().probabilities(as_batch([pixels]))[0]


def _data_of(run: Path, data: str, root: str) -> DataOptions:
    """The data that a run was trained on, or what is asked for instead."""
    if data:
        return DataOptions(name=data, root=root)
    if not (run / "recipe.toml").is_file():
        raise ModelError(f"{run}: has no recipe.toml to tell its data; say --data")
    known = recipes.read(run / "recipe.toml").data
    return replace(known, root=root) if root else known


def _write_evaluation(
    evaluation: Evaluation, model: Model, predictor: Predictor | Sharpened, pictures: DataSet, folder: Path
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    labels = model.labels
    rows = evaluation.class_rows(labels)
    summary = evaluation.summary()
    write_text(folder / "classes.csv", to_csv(rows))
    write_text(folder / "classes.md", report.markdown_table(rows, evaluation.numbers()))
    write_text(folder / "pictures.csv", to_csv([vars(one) for one in worst_first(evaluation.pictures)]))
    write_json(
        folder / "metrics.json",
        {
            **evaluation.numbers(),
            "classes_averaged": summary.classes,
            "absent": [labels.classes[index] for index in summary.absent],
            "pictures": len(evaluation.pictures),
            "confusion": evaluation.table.tolist(),
        },
    )
    report.confusion_picture(evaluation.table.cpu().numpy(), labels, folder / "confusion.png")
    places = {pictures.name(index): index for index in range(len(pictures))}
    worst = [places[one.name] for one in worst_first(evaluation.pictures)[:WORST]]
    report.predictions_picture([_panel(predictor, pictures, index) for index in worst], labels, folder / "worst.png")


def _panel(predictor: Predictor | Sharpened, pictures: DataSet, index: int) -> report.Panel:
    pixels = pictures.image(index)
    predicted = predictor.labels(as_batch([pixels]))[0].to(torch.uint8).cpu().numpy()
    return report.Panel(pictures.name(index), viewable(pixels), pictures.target(index), predicted)


def to_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as CSV; numbers in full, undefined ones empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {key: "" if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}
        )
    return text.getvalue()


@dataclass(frozen=True)
class Predicted:
    """How many pictures were predicted, and the lines that say what was wrong with the others."""

    done: int
    failed: tuple[str, ...]


def find_pictures(inputs: Sequence[str]) -> list[tuple[Path, Path]]:
    """Files, folders and globs -> (picture, its place below the output folder, without suffix).

    A folder's pictures keep their place in it. Raises DataError for an input that names nothing, and for two pictures
    that would be written to one place.
    """
    found: list[tuple[Path, Path]] = []
    for given in inputs:
        path = Path(given).expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            if not inside:
                raise DataError(f"{given}: holds no pictures ({', '.join(IMAGE_SUFFIXES)})")
            found += [(p, p.relative_to(path).with_suffix("")) for p in inside]
        elif path.is_file():
            found.append((path, Path(path.stem)))
        else:
            parent = Path(path.anchor) if path.is_absolute() else Path()
            matches = (
                sorted(p for p in parent.glob(str(path.relative_to(parent))) if p.is_file()) if "*" in given else []
            )
            if not matches:
                raise DataError(f"{given}: there is no such picture, folder or pattern of pictures")
            found += [(p, Path(p.stem)) for p in matches]
    places: dict[Path, Path] = {}
    for picture, place in found:
        if place in places and places[place] != picture:
            raise DataError(f"{picture} and {places[place]}: both would be written to {place}.png; predict them apart")
        places[place] = picture
    return [(picture, place) for place, picture in places.items()]


def predict_files(
    run: str | Path,
    inputs: Sequence[str],
    *,
    out: str = "masks",
    overlays: bool = True,
    batch: int = 8,
    device: str = "",
    crf: Mapping[str, Any] | None = None,
) -> Predicted:
    """Segment pictures to OUT/NAME.png (the data's own label values) and OUT/overlays/NAME.jpg.

    crf: sharpen with the dense CRF; options over the best that were found for the run. None for no CRF.
    A picture that cannot be read is told of and left out; the others are predicted all the same.
    """
    model = load(run, device or None)
    pictures = find_pictures(inputs)
    folder = Path(out)
    line = ProgressLine()
    predictor = _predictor(run, model, crf, line)
    failed: list[str] = []
    done = 0

    def read() -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
        for picture, place in pictures:
            try:
                pixels = read_image(picture)
                if pixels.shape[2] != len(model.preprocessing.mean):
                    raise DataError(
                        f"{picture}: has {pixels.shape[2]} channels, where the network takes "
                        f"{len(model.preprocessing.mean)}; take it out, or predict it with a network of its kind"
                    )
                yield pixels, NOTHING, place.as_posix()
            except DataError as error:
                failed.append(str(error))
                line.say(f"segue: {error}")

    for group in same_size(read(), batch):
        images = as_batch([pixels for pixels, _, _ in group])
        for (pixels, _, name), predicted in zip(group, predictor.labels(images), strict=True):
            write_prediction(folder, name, pixels, predicted.to(torch.uint8).cpu().numpy(), model.labels, overlays)
            done += 1
            line.show(f"{bar(done, len(pictures))} {done}/{len(pictures)}  {name}")
    line.finish()
    return Predicted(done, tuple(failed))


NOTHING = np.zeros((0, 0), dtype=np.uint8)


def write_prediction(
    folder: Path, name: str, pixels: np.ndarray, predicted: np.ndarray, labels: Labels, overlays: bool
) -> None:
    """Write one picture's mask and, if wanted, its overlay."""

    def saver(image: Image.Image, kind: str) -> Callable[[Path], None]:
        return lambda temporary: image.save(temporary, kind)

    write_atomically(folder / f"{name}.png", saver(mask_image(predicted, labels), "PNG"))
    if overlays:
        painted = Image.fromarray(overlay(viewable(pixels), predicted, labels))
        write_atomically(folder / "overlays" / f"{name}.jpg", saver(painted, "JPEG"))


def summary_lines(evaluation: Evaluation, labels: Labels) -> str:
    """The table of an evaluation, for the terminal."""
    return report.text_table(evaluation.class_rows(labels), evaluation.numbers())
