"""Sums over the pixels of each class of features that are coarser than the labels, without enlarging the features.

To sum what lies under each class, a feature map of stride 8 is commonly enlarged to the labels' size first: 1 GiB for
two pictures of 512 x 512 with 512 channels, and every class walks over it. But a bilinearly enlarged feature is a sum
of its four neighbours with weights that depend on the pixel's place alone, so all that is needed can be had from the
map as it is:

- a pixel's dot product with a row is the same weighted sum of its neighbours' dot products with that row;
- its squared norm is the weighted sum of the products of its neighbours with each other;
- the sum over a class's pixels is a sum over the map's cells, each with the weights that its pixels gave it.

This is exact: the same sums in another order.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.labels import IGNORE


class ClassSums(NamedTuple):
    """Sums over the pixels of each class; sums of several pictures, or processes, add up."""

    sums: Tensor  # (K, C), of weight * feature
    weights: Tensor  # (K,), of weight
    counts: Tensor  # (K,), of 1


def class_sums(
    features: Tensor, target: Tensor, num_classes: int, rows: Tensor | None = None, *, align_corners: bool = False
) -> ClassSums:
    """Weighted sums of bilinearly enlarged features over the pixels of each class, in float32.

    features: (B, C, h, w). target: (B, H, W) int64 in 0..K-1, IGNORE left out; of any size.
    rows: (K, C), one vector per class. A pixel weighs 1 - cosine(its feature, its class's row): what is unlike the row
        counts more. Where a row is zero, or without rows, every pixel weighs 1.
    align_corners: of the enlargement.
    """
    device = features.device
    sums = ClassSums(
        torch.zeros(num_classes, features.shape[1], device=device),
        torch.zeros(num_classes, device=device),
        torch.zeros(num_classes, device=device),
    )
    unit = None if rows is None else F.normalize(rows.float(), dim=1)
    for one, labels in zip(features, target, strict=True):  # one picture at a time bounds the memory
        for total, part in zip(
            sums, _sums_of_picture(one.float(), labels, num_classes, unit, align_corners), strict=True
        ):
            total += part
    return sums


def _sums_of_picture(
    features: Tensor, target: Tensor, num_classes: int, unit: Tensor | None, align_corners: bool
) -> ClassSums:
    height, width = features.shape[1:]
    top, down = neighbours(height, target.shape[0], features.device, align_corners)
    left, right = neighbours(width, target.shape[1], features.device, align_corners)
    down, right = down[:, None], right[None, :]
    below, beside = min(height - 1, 1) * width, min(width - 1, 1)  # steps to the next row and the next column
    kept = target != IGNORE
    labels = target.where(kept, 0)

    # Each pixel's place, and below that of its three neighbours, in tables (K, h, w).
    place = ((labels * height + top[:, None]) * width + left).flatten()
    flat = features.flatten(1)
    weight = kept.float()
    counts = torch.zeros(num_classes, device=features.device).index_add_(0, labels.flatten(), weight.flatten())
    if unit is not None:
        products = unit @ flat
        corners = [products.take(place + step).view(labels.shape) for step in (0, beside, below, below + beside)]
        product = enlarge(corners, down, right)
        norm = squared_norms(features, top, down, left, right).clamp(min=1e-16).sqrt()  # as `F.cosine_similarity`
        weight = weight * (1 - product / norm).clamp(min=0)  # only rounding makes it negative

    shares = torch.zeros(num_classes * height * width, device=features.device)
    for row_weight, row_step in ((1 - down, 0), (down, below)):
        for column_weight, column_step in ((1 - right, 0), (right, beside)):
            share = weight * row_weight * column_weight
            shares.index_add_(0, place + (row_step + column_step), share.flatten())
    shares = shares.view(num_classes, -1)
    return ClassSums(shares @ flat.T, shares.sum(dim=1), counts)


def neighbours(cells: int, pixels: int, device: torch.device, align_corners: bool = False) -> tuple[Tensor, Tensor]:
    """Where each of `pixels` lies among `cells` when a row of cells is enlarged linearly.

    Returns the cell before it (int64), and how far it lies towards the next one, in 0..1. The division is between
    integers, so that it is exact for any size: ((2 i + 1) cells - pixels) / (2 pixels), or with corners aligned
    i (cells - 1) / (pixels - 1).
    """
    index = torch.arange(pixels, device=device)
    if align_corners:
        position, unit = index * (cells - 1), max(pixels - 1, 1)
    else:
        position, unit = (2 * index + 1) * cells - pixels, 2 * pixels
        position = position.clamp(0, unit * (cells - 1))  # pixels outside of the outer cells' centres repeat them
    before = position.div(unit, rounding_mode="floor").clamp(max=max(cells - 2, 0))
    return before, (position - before * unit).float() / unit


def enlarge(corners: list[Tensor], down: Tensor, right: Tensor) -> Tensor:
    """A pixel's value from the four cells around it, row by row, and how far down and right it lies among them."""
    here, beside, below, across = corners
    return torch.lerp(torch.lerp(here, beside, right), torch.lerp(below, across, right), down)


def squared_norms(features: Tensor, top: Tensor, down: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """(C, h, w), and each pixel's place among the cells -> (H, W): squared norms of the enlarged features.

    Rows first: |(1 - t) a + t b|^2 = (1 - t)^2 a.a + 2 t (1 - t) a.b + t^2 b.b, and likewise the product of an enlarged
    row's neighbours; then columns.
    """
    upper, lower = features[:, :-1], features[:, 1:]
    own = dot(features, features)
    beside = F.pad(dot(features[..., :-1], features[..., 1:]), (0, 1))  # what is padded has no weight
    below = F.pad(dot(upper, lower), (0, 0, 0, 1))
    crossed = dot(upper[..., :-1], lower[..., 1:]) + dot(upper[..., 1:], lower[..., :-1])
    crossed = F.pad(crossed, (0, 1, 0, 1))

    def squared(here: Tensor, next_one: Tensor, between: Tensor, t: Tensor) -> Tensor:
        return (1 - t) ** 2 * here + 2 * t * (1 - t) * between + t**2 * next_one

    bottom, after = (top + 1).clamp(max=features.shape[1] - 1), (left + 1).clamp(max=features.shape[2] - 1)
    squares = squared(own[top], own[bottom], below[top], down)  # (H, w)
    products = squared(beside[top], beside[bottom], crossed[top] / 2, down)
    return squared(squares[:, left], squares[:, after], products[:, left], right)


def dot(first: Tensor, second: Tensor) -> Tensor:
    """Products of channels, added up: (C, h, w) twice -> (h, w)."""
    return torch.linalg.vecdot(first, second, dim=0)
