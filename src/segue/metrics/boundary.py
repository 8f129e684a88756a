"""Measures of boundaries: F-measures of two kinds, Boundary IoU, and counts within bands along the true borders.

A pixel is on a class's boundary when exactly one is of the class: it, or any of its right, lower, and lower right
neighbours (BSDS's `seg2bdry`: one pixel thick; the picture's edge is no boundary).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.labels import IGNORE
from segue.metrics.matching import matched

TOLERANCE = 0.0075
"""Of a picture's diagonal: how far apart two boundaries may lie and still agree, as in SegNet's and BSDS's programs."""

BAND = 0.02
"""Of a picture's diagonal: the width of Boundary IoU's bands, as its authors take for COCO and LVIS."""

AT_A_TIME = 1 << 23  # pixels of classes' maps that are in memory together


def boundary_f(predicted: Tensor, target: Tensor, num_classes: int, tolerance: float | None = None) -> Tensor:
    """(B, H, W) integers twice -> (B, K) float64: the boundary F-measure of each picture and class, by distance.

    Precision is the share of predicted boundary pixels within `tolerance` pixels (Euclidean) of any true one, recall
    the share of true ones so near to any predicted one, and F = 2 PR / (P + R) (Csurka et al., BMVC 2013). This is the
    distance-transform variant, which lets many pixels agree with the same one; `segnet_boundary_f` matches them one to
    one, which gives lower numbers: do not compare the two. A class with a boundary in truth or prediction alone has
    F = 0, one with a boundary in neither NaN.

    Where the target is `IGNORE` on either side, no boundary is counted, in truth or prediction.

    tolerance: in pixels; 0.0075 of the diagonal by default. Raises ValueError when sizes differ.
    """
    _check(predicted, target)
    tolerance = _in_pixels(target, TOLERANCE) if tolerance is None else tolerance
    scores = torch.full((len(target), num_classes), math.nan, dtype=torch.float64)
    for one, (guess, true) in zip(scores, zip(predicted, target, strict=True), strict=True):
        counted = true != IGNORE
        for some in _present(guess, true, num_classes):
            truth, guessed = _boundaries(true, counted, some), _boundaries(guess, counted, some)
            precision, recall = _share_near(guessed, truth, tolerance), _share_near(truth, guessed, tolerance)
            agreed = 2 * precision * recall / (precision + recall).clamp(min=1e-300)
            one[some.cpu()] = agreed.masked_fill(~(truth | guessed).flatten(1).any(dim=1).cpu(), math.nan)
    return scores


def segnet_boundary_f(predicted: Tensor, target: Tensor, num_classes: int, tolerance: float | None = None) -> Tensor:
    """(B, H, W) integers twice -> (B, K) float64: the boundary F-measure as SegNet's program computes it.

    Predicted and true boundary pixels at most `tolerance` pixels apart are matched one to one, as many as can be;
    precision is the share of predicted ones that are matched, recall that of true ones, so F = 2 matched / (predicted
    + true). `IGNORE` is nothing special: borders to it are boundaries (Badrinarayanan et al., arXiv:1511.00561, and
    `computeBFmeasure.m` in alexgkendall/SegNet-Tutorial, by way of BSDS's `correspondPixels`). NaN for a class without
    a boundary in truth and prediction. A picture's measure is the mean of the others, or 0 if there is none.
    """
    _check(predicted, target)
    tolerance = _in_pixels(target, TOLERANCE) if tolerance is None else tolerance
    scores = torch.full((len(target), num_classes), math.nan, dtype=torch.float64)
    for one, (guess, true) in zip(scores, zip(predicted, target, strict=True), strict=True):
        everywhere = torch.ones_like(true, dtype=torch.bool)
        for some in _present(guess, true, num_classes):
            truth, guessed = _boundaries(true, everywhere, some), _boundaries(guess, everywhere, some)
            pixels = (truth.flatten(1).sum(dim=1) + guessed.flatten(1).sum(dim=1)).cpu()
            one[some.cpu()] = 2 * matched(guessed, truth, tolerance).cpu().double() / pixels.double()
    return scores


def boundary_iou_counts(predicted: Tensor, target: Tensor, num_classes: int, width: int | None = None) -> Tensor:
    """(H, W) integers twice -> (3, K) int64: pixels common to both bands, in the true one, in the predicted one.

    A class's band holds its pixels from which a pixel outside of it is at most `width` rows and columns away; what lies
    beyond the picture's edge is outside. Boundary IoU is `iou_of` these counts, added up over the data set (Cheng et
    al., CVPR 2021, arXiv:2103.16562, for many classes). Ignored pixels belong to no band, and borders to them make
    none.

    width: 0.02 of the diagonal by default, at least 1.
    """
    _check(predicted[None], target[None])
    width = max(1, round(_in_pixels(target[None], BAND))) if width is None else width
    counted = target != IGNORE
    bands = [_in_band(classes, counted, width) for classes in (target, predicted)]
    common = bands[0] & bands[1] & (target == predicted)
    chosen = (target[common], target[bands[0]], predicted[bands[1]])
    return torch.stack([torch.bincount(classes.long(), minlength=num_classes) for classes in chosen])


def _in_band(classes: Tensor, counted: Tensor, width: int) -> Tensor:
    """(H, W) twice -> (H, W) bool: counted pixels from which one of another class, or the edge, is within `width`.

    All counted pixels of a window are of one class where its lowest class is its highest: one pass for all classes.
    """
    values = classes.to(torch.uint8)
    lowest = IGNORE - _highest((IGNORE - values).masked_fill_(~counted, 0), width)
    highest = _highest(values.masked_fill(~counted, 0), width)
    band = (lowest != highest) & counted
    band[:width], band[-width:], band[:, :width], band[:, -width:] = (
        counted[:width], counted[-width:], counted[:, :width], counted[:, -width:],
    )  # fmt: skip
    return band


