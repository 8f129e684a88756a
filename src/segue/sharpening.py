"""The dense CRF on a run's predictions: which parameters are used, and what each update changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue import report
from segue.crf import dense_crf_steps
from segue.errors import SegueError
from segue.labels import Labels
from segue.metrics import confusion, summarise
from segue.options import CRFOptions
from segue.prediction import crf_kernels

FOLDER, BEST, PICTURE = "crf", "best.json", "iterations.png"
SHOWN_AFTER = (0, 1, 2, 5, 10)  # updates
SHOWN_PICTURES = 3


class SharpeningError(SegueError, ValueError):
    """A file of CRF parameters cannot be used; the message names it and the mend."""


def crf_options(run: str | Path, given: Mapping[str, Any]) -> CRFOptions:
    """What is given, over the best that `segue tune-crf` found for the run, over the defaults."""
    return replace(_found(Path(run) / FOLDER / BEST), **given)


def source_of_options(run: str | Path) -> str:
    """Where the parameters that are not given come from, in words."""
    best = Path(run) / FOLDER / BEST
    return str(best) if best.is_file() else "the defaults"


def _found(path: Path) -> CRFOptions:
    if not path.is_file():
        return CRFOptions()
    try:
        known = json.loads(path.read_text(encoding="utf-8"))["crf"]
        return CRFOptions(**known)
    except (ValueError, KeyError, TypeError) as error:
        raise SharpeningError(
            f"{path}: is not what `segue tune-crf` writes ({error}); run it again, or delete the file"
        ) from error


def announced(run: str | Path, options: CRFOptions, *, changed: bool) -> str:
    """A line that says which parameters are used and where they come from; changed: some were given."""
    sources = [source_of_options(run), *(["--crf.*"] if changed else [])]
    return f"CRF: {described(options)} (from {' and '.join(sources)})"


def described(options: CRFOptions) -> str:
    """Every parameter by name, on one line."""
    values = asdict(options)
    return ", ".join(f"{one.name} {_plain(values[one.name])}" for one in fields(options))


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of `count` indices, evenly apart; all of them where there are not so many."""
    wanted = min(count, wanted)
    return [index * count // wanted for index in range(wanted)]


def effect_of_updates(
    pictures: Iterable[tuple[str, np.ndarray, np.ndarray, Tensor]], options: CRFOptions, labels: Labels, path: Path
) -> list[float]:
    """Draw what the updates change, and return the mean IoU of these pictures after 0, 1, ... of them.

    pictures: (name, picture (H, W, 3) uint8, classes (H, W) uint8, probabilities (K, H, W)) of each.
    """
    tables = torch.zeros(options.iterations + 1, labels.num_classes, labels.num_classes, dtype=torch.int64)
    samples = []
    for name, pixels, classes, probability in pictures:
        image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1).to(probability.device)
        target = torch.from_numpy(np.array(classes))
        shown = {}
        with torch.inference_mode():
            steps = dense_crf_steps(probability[None], image[None], *crf_kernels(options), options.iterations)
            for count, marginals in enumerate(steps):
                predicted = marginals[0].argmax(dim=0).cpu()
                tables[count] += confusion(predicted, target, labels.num_classes)
                if count in SHOWN_AFTER:
                    shown[count] = predicted.to(torch.uint8).numpy()
        samples.append(report.Sharpening(name, pixels, classes, shown))
    miou = [summarise(table).miou for table in tables]
    if samples:
        report.iterations_picture(samples, miou, labels, path)
    return miou
