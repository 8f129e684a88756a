"""Connected components of masks, on whatever device they are."""

from __future__ import annotations

import torch
from torch import Tensor


def connected_components(mask: Tensor, *, diagonal: bool) -> Tensor:
    """(H, W) bool -> (H, W) int64: 1, 2, ... for the components in reading order, 0 outside of the mask.

    diagonal: whether pixels that touch at a corner alone are connected (8 neighbours), or not (4).
    """
    if not bool(mask.any()):
        return torch.zeros(mask.shape, dtype=torch.int64, device=mask.device)
    begins = mask.clone()  # a run of pixels along a row is one node: there are far fewer runs than pixels
    begins[:, 1:] &= ~mask[:, :-1]
    runs = begins.flatten().cumsum(dim=0).view(mask.shape) - 1
    upper, lower = mask[:-1], mask[1:]
    # Where two runs lie one above the other, one pair of them tells it: that in which one of the two begins.
    links = [(upper & lower & (begins[:-1] | begins[1:]), runs[:-1], runs[1:])]
    if diagonal:
        left_upper, right_lower = upper[:, :-1], lower[:, 1:]
        right_upper, left_lower = upper[:, 1:], lower[:, :-1]
        links.append((left_upper & right_lower & ~right_upper & ~left_lower, runs[:-1, :-1], runs[1:, 1:]))
        links.append((right_upper & left_lower & ~left_upper & ~right_lower, runs[:-1, 1:], runs[1:, :-1]))
    ends = [torch.cat([side[where] for where, *sides in links for side in (sides[place],)]) for place in (0, 1)]
    roots = _joined(int(begins.sum()), ends[0], ends[1])
    number = roots.unique(return_inverse=True)[1] + 1
    return number[runs.clamp(min=0)].masked_fill(~mask, 0)


def _joined(nodes: int, first: Tensor, second: Tensor) -> Tensor:
    """The lowest node of each node's component: roots hang themselves below lower ones, and paths are cut short."""
    parents = torch.arange(nodes, device=first.device)
    while len(first):
        low, high = torch.minimum(first, second), torch.maximum(first, second)
        parents.scatter_reduce_(0, high, low, "amin")
        while True:
            grandparents = parents[parents]
            if torch.equal(grandparents, parents):
                break
            parents = grandparents
        first, second = parents[first], parents[second]
        apart = first != second
        first, second = first[apart], second[apart]
    return parents