def _highest(values: Tensor, reach: int) -> Tensor:
    """(H, W) -> the highest value at most `reach` rows and columns away; each step doubles how far it looks."""
    side = 2 * reach + 1
    highest = F.pad(values, (reach, reach, reach, reach))
    for axis in (0, 1):
        looked = 1
        while looked < side:
            step = min(looked, side - looked)
            kept = highest.shape[axis] - step
            highest = torch.maximum(highest.narrow(axis, 0, kept), highest.narrow(axis, step, kept))
            looked += step
    return highest


WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Of a trimap's bands, in pixels to each side of the border."""


def trimap_counts(predicted: Tensor, target: Tensor, num_classes: int, widths: Sequence[int] = WIDTHS) -> Tensor:
    """(H, W) integers twice -> (W, 3, K) int64: hits, true and predicted pixels of each class, near true borders.

    A band of width w holds the counted pixels whose distance to a pixel beside a border of two classes is below w, so
    that the narrowest holds the pixels on both sides of it. Borders to ignored pixels are none. IoU over growing bands
    tells errors at borders from others (Kohli et al., IJCV 2009).

    widths: in pixels, growing.
    """
    _check(predicted[None], target[None])
    counted = target != IGNORE
    squared = squared_distance(_beside_borders(target, counted)[None], max(widths))[0]
    edges = torch.tensor([width**2 - 1 for width in widths], device=target.device)
    nearest = torch.bucketize(squared[counted].long(), edges)  # the narrowest band that holds each pixel; W for none
    true, guess = target[counted].long(), predicted[counted].long()
    hits = true == guess
    rows = [
        torch.bincount(places * num_classes + classes, minlength=num_classes * (len(widths) + 1))
        for places, classes in ((nearest[hits], true[hits]), (nearest, true), (nearest, guess))
    ]
    within = torch.stack(rows, dim=0).view(3, len(widths) + 1, num_classes)[:, :-1]
    return within.cumsum(dim=1).movedim(0, 1)


def _beside_borders(classes: Tensor, counted: Tensor) -> Tensor:
    """(H, W) twice -> (H, W) bool: pixels with a neighbour in row or column of another class, both counted."""
    beside = torch.zeros_like(counted)
    down = (classes[1:] != classes[:-1]) & counted[1:] & counted[:-1]
    right = (classes[:, 1:] != classes[:, :-1]) & counted[:, 1:] & counted[:, :-1]
    beside[1:] |= down
    beside[:-1] |= down
    beside[:, 1:] |= right
    beside[:, :-1] |= right
    return beside


def _check(predicted: Tensor, target: Tensor) -> None:
    if predicted.shape != target.shape or target.ndim != 3:
        raise ValueError(
            f"predicted is {tuple(predicted.shape)}, target is {tuple(target.shape)}: both must be one (B, H, W)"
        )


def _in_pixels(target: Tensor, share: float) -> float:
    return share * math.hypot(*target.shape[1:])


def _present(predicted: Tensor, target: Tensor, num_classes: int) -> Iterator[Tensor]:
    """The classes of either, so many at a time that their maps fit in memory."""
    found = torch.cat([predicted.reshape(-1), target.reshape(-1)]).unique()
    classes = found[found < num_classes].long()
    yield from classes.split(max(1, AT_A_TIME // target.numel())) if len(classes) else ()


def _boundaries(classes: Tensor, counted: Tensor, which: Tensor) -> Tensor:
    """(H, W) twice, n classes -> (n, H, W) bool: the boundary of each, where the pixels on both sides are counted."""
    inside = classes == which[:, None, None]
    edge = torch.zeros_like(inside)
    height, width = classes.shape
    for down, right in ((0, 1), (1, 0), (1, 1)):
        here = (slice(0, height - down), slice(0, width - right))
        there = (slice(down, None), slice(right, None))
        edge[:, *here] |= (inside[:, *here] != inside[:, *there]) & counted[here] & counted[there]
    return edge


def _share_near(pixels: Tensor, others: Tensor, tolerance: float) -> Tensor:
    """(n, H, W) bool twice -> (n,) float64: the share of `pixels` within `tolerance` of any of `others`, 0 of none."""
    near = squared_distance(others, tolerance) <= tolerance**2
    hits = (pixels & near).flatten(1).sum(dim=1)
    return hits.cpu().double() / pixels.flatten(1).sum(dim=1).clamp(min=1).cpu()


def squared_distance(maps: Tensor, most: float) -> Tensor:
    """(n, H, W) bool -> (n, H, W) integers: squared Euclidean distances to the nearest True, exact up to `most`.

    Beyond `most` they are any number above its square.
    """
    reach = int(most)
    # Least squares along rows, then along columns of what rows gave; 16 bits, where they suffice, are twice as fast.
    kind = torch.int16 if reach < 126 else torch.int32
    squared = torch.full(maps.shape, (reach + 1) ** 2, dtype=kind, device=maps.device).masked_fill_(maps, 0)
    for axis in (2, 1):
        side = maps.shape[axis]
        before = squared.clone()
        for step in range(1, min(reach, side - 1) + 1):
            away = before + step**2
            for target, source in ((step, 0), (0, step)):
                part = squared.narrow(axis, target, side - step)
                torch.minimum(part, away.narrow(axis, source, side - step), out=part)
    return squared
