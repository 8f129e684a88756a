"""What a run's name stands for when it is applied: which data, and which predictor."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segue import recipe as recipes
from segue.data import DataSet, open_split
from segue.data.held_out import hold_out
from segue.files import read_json
from segue.labels import Labels
from segue.model import WHOLE, Model, ModelError
from segue.options import DataOptions, InferenceOptions
from segue.prediction import Averaged, Predictor, Sharpened
from segue.progress import ProgressLine
from segue.sharpening import announced, crf_options

AnyPredictor = Predictor | Averaged | Sharpened


def open_run_split(run: str | Path, model: Model, split: str, data: str = "", root: str = "") -> DataSet:
    """A split of the data that a run was trained on, or of other data with the same classes."""
    where = data_of(Path(run), data, root)
    whole = _labels_of(Path(run)) if where.hold_out else model.labels
    pictures = hold_out(open_split(where.name, where.root, split, whole), where.hold_out)
    if pictures.labels.num_classes != model.labels.num_classes:
        raise ModelError(
            f"{run}: the model knows {model.labels.num_classes} classes, {where.name} has "
            f"{pictures.labels.num_classes}; train with --init {run} to carry it over"
        )
    if len(pictures):
        model.check(pictures.image(0), f"{where.name}, {pictures.name(0)}")
    return pictures


def data_of(run: Path, data: str, root: str) -> DataOptions:
    """The data that a run was trained on, or what is asked for instead."""
    if data:
        return DataOptions(name=data, root=root)
    if not (run / "recipe.toml").is_file():
        raise ModelError(f"{run}: has no recipe.toml to tell its data; say --data")
    known = recipes.read(run / "recipe.toml").data
    return replace(known, root=root) if root else known


def _labels_of(run: Path) -> Labels | None:
    """What the run's data were taken to be, with the classes that were held out; None where it is not written."""
    path = run / "data.json"
    if not path.is_file():
        return None
    return Labels.from_dict(read_json(path, "delete it, and the data are looked at anew")["labels"])


def predictor_of(
    run: str | Path,
    model: Model,
    line: ProgressLine,
    *,
    inference: InferenceOptions = WHOLE,
    crf: Mapping[str, Any] | None = None,
) -> AnyPredictor:
    """The model's predictor, behind the CRF if it is asked for; says how pictures are looked at.

    crf: options over the best that were found for the run; None for no CRF.
    """
    predictor = model.predictor(inference)
    if not inference.plain:
        line.say(f"inference: {inference.described()}")
    if crf is None:
        return predictor
    options = crf_options(run, crf)
    sharpened = Sharpened(predictor, options)
    line.say(announced(run, options, changed=bool(crf)))
    return sharpened


def to_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as CSV; numbers in full, undefined ones empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {key: "" if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        )
    return text.getvalue()
