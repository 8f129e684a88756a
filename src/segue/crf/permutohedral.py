"""The permutohedral lattice: Gaussian filters over points with many features, in time linear in the points.

A. Adams, J. Baek, M. Davis, Fast High-Dimensional Filtering Using the Permutohedral Lattice, Eurographics 2010.

Filtering N points with d features each is a product of sparse matrices, `slice @ blur[d] @ ... @ blur[0] @ splat`:
every point hands its value to the d + 1 corners of the simplex around it, the V corners in use are blurred along the
d + 1 directions of the lattice, and every point reads its corners again. The matrices depend on the features alone, so
they are built once and used for as many values as one likes.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST_FEATURE = 2.0**17
"""Lattice coordinates are some ten times as large; of the 24 bits of float32 a few must tell neighbours apart."""

# Odd numbers below 2^60 without a pattern: multipliers of a linear hash.
_MULTIPLIERS = (
    0x9E3779B97F4A7C1,
    0xBF58476D1CE4E5B,
    0x94D049BB133111F,
    0xD6E8FEB86659FD9,
    0xC2B2AE3D27D4EB5,
)


class Rows(NamedTuple):
    """A sparse (R, C) matrix, row after row: the form in which `embedding_bag` multiplies it."""

    columns: Tensor  # (entries,) int32
    offsets: Tensor  # (R + 1,) int32; row r owns the entries offsets[r]:offsets[r + 1]
    values: Tensor  # (entries,) float32

    def __matmul__(self, dense: Tensor) -> Tensor:
        """(R, C) @ (C, K) -> (R, K), without gradient."""
        # PyTorch's fastest way to multiply by a sparse matrix on a processor, up to twice as fast as its CSR tensors.
        return F.embedding_bag(
            self.columns,
            dense.detach(),
            self.offsets,
            mode="sum",
            per_sample_weights=self.values,
            include_last_offset=True,
        )


class Lattice(NamedTuple):
    """The three stages of the filter. A kernel's raw response is slice @ blur[-1] @ ... @ blur[0] @ splat."""

    splat: Rows  # (V, N): points to vertices
    blur: tuple[Rows, ...]  # d + 1 of (V, V), each symmetric; their order matters where vertices are missing
    slice: Rows  # (N, V): vertices to points; the transpose of `splat`, d + 1 entries in every row


def build_lattice(features: Tensor, count: int) -> Lattice:
    """The lattice of N = `count` points.

    features: (d, N or more) float32, divided by the deviations: the kernel is exp(-|f_i - f_j|^2 / 2). Points beyond
        the first N have no value; they only put vertices where the blur may pass.
    Raises ValueError where features are so large that float32 cannot place them.
    """
    d, n = features.shape
    device = features.device
    reach = features.abs().amax().item()
    if not reach <= LARGEST_FEATURE:
        raise ValueError(
            f"the picture spans {reach:.3g} deviations, but float32 tells at most {LARGEST_FEATURE:.0f} apart; "
            "raise sxy or srgb"
        )
    cells, orders, weights = _simplices(features)
    # The filter's scale 1 / (1 + 2^-d) is split evenly, so that `slice` is the transpose of `splat`.
    weights *= (1 + 2.0**-d) ** -0.5
    weights[:, count:] = 0
    strides, dtype = _strides(cells)
    base = torch.zeros(n, dtype=dtype, device=device)
    for cell, stride in zip(cells, strides, strict=True):
        base += cell.to(dtype) * stride

    # The coordinates of vertex k leave remainder k when divided by d + 1, so that vertices of different k never
    # coincide. Each k is numbered by itself: sort the codes and count where they change; the sorted points are the
    # rows of `splat`.
    columns = torch.empty(d + 1, n, dtype=torch.int32, device=device)
    values = torch.empty(d + 1, n, device=device)
    vertices = torch.empty(d + 1, n, dtype=torch.int32, device=device)
    changed = torch.ones(n, dtype=torch.bool, device=device)
    codes: list[Tensor] = []
    starts: list[Tensor] = []
    total = 0
    for k, lower in enumerate(_steps_down(strides, dtype, device)):
        code, points = torch.sort(base + lower.index_select(0, orders), stable=True)
        torch.ne(code[1:], code[:-1], out=changed[1:])
        start = changed.nonzero()[:, 0]
        vertices[k].scatter_(0, points, torch.cumsum(changed, 0, dtype=torch.int32).add_(total - 1))
        columns[k].copy_(points)
        torch.index_select(weights[k], 0, columns[k], out=values[k])
        codes.append(code[start])
        starts.append(start.int() + k * n)
        total += len(start)

    end = torch.tensor([(d + 1) * n], dtype=torch.int32, device=device)
    splat = Rows(columns.clamp_(max=count - 1).view(-1), torch.cat([*starts, end]), values.view(-1))
    regular = torch.arange(0, (d + 1) * count + 1, d + 1, dtype=torch.int32, device=device)
    slice_ = Rows(vertices[:, :count].t().reshape(-1), regular, weights[:, :count].t().reshape(-1))
    return Lattice(splat, tuple(_blur(codes, strides, axis) for axis in range(d + 1)), slice_)


def _strides(cells: Tensor) -> tuple[list[int], torch.dtype]:
    """(d, N) -> d factors such that the code sum(cell * factor) differs between cells, and the codes' integer type."""
    low, high = torch.aminmax(cells, dim=1)
    strides, size = [], 1
    # Vertices lie up to one cell lower than the simplex, and their neighbours one more to either side.
    for span in (high - low + 4).tolist():
        strides.append(size)
        size *= span
    if size < 2**30:
        return strides, torch.int32
    if size < 2**62:
        return strides, torch.int64
    # Too many cells to be counted. Codes wrap around instead, as hashes; that two of V vertices share one has a
    # chance of V^2 / 2^65, below 1e-5 for any picture.
    return list(_MULTIPLIERS[: len(strides)]), torch.int64


