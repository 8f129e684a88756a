"""Predicting whole pictures and counting: the confusion matrix of a data set, and that of each picture.

Pictures are evaluated at their own size. Those of one size go through the network together; nothing is padded to make
sizes alike, since padding would change the scores near it (and, through image pooling, everywhere), and a picture's
score would depend on its neighbours in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from segue.evaluation.results import Evaluation, PictureScore
from segue.metrics import confusion
from segue.prediction import as_batch

WholePicture = tuple[np.ndarray, np.ndarray, str]
"""A picture (H, W, C), its classes (H, W) uint8, and its name."""
WithPicture = TypeVar("WithPicture", bound=tuple[Any, ...])


class LabelsOf(Protocol):
    """What evaluation asks of a predictor."""

    def labels(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, H, W) classes."""


class ProbabilitiesOf(Protocol):
    """What evaluation asks of a predictor where confidence is measured."""

    def probabilities(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, K, H, W) float32 that add up to one at each pixel."""


@dataclass(frozen=True)
class Looked:
    """One picture as evaluation saw it.

    pixels: (H, W, C). target, predicted: (H, W) classes on the device. probabilities: (K, H, W) on the device.
    """

    name: str
    pixels: np.ndarray
    target: Tensor
    predicted: Tensor
    probabilities: Tensor | None = None


def evaluate(
    predictor: LabelsOf,
    pictures: Iterable[WholePicture],
    num_classes: int,
    *,
    batch: int = 8,
    device: torch.device | None = None,
    seen: Callable[[Looked], None] | None = None,
) -> Evaluation:
    """Predict each picture at its own size and count.

    seen: called with each one, for pictures of them and for further measures.
    """

    def look(images: Tensor) -> Iterator[tuple[Tensor, None]]:
        for guess in predictor.labels(images):
            yield guess, None

    return _evaluate(look, pictures, num_classes, batch, device, seen)


def evaluate_probabilities(
    predictor: ProbabilitiesOf,
    pictures: Iterable[WholePicture],
    num_classes: int,
    *,
    batch: int = 8,
    device: torch.device | None = None,
    seen: Callable[[Looked], None] | None = None,
) -> Evaluation:
    """As `evaluate`, with the probabilities of what is seen, for calibration and whatever else needs them."""

    def look(images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for probabilities in predictor.probabilities(images):
            yield probabilities.argmax(dim=0), probabilities

    return _evaluate(look, pictures, num_classes, batch, device, seen)


def _evaluate(
    look: Callable[[Tensor], Iterator[tuple[Tensor, Tensor | None]]],
    pictures: Iterable[WholePicture],
    num_classes: int,
    batch: int,
    device: torch.device | None,
    seen: Callable[[Looked], None] | None,
) -> Evaluation:
    device = device or torch.device("cpu")
    evaluation = Evaluation(torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device))
    for group in same_size(pictures, batch):
        looks = look(as_batch([pixels for pixels, _, _ in group]))
        for (pixels, classes, name), (guess, probabilities) in zip(group, looks, strict=True):
            target, guess = torch.from_numpy(np.ascontiguousarray(classes)).to(device), guess.to(device)
            table = confusion(guess, target, num_classes)
            evaluation.table += table
            evaluation.pictures.append(PictureScore.of(name, table))
            if seen is not None:
                seen(Looked(name, pixels, target, guess, probabilities))
    return evaluation


def same_size(pictures: Iterable[WithPicture], batch: int) -> Iterator[list[WithPicture]]:
    """Groups of at most `batch` pictures of one size, each picture in exactly one; memory holds a group per size.

    pictures: tuples that begin with a picture (H, W, C).
    """
    waiting: dict[tuple[int, ...], list[WithPicture]] = {}
    for picture in pictures:
        group = waiting.setdefault(picture[0].shape, [])
        group.append(picture)
        if len(group) == batch:
            yield waiting.pop(picture[0].shape)
        elif len(waiting) > MOST_SIZES:
            yield waiting.pop(max(waiting, key=lambda size: len(waiting[size])))
    yield from waiting.values()


MOST_SIZES = 8  # pictures of so many sizes wait for others of their size, before the fullest group goes on its way
