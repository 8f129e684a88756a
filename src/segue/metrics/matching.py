"""One-to-one matching of the pixels of two maps, as many as can be, by searches that run in parallel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def matched(ours: Tensor, theirs: Tensor, radius: float) -> Tensor:
    """(n, H, W) bool twice -> (n,) int64: the most pairs of a pixel of each map that lie at most `radius` apart.

    A pixel is in one pair at most. The matching is exactly maximal: a greedy one, nearest pairs first, and then
    alternating paths from all pixels that are left over at once, until no such path ends at a free pixel.
    """
    neighbours = _neighbours(ours, theirs, radius)
    mates = torch.full((len(neighbours),), -1, dtype=torch.int64, device=ours.device)
    others = torch.full((int(theirs.sum()),), -1, dtype=torch.int64, device=ours.device)
    _match_greedily(neighbours, mates, others)
    while _augment(neighbours, mates, others):
        pass
    picture = ours.nonzero()[:, 0]
    return torch.bincount(picture[mates >= 0], minlength=len(ours))


def _neighbours(ours: Tensor, theirs: Tensor, radius: float) -> Tensor:
    """(N, M) int64: of each of our N pixels, the numbers of theirs within the radius, nearest first; -1 for none."""
    reach = int(radius)
    offsets = [
        (down, right)
        for down in range(-reach, reach + 1)
        for right in range(-reach, reach + 1)
        if math.hypot(down, right) <= radius
    ]
    offsets.sort(key=lambda offset: math.hypot(*offset))
    numbers = torch.full(theirs.shape, -1, dtype=torch.int64, device=theirs.device)
    numbers[theirs] = torch.arange(int(theirs.sum()), device=theirs.device)
    padded = F.pad(numbers, (reach, reach, reach, reach), value=-1)
    place, row, column = ours.nonzero().unbind(dim=1)
    down, right = torch.tensor(offsets, device=ours.device).unbind(dim=1)
    return padded[place[:, None], row[:, None] + down + reach, column[:, None] + right + reach]


def _match_greedily(neighbours: Tensor, mates: Tensor, others: Tensor) -> None:
    """One offset after the other: no two of our pixels have the same neighbour at one offset."""
    for theirs in neighbours.unbind(dim=1):
        ours = ((theirs >= 0) & (mates < 0)).nonzero().flatten()
        ours = ours[others[theirs[ours]] < 0]
        mates[ours] = theirs[ours]
        others[theirs[ours]] = ours


def _augment(neighbours: Tensor, mates: Tensor, others: Tensor) -> bool:
    """Grow a tree of alternating paths from each of our free pixels, side by side; swap along one path of each tree
    that reached a free pixel of theirs. False if none did: then there is no larger matching (Berge's theorem)."""
    frontier = (mates < 0).nonzero().flatten()
    roots = torch.full_like(mates, -1)
    roots[frontier] = frontier
    parents = torch.full_like(others, -1)  # of their pixels: ours that reached it first
    ends = torch.full_like(mates, -1)  # of our free pixels: theirs that its tree reached
    while len(frontier):
        theirs = neighbours[frontier]
        new = (theirs >= 0) & (parents[theirs.clamp(min=0)] < 0)
        ours, theirs = frontier[:, None].expand_as(theirs)[new], theirs[new]
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