def _steps_down(strides: list[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """(d + 1, orders): what vertex k's code has less than the simplex's, by the order of the point's coordinates.

    Coordinate i of vertex k is (d + 1) * cell_i + k, less d + 1 where rank_i > d - k (the canonical simplex, p. 4).
    """
    d = len(strides)
    places = (d + 1) ** torch.arange(d)
    ranks = torch.arange((d + 1) ** d) // places[:, None] % (d + 1)  # (d, orders): the digits of an order
    below = ranks > d - torch.arange(d + 1)[:, None, None]  # (d + 1, d, orders)
    return -(below * torch.tensor(strides)[:, None]).sum(1).to(device, dtype)


def _simplices(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(d, N) -> cells (d, N) int32, orders (N,) int32, barycentric weights (d + 1, N) float32.

    (d + 1) * cells are the first d coordinates of the simplex's vertex with remainder 0; an order is the number whose
    digits, in base d + 1, are the ranks of the point's coordinates; weight k belongs to the vertex with remainder k.
    """
    d, n = features.shape
    cells = torch.empty(d, n, dtype=torch.int32, device=features.device)
    orders = torch.empty(n, dtype=torch.int32, device=features.device)
    weights = torch.empty(d + 1, n, device=features.device)
    size = 1 << 15 if features.device.type == "cpu" else n  # some 100 passes over a piece: keep it in the cache
    for i in range(0, n, size):
        piece = slice(i, min(i + size, n))
        _enclosing(features[:, piece], cells[:, piece], orders[piece], weights[:, piece])
    return cells, orders, weights


def _enclosing(features: Tensor, cells: Tensor, orders: Tensor, weights: Tensor) -> None:
    d = len(features)
    # Of the whole filter, in lattice units (p. 6). This and the sums below are rounded to float32 in the order of
    # the authors' program: points on the border of two simplices, which whole pixels often are, then fall to the same
    # side.
    deviation = torch.tensor(math.sqrt(2 / 3) * (d + 1), dtype=torch.float32).item()
    scaled = [features[j] * (deviation / math.sqrt((j + 1) * (j + 2))) for j in range(d)]

    # Onto the plane where d + 1 coordinates sum to zero (p. 5). Sums run from the last feature to the first.
    elevated = torch.empty(d + 1, features.shape[1], device=features.device)
    total = torch.zeros_like(scaled[0])
    for j in range(d, 0, -1):
        torch.sub(total, j * scaled[j - 1], out=elevated[j])
        total = total + scaled[j - 1]
    elevated[0] = total

    nearest = torch.round(elevated * (1 / (d + 1)))
    excess = nearest.sum(0).to(torch.int8)
    rest = elevated - nearest * (d + 1)
    rank = torch.zeros(d + 1, features.shape[1], dtype=torch.int8, device=features.device)
    for i, j in combinations(range(d + 1), 2):
        less = (rest[i] < rest[j]).view(torch.int8)
        rank[i] += less
        rank[j] += 1 - less

    # Rounding left the plane by `excess` steps: move the coordinates that rounding moved most.
    rank += excess
    wrap = (rank < 0).view(torch.int8) - (rank > d).view(torch.int8)
    rank += wrap * (d + 1)
    nearest += wrap
    cells.copy_(nearest[:d])

    orders.zero_()
    for i in range(d):
        orders.add_(rank[i], alpha=(d + 1) ** i)

    # Barycentric weights are the differences of neighbours in the falling order (p. 10).
    rest = (elevated - nearest * (d + 1)) * (1 / (d + 1))
    falling = list(rest.unbind())
    for i, j in combinations(range(d + 1), 2):
        falling[i], falling[j] = torch.maximum(falling[i], falling[j]), torch.minimum(falling[i], falling[j])
    torch.add(falling[d], 1 - falling[0], out=weights[0])
    for k in range(1, d + 1):
        torch.sub(falling[d - k], falling[d - k + 1], out=weights[k])


def _blur(codes: list[Tensor], strides: list[int], axis: int) -> Rows:
    """Direction `axis`: every vertex takes half of either neighbour, those at +-(1, ..., 1, -d, 1, ..., 1)."""
    d = len(strides)
    device = codes[0].device
    starts = [0, *torch.cumsum(torch.tensor([len(code) for code in codes]), 0).tolist()]
    stride = strides[axis] if axis < d else 0
    near = torch.full((starts[-1], 3), -1, dtype=torch.int32, device=device)
    near[:, 0] = torch.arange(starts[-1], dtype=torch.int32, device=device)
    for k in range(d + 1):
        # From remainder d one comes to remainder 0 of the next cell in every coordinate but `axis`, whose cell stays;
        # from any other, cells stay and that of `axis` falls by one.
        following = (k + 1) % (d + 1)
        wanted = codes[k] - stride + (sum(strides) if k == d else 0)
        found = torch.searchsorted(codes[following], wanted, out_int32=True).clamp_(max=len(codes[following]) - 1)
        hit = codes[following][found] == wanted
        here = (hit.nonzero()[:, 0] + starts[k]).int()
        there = found[hit] + starts[following]
        near[here, 1] = there
        near[there, 2] = here
    present = near >= 0
    halves = torch.tensor([1.0, 0.5, 0.5], device=device).expand(near.shape)
    offsets = torch.zeros(len(near) + 1, dtype=torch.int32, device=device)
    torch.cumsum(present.sum(1), 0, out=offsets[1:])
    return Rows(near[present], offsets, halves[present])
