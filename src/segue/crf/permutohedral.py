"""The permutohedral lattice: Gaussian filters over points with many features, in time linear in the points.

A. Adams, J. Baek, M. Davis, Fast High-Dimensional Filtering Using the Permutohedral Lattice, Eurographics 2010.

Filtering N points with d features each is a product of sparse matrices, `slice @ blur[d] @ ... @ blur[0] @ splat`:
every point hands its value to the d + 1 corners of the simplex around it, the V corners in use are blurred along the
d + 1 directions of the lattice, and every point reads its corners again. The matrices depend on the features alone, so
they are built once and used for as many values as one likes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST_FEATURE = 2.0**17
"""Lattice coordinates are some ten times as large; of the 24 bits of float32 a few must tell neighbours apart."""

BLOCK = 1 << 15
"""Rows of a large product that are computed at a time."""

_REMAINDERS = 8
"""A vertex's code is this times a number of its cell, plus its remainder, which is 5 at most."""

# Odd numbers below 2^56 without a pattern: multipliers of a linear hash.
_MULTIPLIERS = (
    0x9E3779B97F4A7D,
    0xBF58476D1CE4E5,
    0x94D049BB133111,
    0xD6E8FEB86659FD,
    0xC2B2AE3D27D4EB,
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

    def multiply(self, dense: Tensor, room: Tensor) -> Tensor:
        """`self @ dense`, which on a processor is written to `room`, (R, K), where it is large.

        Some megabytes of fresh memory cost more than the product that fills them.
        """
        if room.device.type != "cpu" or len(room) <= BLOCK:
            return self @ dense
        for start in range(0, len(room), BLOCK):
            offsets = self.offsets[start : start + BLOCK + 1]
            entries = slice(*offsets[[0, -1]].tolist())
            block = Rows(self.columns[entries], offsets - offsets[0], self.values[entries])
            room[start : start + BLOCK] = block @ dense
        return room


class Piece(NamedTuple):
    """The part of the lattice that n neighbouring points touch, its P vertices numbered among themselves.

    What a piece reads and writes is small and dense, so that it stays in a processor's cache from one step to the next.
    """

    vertices: Tensor  # (P,) int32: their numbers in the whole lattice
    splat: Rows  # (P, n): points to vertices
    slice: Rows  # (n, P): vertices to points; the transpose of `splat`, d + 1 entries in every row

    def read(self, table: Tensor) -> Tensor:
        """(V, K) -> (n, K)."""
        return self.slice @ table.index_select(0, self.vertices)


class Lattice(NamedTuple):
    """The three stages of the filter. A kernel's raw response is slice @ blur[-1] @ ... @ blur[0] @ splat."""

    pieces: tuple[Piece, ...]
    merge: Rows  # (V, all P): sums what the pieces have in common
    blur: tuple[Rows, ...]  # d + 1 of (V, V), each symmetric; their order matters where vertices are missing

    def splat(self, values: Tensor) -> Tensor:
        """(N, K) -> (V, K)."""
        parts = values.split([len(piece.slice.offsets) - 1 for piece in self.pieces])
        return self.merge @ torch.cat([piece.splat @ part for piece, part in zip(self.pieces, parts, strict=True)])

    def blurred(self, table: Tensor) -> Tensor:
        """(V, K) -> (V, K)."""
        for axis in self.blur:
            table = axis @ table
        return table

    def slice(self, table: Tensor) -> Tensor:
        """(V, K) -> (N, K)."""
        return torch.cat([piece.read(table) for piece in self.pieces])


def build_lattice(features: Tensor, count: int, size: int) -> Lattice:
    """The lattice of N = `count` points, in pieces of `size`.

    features: (d, N or more) float32, divided by the deviations: the kernel is exp(-|f_i - f_j|^2 / 2). Points beyond
        the first N have no value; they only put vertices where the blur may pass.
    Raises ValueError where features are so large that float32 cannot place them.
    """
    d, n = features.shape
    reach = features.abs().amax().item()
    if not reach <= LARGEST_FEATURE:
        raise ValueError(
            f"the picture spans {reach:.3g} deviations, but float32 tells at most {LARGEST_FEATURE:.0f} apart; "
            "raise sxy or srgb"
        )
    starts = range(0, count, size)
    simplices = [_enclosing(features[:, start:end]) for start, end in zip(starts, [*starts[1:], n], strict=True)]
    strides, dtype = _strides([cells for cells, _, _ in simplices])
    corners = _corners(strides, dtype, features.device)
    largest = min(size, count) + n - count
    owners = torch.arange(largest, dtype=torch.int32, device=features.device).repeat_interleave(d + 1)

    # The filter's scale 1 / (1 + 2^-d) is split evenly, so that `slice` is the transpose of `splat`.
    scale = (1 + 2.0**-d) ** -0.5
    codes, parts = [], []
    for start, (cells, orders, weights) in zip(starts, simplices, strict=True):
        base = torch.zeros_like(orders, dtype=dtype)
        for cell, stride in zip(cells, strides, strict=True):
            base.add_(cell, alpha=stride)
        points = corners.index_select(0, orders).add_(base[:, None])
        code, splat, slice_ = _number(points, weights.mul_(scale), owners, min(size, count - start))
        codes.append(code)
        parts.append((splat, slice_))

    # A vertex that several pieces touch is still one vertex.
    together, places = torch.sort(torch.cat(codes), stable=True)
    distinct, numbers, counts = torch.unique_consecutive(together, return_inverse=True, return_counts=True)
    vertices = torch.empty_like(places, dtype=torch.int32).scatter_(0, places, numbers.int())
    merge = Rows(places.int(), _offsets(counts), torch.ones(len(places), device=features.device))
    touched = vertices.split([len(code) for code in codes])
    pieces = tuple(Piece(own, splat, slice_) for own, (splat, slice_) in zip(touched, parts, strict=True))
    return Lattice(pieces, merge, tuple(_blur(distinct, strides, axis) for axis in range(d + 1)))


def _number(codes: Tensor, weights: Tensor, owners: Tensor, count: int) -> tuple[Tensor, Rows, Rows]:
    """The corners of n points, (n, d + 1) codes and weights -> the P distinct codes in order, `splat` and `slice`.

    owners: (n (d + 1) or more,) whose corner each one is. count: points from this one on have no value.
    """
    # Corners that have one code are one vertex: sorted, they are its row of `splat`.
    together, places = torch.sort(codes.view(-1), stable=True)
    distinct, numbers, counts = torch.unique_consecutive(together, return_inverse=True, return_counts=True)
    weights[count:] = 0
    points = owners.index_select(0, places).clamp_(max=count - 1)
    splat = Rows(points, _offsets(counts), weights.view(-1).index_select(0, places))

    width = codes.shape[1]
    columns = torch.empty_like(places, dtype=torch.int32).scatter_(0, places, numbers.int())
    regular = torch.arange(0, width * count + 1, width, dtype=torch.int32, device=codes.device)
    return distinct, splat, Rows(columns[: width * count], regular, weights[:count].view(-1))


def _offsets(counts: Tensor) -> Tensor:
    """Where the rows with so many entries begin, and where the last one ends."""
    return F.pad(torch.cumsum(counts, 0, dtype=torch.int32), (1, 0))


def _strides(cells: Sequence[Tensor]) -> tuple[list[int], torch.dtype]:
    """(d, n) each -> d factors such that the code sum(cell * factor) differs between cells, and the type for codes.

    Codes are multiples of `_REMAINDERS`: below, a vertex's remainder has its place.
    """
    bounds = [torch.aminmax(piece, dim=1) for piece in cells]
    low = torch.stack([bound.min for bound in bounds]).amin(0)
    high = torch.stack([bound.max for bound in bounds]).amax(0)
    strides, size = [], _REMAINDERS
    # Vertices lie up to one cell lower than the simplex, and their neighbours one more to either side.
    for span in (high - low + 4).tolist():
        strides.append(size)
        size *= span
    # A picture need not begin at cell zero, but what wraps around keeps its distance from the others.
    if size < 2**31:
        return strides, torch.int32
    if size < 2**62:
        return strides, torch.int64
    # Too many cells to be counted. Codes wrap around instead, as hashes; that two of V vertices share one has a
    # chance of V^2 / 2^62, below 1e-4 for any picture.
    return [multiplier * _REMAINDERS for multiplier in _MULTIPLIERS[: len(strides)]], torch.int64


def _corners(strides: list[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """(orders, d + 1): what vertex k's code has more than the cell's, by the order of the point's coordinates.

    Coordinate i of vertex k is (d + 1) * cell_i + k, less d + 1 where rank_i > d - k (the canonical simplex, p. 4).
    """
    d = len(strides)
    places = (d + 1) ** torch.arange(d)
    ranks = torch.arange((d + 1) ** d)[:, None] // places % (d + 1)  # (orders, d): the digits of an order
    k = torch.arange(d + 1)
    below = ranks[:, None] > d - k[:, None]  # (orders, d + 1, d)
    return (k - (below * torch.tensor(strides)).sum(2)).to(device, dtype)


def _enclosing(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(d, n) -> cells (d, n) int32, orders (n,) int32, barycentric weights (n, d + 1) float32.

    (d + 1) * cells are the first d coordinates of the simplex's vertex with remainder 0; an order is the number whose
    digits, in base d + 1, are the ranks of the point's coordinates; weight k belongs to the vertex with remainder k.
    """
    d, n = features.shape
    # Of the whole filter, in lattice units (p. 6). This and the sums below are rounded to float32 in the order of
    # the authors' program: points on the border of two simplices, which whole pixels often are, then fall to the same
    # side.
    deviation = torch.tensor(math.sqrt(2 / 3) * (d + 1), dtype=torch.float32).item()
    scaled = [features[j] * (deviation / math.sqrt((j + 1) * (j + 2))) for j in range(d)]

    # Onto the plane where d + 1 coordinates sum to zero (p. 5). Sums run from the last feature to the first.
    elevated = torch.empty(d + 1, n, device=features.device)
    total = torch.zeros_like(scaled[0])
    for j in range(d, 0, -1):
        torch.sub(total, j * scaled[j - 1], out=elevated[j])
        total = total + scaled[j - 1]
    elevated[0] = total

    nearest = torch.round(elevated * (1 / (d + 1)))
    excess = nearest.sum(0).to(torch.int8)
    rest = elevated - nearest * (d + 1)
    # A coordinate's rank is the number of larger ones. Of every pair one counts for the other: begin with the first for
    # the second, which also decides ties.
    rank = torch.arange(d + 1, dtype=torch.int8, device=features.device)[:, None].repeat(1, n)
    for apart in range(1, d + 1):
        less = (rest[:-apart] < rest[apart:]).view(torch.int8)
        rank[:-apart] += less
        rank[apart:] -= less

    # Rounding left the plane by `excess` steps: move the coordinates that rounding moved most.
    rank += excess
    wrap = (rank < 0).view(torch.int8) - (rank > d).view(torch.int8)
    rank.add_(wrap, alpha=d + 1)
    nearest += wrap
    orders = torch.zeros(n, dtype=torch.int32, device=features.device)
    for i in range(d):
        orders.add_(rank[i], alpha=(d + 1) ** i)

    # Barycentric weights are the differences of neighbours in the falling order (p. 10).
    rest = (elevated - nearest * (d + 1)) * (1 / (d + 1))
    falling = list(rest.unbind())
    for i, j in combinations(range(d + 1), 2):
        falling[i], falling[j] = torch.maximum(falling[i], falling[j]), torch.minimum(falling[i], falling[j])
    weights = [falling[d] + (1 - falling[0]), *(falling[d - k] - falling[d - k + 1] for k in range(1, d + 1))]
    return nearest[:d].int(), orders, torch.stack(weights, dim=1)


def _blur(codes: Tensor, strides: list[int], axis: int) -> Rows:
    """Direction `axis`: every vertex takes half of either neighbour, those at +-(1, ..., 1, -d, 1, ..., 1).

    codes: (V,) in order.
    """
    d, count = len(strides), len(codes)
    stride = strides[axis] if axis < d else 0
    # One neighbour has the next remainder, and a cell less in `axis`. After remainder d comes 0 in the next cell.
    last = (codes % _REMAINDERS == d).to(codes.dtype)
    wanted = (codes + (1 - stride)).add_(last, alpha=sum(strides) - (d + 1))
    # Sorted together, a code that is wanted stands right before the one that wants it. This takes half the time of
    # looking each one up.
    together, places = torch.sort(torch.cat([codes, wanted]), stable=True)
    pairs = (together[1:] == together[:-1]).nonzero()[:, 0]
    found = places.index_select(0, pairs)
    seeker = places.index_select(0, pairs + 1).sub_(count)

    # A missing neighbour is the vertex itself, with nothing of it: rows of one length need no counting.
    near = torch.arange(count, dtype=torch.int32, device=codes.device)[:, None].repeat(1, 3)
    shares = torch.zeros(count, 3, device=codes.device)
    shares[:, 0] = 1
    for side, vertex, neighbour in ((1, seeker, found), (2, found, seeker)):
        near[:, side].scatter_(0, vertex, neighbour.int())
        shares[:, side].index_fill_(0, vertex, 0.5)
    regular = torch.arange(0, 3 * count + 1, 3, dtype=torch.int32, device=codes.device)
    return Rows(near.view(-1), regular, shares.view(-1))
