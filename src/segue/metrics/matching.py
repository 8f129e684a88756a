"""One-to-one matching of the pixels of two maps, as many as can be, by searches that run in parallel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Neighbours:
    """Which of their pixels each of our N pixels may be matched with.

    Those of pixel n are theirs[first[n] : first[n + 1]]. first: (N + 1,) int64. theirs: (E,) int64, nearest first.
    """

    first: Tensor
    theirs: Tensor

    def of(self, ours: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) of our pixels -> (e,) twice: ours and theirs of each pair that may be matched."""
        counts = self.first[ours + 1] - self.first[ours]
        repeated = ours.repeat_interleave(counts)
        within = torch.arange(len(repeated), device=ours.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        return repeated, self.theirs[self.first[repeated] + within]


def matched(ours: Tensor, theirs: Tensor, radius: float) -> Tensor:
    """(n, H, W) bool twice -> (n,) int64: the most pairs of a pixel of each map that lie at most `radius` apart.

    A pixel is in one pair at most. The matching is exactly maximal: a greedy one, nearest pairs first, and then
    alternating paths from all pixels that are left over at once, until no such path ends at a free pixel.
    """
    places = ours.nonzero()
    mates = torch.full((len(places),), -1, dtype=torch.int64, device=ours.device)
    others = torch.full((int(theirs.sum()),), -1, dtype=torch.int64, device=ours.device)
    neighbours = _match_greedily(places, theirs, radius, mates, others)
    while _augment(neighbours, mates, others):
        pass
    return torch.bincount(places[mates >= 0, 0], minlength=len(ours))


def _match_greedily(places: Tensor, theirs: Tensor, radius: float, mates: Tensor, others: Tensor) -> Neighbours:
    """Match what is nearest, one offset after the other, and return all the pairs that there may be.

    No two of our pixels have the same neighbour at one offset. places: (N, 3), where our pixels are.
    """
    reach = int(radius)
    steps = range(-reach, reach + 1)
    offsets = [(down, right) for down in steps for right in steps if math.hypot(down, right) <= radius]
    numbers = torch.full(theirs.shape, -1, dtype=torch.int64, device=theirs.device)
    numbers[theirs] = torch.arange(len(others), device=theirs.device)
    padded = F.pad(numbers, (reach, reach, reach, reach), value=-1)
    plane, wide = padded.shape[1] * padded.shape[2], padded.shape[2]
    flat = padded.flatten()
    centres = places[:, 0] * plane + (places[:, 1] + reach) * wide + places[:, 2] + reach
    pairs = []
    for down, right in sorted(offsets, key=lambda offset: math.hypot(*offset)):
        found = flat[centres + (down * wide + right)]
        one = (found >= 0).nonzero().flatten()
        other = found[one]
        pairs.append((one, other))
        free = (mates[one] < 0) & (others[other] < 0)
        mates[one[free]], others[other[free]] = other[free], one[free]
    one, other = (torch.cat(side) for side in zip(*pairs, strict=True))
    order = one.argsort(stable=True)
    counts = one.bincount(minlength=len(places))
    return Neighbours(F.pad(counts.cumsum(dim=0), (1, 0)), other[order])


def _augment(neighbours: Neighbours, mates: Tensor, others: Tensor) -> bool:
    """Grow a tree of alternating paths from each of our free pixels, side by side, and swap along one path of each.

    A path is swapped where it reached a free pixel of theirs. False if none did: then there is no larger matching
    (Berge's theorem).
    """
    frontier = (mates < 0).nonzero().flatten()
    roots = torch.full_like(mates, -1)
    roots[frontier] = frontier
    parents = torch.full_like(others, -1)  # of their pixels: ours that reached it first
    ends = torch.full_like(mates, -1)  # of our free pixels: theirs that its tree reached
    while len(frontier):
        ours, theirs = neighbours.of(frontier)
        new = parents[theirs] < 0
        ours, theirs = ours[new], theirs[new]
        parents[theirs] = ours  # where several reach the same one, one stays
        first = parents[theirs] == ours
        ours, theirs = ours[first], theirs[first]
        free = others[theirs] < 0
        ends[roots[ours[free]]] = theirs[free]
        frontier = others[theirs[~free]]
        roots[frontier] = roots[ours[~free]]
        frontier = frontier[ends[roots[frontier]] < 0]  # a tree that has reached one need not grow
    path = ends[ends >= 0]
    found = len(path) > 0
    while len(path):  # trees share no pixel, so the paths of all of them are swapped at once
        ours = parents[path]
        before = mates[ours]
        mates[ours], others[path] = path, ours
        path = before[before >= 0]
    return found
