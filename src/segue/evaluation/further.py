"""Measures beside IoU, counted picture by picture while a split is evaluated.

Each holds counts whose size does not grow with the pixels, and what several processes counted is added up exactly.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import astuple, fields
from typing import Self

import torch
from torch import Tensor

from segue.evaluation.evaluating import Looked
from segue.metrics import (
    WIDTHS,
    Agreement,
    boundary_f,
    boundary_iou_counts,
    calibration_counts,
    calibration_error,
    iou_of,
    largest_gap,
    membrane_agreement,
    proper_scores,
    segnet_boundary_f,
    trimap_counts,
)
from segue.metrics.calibration import BINS, UNIT
from segue.metrics.membranes import THRESHOLDS


class Measure(ABC):
    """Something that is counted picture by picture."""

    @abstractmethod
    def add(self, one: Looked) -> None:
        """Count one picture."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Add what another process counted in its pictures."""

    @abstractmethod
    def numbers(self) -> dict[str, float]:
        """The measures of the whole split, by name."""


class Boundaries(Measure):
    """Boundary IoU, and counts in growing bands along the true borders, for the trimap curve.

    bands: (3, K) int64, see `boundary_iou_counts`. trimap: (W, 3, K) int64, see `trimap_counts`.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.bands = torch.zeros(3, num_classes, dtype=torch.int64)
        self.trimap = torch.zeros(len(WIDTHS), 3, num_classes, dtype=torch.int64)

    def add(self, one: Looked) -> None:
        self.bands += boundary_iou_counts(one.predicted, one.target, self.num_classes).cpu()
        self.trimap += trimap_counts(one.predicted, one.target, self.num_classes).cpu()

    def merge(self, other: Self) -> None:
        self.bands += other.bands
        self.trimap += other.trimap

    def per_class(self) -> Tensor:
        """(K,) Boundary IoU of each class over the whole split."""
        return iou_of(*self.bands)

    def curve(self) -> Tensor:
        """(W, 2) mean IoU and pixel accuracy within each band."""
        hits, true, guessed = self.trimap.unbind(dim=1)
        accuracy = hits.sum(dim=1).double() / true.sum(dim=1)
        return torch.stack([iou_of(hits, true, guessed).nanmean(dim=1), accuracy], dim=1)

    def numbers(self) -> dict[str, float]:
        return {"boundary_iou": float(self.per_class().nanmean())}


class BoundaryF(Measure):
    """The two boundary F-measures: for each picture the mean over classes, and then the mean over pictures.

    A picture without boundaries has none by distance, and counts as 0 in SegNet's.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.scores: dict[str, tuple[float, float]] = {}

    def add(self, one: Looked) -> None:
        case = (one.predicted[None], one.target[None], self.num_classes)
        matched = float(segnet_boundary_f(*case).nanmean())
        self.scores[one.name] = float(boundary_f(*case).nanmean()), 0.0 if math.isnan(matched) else matched

    def merge(self, other: Self) -> None:
        self.scores |= other.scores

    def numbers(self) -> dict[str, float]:
        # Sums are taken in the order of names, so that they do not depend on who counted what.
        scores = torch.tensor([self.scores[name] for name in sorted(self.scores)], dtype=torch.float64).view(-1, 2)
        return {"boundary_f": float(scores[:, 0].nanmean()), "segnet_boundary_f": float(scores[:, 1].mean())}


class Calibration(Measure):
    """Whether pixels of a confidence are right as often as it says, and the proper scores.

    counts: (3, K, M) int64, see `calibration_counts`. scores: (3,) int64, see `proper_scores`.
    """

    def __init__(self, num_classes: int) -> None:
        self.counts = torch.zeros(3, num_classes, BINS, dtype=torch.int64)
        self.scores = torch.zeros(3, dtype=torch.int64)

    def add(self, one: Looked) -> None:
        assert one.probabilities is not None
        self.counts += calibration_counts(one.probabilities, one.target.to(one.probabilities.device))
        self.scores += proper_scores(one.probabilities, one.target.to(one.probabilities.device))

    def merge(self, other: Self) -> None:
        self.counts += other.counts
        self.scores += other.scores

    def numbers(self) -> dict[str, float]:
        together = self.counts.sum(dim=1)
        pixels, loss, brier = self.scores.double().tolist()
        return {
            "ece": float(calibration_error(together)),
            "mce": float(largest_gap(together)),
            "nll": loss / UNIT / pixels if pixels else math.nan,
            "brier": brier / UNIT / pixels if pixels else math.nan,
        }


class Cells(Measure):
    """V-rand and V-info of the regions of one class, at the best threshold of its probability over all pictures."""

    def __init__(self, label: int) -> None:
        self.label = label
        self.rows: dict[str, list[tuple[float, ...]]] = {}

    def add(self, one: Looked) -> None:
        assert one.probabilities is not None
        truth = one.target.to(one.probabilities.device) == self.label
        cell = one.probabilities[self.label]
        self.rows[one.name] = [astuple(membrane_agreement(cell, truth, threshold)) for threshold in THRESHOLDS]

    def merge(self, other: Self) -> None:
        self.rows |= other.rows

    def by_threshold(self) -> list[Agreement]:
        """The mean over pictures at each of `THRESHOLDS`."""
        rows = torch.tensor([self.rows[name] for name in sorted(self.rows)], dtype=torch.float64)
        means = rows.view(-1, len(THRESHOLDS), len(fields(Agreement))).nanmean(dim=0)
        return [Agreement(*one) for one in means.tolist()]

    def numbers(self) -> dict[str, float]:
        found = self.by_threshold()
        best = {name: max((getattr(one, name) for one in found), default=math.nan) for name in ("rand", "info")}
        return {"v_rand": best["rand"], "v_info": best["info"]}
