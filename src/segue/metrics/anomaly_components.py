"""How well anomalies are found as things, not as pixels: sIoU, PPV and F1* of SegmentMeIfYouCan.

Chan et al.: SegmentMeIfYouCan: A Benchmark for Anomaly Segmentation, NeurIPS Datasets and Benchmarks 2021,
arXiv:2104.14812. Components are connected along rows, columns and diagonals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segue.labels import IGNORE
from segue.metrics.components import connected_components

LEVELS = tuple(0.25 + 0.05 * step for step in range(11))
"""Of overlap: F1* is the mean over them."""


@dataclass(frozen=True)
class ComponentScores:
    """The overlaps of one picture: sIoU of each true component, PPV of each predicted one."""

    siou: tuple[float, ...]
    ppv: tuple[float, ...]


@dataclass(frozen=True)
class ComponentSummary:
    """Mean sIoU, mean PPV and F1* of a data set, between 0 and 1; NaN where there is no component to average."""

    siou: float
    ppv: float
    f1: float
    true: int
    predicted: int


def component_scores(
    anomalous: Tensor, target: Tensor, *, least_predicted: int = 500, least_true: int = 100
) -> ComponentScores:
    """(H, W) bool, called anomalous, and (H, W) 0, 1 or `IGNORE` -> the overlaps of the components.

    sIoU of a true component k: |k and H| / |(k or H) less A|, where H are the predicted components that touch k and A
    those of their pixels that lie in other true components. PPV of a predicted one: the share of it that is anomalous.

    least_predicted, least_true: smaller components, in pixels, are left out; true ones become ignored pixels. The
    defaults are those of RoadAnomaly21; RoadObstacle21 has 50 and 10.
    """
    true = _without_small(connected_components(target == 1, diagonal=True), least_true)
    counted = (target != IGNORE) & ((target != 1) | (true > 0))
    found = _without_small(connected_components(anomalous & counted, diagonal=True), least_predicted)
    overlaps = torch.bincount(
        (true * (int(found.max()) + 1) + found).flatten(), minlength=(int(true.max()) + 1) * (int(found.max()) + 1)
    ).view(int(true.max()) + 1, -1)
    overlaps = overlaps.cpu().double()
    sizes, covers = overlaps.sum(dim=0)[1:], overlaps.sum(dim=1)[1:]
    common = overlaps[1:, 1:]
    in_any = common.sum(dim=0)  # of each predicted component: its pixels in true ones
    touching = (common > 0).double()
    hits = common.sum(dim=1)
    elsewhere = touching @ in_any - hits
    siou = hits / (covers + touching @ sizes - hits - elsewhere)
    return ComponentScores(tuple(siou.tolist()), tuple((in_any / sizes).tolist()))


def _without_small(components: Tensor, least: int) -> Tensor:
    """Components of fewer pixels are 0, and the others numbered anew."""
    sizes = components.flatten().bincount()
    kept = sizes >= least
    kept[0] = False
    return (kept.cumsum(dim=0) * kept)[components]


def summarise_components(pictures: Sequence[ComponentScores]) -> ComponentSummary:
    """The components of all pictures together."""
    siou, ppv = (torch.tensor([one for p in pictures for one in getattr(p, name)]).double() for name in ("siou", "ppv"))
    f1 = []
    for level in LEVELS:
        # A whole number of hundredths may be a hair below its level as a float.
        hits = int((siou >= level - 1e-9).sum())
        wrong = len(siou) - hits + int((ppv < level - 1e-9).sum())
        f1.append(2 * hits / (2 * hits + wrong) if hits + wrong else math.nan)
    return ComponentSummary(float(siou.mean()), float(ppv.mean()), sum(f1) / len(f1), len(siou), len(ppv))
