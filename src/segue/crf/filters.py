"""The kernels of one picture, normalised and joined into a single filter, which messages are passed with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.crf.kernels import Normalization
from segue.crf.permutohedral import Lattice, Rows, build_lattice


class Response(NamedTuple):
    """A kernel on a picture, before its normalisation: what the picture and the deviations alone decide."""

    lattice: Lattice
    norm: Tensor  # (N,): n_i = sum_j k(i, j)

    def factors(self, normalization: Normalization) -> tuple[Tensor, Tensor]:
        """What a pixel is multiplied with before and after the filter, (N,) twice."""
        norm = self.norm + 1e-20
        one = torch.ones_like(norm)
        return {
            "symmetric": (norm.rsqrt(), norm.rsqrt()),
            "after": (one, norm.reciprocal()),
            "before": (norm.reciprocal(), one),
            "none": (one, one),
        }[normalization]


def respond(image: Tensor, deviations: Sequence[float]) -> Response:
    """(3, H, W) uint8, and the deviations of x and y, or of x, y, red, green and blue -> the kernel's response."""
    count = image[0].numel()
    lattice = build_lattice(_features(image, deviations), count)
    ones = torch.ones(count, 1, device=image.device)
    return Response(lattice, (lattice.slice @ _blur(lattice.blur, lattice.splat @ ones))[:, 0])


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


class Filters(NamedTuple):
    """All kernels as one product, slice @ blur @ splat; their vertices follow each other in one table of V rows.

    One table means that every pixel is visited once for all kernels, in `splat` and in `slice`.
    """

    splat: Rows  # (V, N)
    blur: tuple[tuple[Rows, ...], ...]  # each kernel's axes, (V_m, V_m), in the order in which they are applied
    slice: Rows  # (N, V), equally many entries in every row

    @property
    def sizes(self) -> list[int]:
        """The number of vertices of each kernel, V_m."""
        return [len(axes[0].offsets) - 1 for axes in self.blur]

    def blurred(self, table: Tensor) -> Tensor:
        """(V, K) -> (V, K)."""
        return torch.cat([_blur(axes, part) for axes, part in zip(self.blur, table.split(self.sizes), strict=True)])


def _blur(axes: Sequence[Rows], values: Tensor) -> Tensor:
    for axis in axes:
        values = axis @ values
    return values


def join(responses: Sequence[Response], normalizations: Sequence[Normalization], transposed: bool = False) -> Filters:
    """One filter out of those of all kernels, with normalisations in its weights.

    The transposed filter takes gradients back: `slice` and `splat` are each other's transpose, so that the factors
    before and after change places, and the blur runs backwards.
    """
    columns, offsets, values, corners, weights = [], [], [], [], []
    entries = vertices = 0
    for response, normalization in zip(responses, normalizations, strict=True):
        before, after = response.factors(normalization)
        if transposed:
            before, after = after, before
        splat, _, slice_ = response.lattice
        columns.append(splat.columns)
        offsets.append(splat.offsets[:-1] + entries)
        values.append(before.index_select(0, splat.columns).mul_(splat.values))
        corners.append(slice_.columns.view(len(after), -1) + vertices)
        weights.append(slice_.values.view(len(after), -1) * after[:, None])
        entries += len(splat.columns)
        vertices += len(splat.offsets) - 1
    corner, weight = torch.cat(corners, dim=1), torch.cat(weights, dim=1)
    end = torch.tensor([entries], dtype=torch.int32, device=corner.device)
    regular = torch.arange(0, corner.numel() + 1, corner.shape[1], dtype=torch.int32, device=corner.device)
    return Filters(
        Rows(torch.cat(columns), torch.cat([*offsets, end]), torch.cat(values)),
        tuple(response.lattice.blur[:: -1 if transposed else 1] for response in responses),
        Rows(corner.view(-1), regular, weight.view(-1)),
    )
