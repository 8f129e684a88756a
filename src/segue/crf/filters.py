"""The kernels of one picture as filters on the permutohedral lattice, and their normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.crf.kernels import Normalization
from segue.crf.permutohedral import Lattice, Piece, build_lattice


class Response(NamedTuple):
    """A kernel on a picture, before its normalisation: what the picture and the deviations alone decide."""

    lattice: Lattice
    norm: Tensor  # (N,): n_i = sum_j k(i, j)

    def normalised(self, normalization: Normalization, transposed: bool = False) -> Lattice:
        """The filter, with the factors of its normalisation in the weights.

        The transposed filter takes gradients back: the factors before and after it change places, since `slice` and
        `splat` are each other's transpose, and the blur runs backwards.
        """
        norm = self.norm + 1e-20
        before = {"symmetric": norm.rsqrt(), "before": norm.reciprocal()}.get(normalization)
        after = {"symmetric": norm.rsqrt(), "after": norm.reciprocal()}.get(normalization)
        if transposed:
            backwards = self.lattice._replace(blur=self.lattice.blur[::-1])
            return _scaled(backwards, after, before)
        return _scaled(self.lattice, before, after)


def respond(image: Tensor, deviations: Sequence[float], size: int) -> Response:
    """(3, H, W) uint8, and the deviations of x and y, or of x, y, red, green and blue -> the kernel's response.

    size: pixels of a lattice's piece.
    """
    count = image[0].numel()
    lattice = build_lattice(_features(image, deviations), count, size)
    ones = torch.ones(count, 1, device=image.device)
    return Response(lattice, lattice.slice(lattice.blurred(lattice.splat(ones)))[:, 0])


def _features(image: Tensor, deviations: Sequence[float]) -> Tensor:
    """(3, H, W) -> (2 or 5, N or N + 1): position, and colour where it has deviations, in units of its deviation.

    The authors' program takes pixels in fours. Where N is no multiple of four, it fills up with points at the origin.
    They have no value, but their vertices let the blur pass: Q changes by up to 0.1 in pictures of some hundred
    pixels. One such point, black and in the first corner, does what theirs do.
    """
    _, height, width = image.shape
    x = torch.arange(width, dtype=torch.float32, device=image.device).expand(height, width)
    y = torch.arange(height, dtype=torch.float32, device=image.device)[:, None].expand(height, width)
    planes = torch.stack([x, y, *image.float()][: len(deviations)]).view(len(deviations), -1)
    if planes.shape[1] % 4:
        planes = F.pad(planes, (0, 1))
    return planes / torch.tensor(deviations, device=image.device)[:, None]


def _scaled(lattice: Lattice, before: Tensor | None, after: Tensor | None) -> Lattice:
    """Each pixel multiplied by (N,) `before` and `after` the filter."""
    pieces, start = [], 0
    for vertices, splat, slice_ in lattice.pieces:
        points = slice(start, start + len(slice_.offsets) - 1)
        start = points.stop
        if before is not None:
            splat = splat._replace(values=before[points].index_select(0, splat.columns).mul_(splat.values))
        if after is not None:
            values = slice_.values.view(-1, len(slice_.values) // (points.stop - points.start))
            slice_ = slice_._replace(values=(values * after[points, None]).view(-1))
        pieces.append(Piece(vertices, splat, slice_))
    return lattice._replace(pieces=tuple(pieces))
