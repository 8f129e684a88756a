"""Border labels out of segmentation labels, as DFN's Border Network is trained on them, made where the labels are.

The rule is that of the authors' code (ycszen/TorchSeg): OpenCV's Canny on the picture of class numbers, with a 7x7
aperture and both thresholds 5, dilated by a 7x7 square. What is here equals OpenCV pixel by pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from segue.labels import IGNORE

REACH = 3  # pixels from the centre of a 7x7 square to its rim
SMALL = 52  # classes whose gradients, up to 640 times the largest class number, fit into 16 bits


def border_labels(target: Tensor, num_classes: int = IGNORE, *, void_borders: bool = False) -> Tensor:
    """Where classes meet: labels (B, H, W) of 0..num_classes-1 and `IGNORE` -> (B, H, W) uint8, 1 on borders, else 0.

    A straight border is 7 pixels wide, 4 of them on its left or upper side. Pixels without a label have no class, and
    an edge that was found with one of them in its aperture may be no more than the outline of a void or of padding:
    both are `IGNORE`, the edge in its whole width. With `void_borders` they are class 0 instead, as in the authors'
    code: void has a border to whatever is not class 0, and no pixel is left out.

    num_classes: up to 52, the arithmetic takes 16 bits and half the time; labels must then be below it.
    """
    # Only differences count, so every class number may be one higher. In 8 bits that makes IGNORE a 0, class 0 a 1.
    ids = target.to(torch.uint8).add_(1).clamp_(min=1)
    edges = canny(ids.to(torch.int16 if num_classes <= SMALL else torch.int32))
    if void_borders:
        return dilate(edges)
    void = (target == IGNORE).to(torch.uint8)
    # One dilation serves both kinds of edges: bit 0 stands for sound ones, bit 1 for those beside void.
    bands = dilate(edges << dilate(void))
    return (bands & 1).masked_fill_((bands == 2) | void.bool(), IGNORE)


def dilate(marks: Tensor) -> Tensor:
    """(B, H, W) of integers -> the bits of all pixels in the 7x7 square around each, joined."""
    for dim in (-2, -1):
        rim = torch.zeros_like(marks.narrow(dim, 0, 1))
        marks = _extend(marks, dim, rim, rim)
        for step in (1, 2, 3):  # joins 2, then 4, then 7 neighbours
            marks = _shifted(marks, dim, 0, step) | _shifted(marks, dim, step, step)
    return marks


def canny(ids: Tensor) -> Tensor:
    """OpenCV's `Canny(ids, 5, 5, apertureSize=7)`: (B, H, W) of signed integers -> (B, H, W) uint8, 1 on edges.

    At this aperture OpenCV divides gradients and thresholds by 16, and rounds the thresholds down, here to 0: any
    gradient passes, and an edge is where it is the largest along its own direction. All in integers of one size and
    mostly in place: comparisons and choices between types cost a processor several times what arithmetic does.
    """
    dx, dy = _gradient(ids)
    # -1 where the signs differ, else 0; so are all masks below.
    falling = (dx ^ dy).clamp_(-1, 0)
    x, y = _sixteenth(dx.abs_()), _sixteenth(dy.abs_())
    height, width = x.shape[-2:]
    framed = x.new_zeros(*x.shape[:-2], height + 2, width + 2)  # beyond the picture, there is no gradient
    magnitude = framed[..., 1:-1, 1:-1].copy_(x).add_(y)  # L1
    # The gradient lies along x up to 22.5 degrees, along y from 67.5. OpenCV's tangents are t = 13573 / 2^15 and
    # 2 + t; floor(t x), which is what integers need, comes in steps that keep within 16 bits.
    tangent = x * 5
    tangent.bitwise_right_shift_(8).add_(x).bitwise_right_shift_(2).add_(x, alpha=13).bitwise_right_shift_(5)
    not_along_x = tangent.sub_(y)
    along_y = torch.add(not_along_x, x, alpha=2).clamp_(-1, 0)
    not_along_x.clamp_(-1, 0)

    def neighbour(maps: Tensor, down: int, right: int) -> Tensor:
        return maps[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    # What an edge has to exceed. Of equals along x or y the first one is the edge; along a diagonal, none.
    less = framed - 1
    rival = torch.maximum(neighbour(framed, -1, -1), neighbour(framed, 1, 1))
    rising = torch.maximum(neighbour(framed, -1, 1), neighbour(framed, 1, -1))
    rival = _choose(falling, rising, rival)
    rival = _choose(along_y, torch.maximum(neighbour(framed, -1, 0), neighbour(less, 1, 0)), rival)
    rival = _choose(not_along_x, rival, torch.maximum(neighbour(framed, 0, -1), neighbour(less, 0, 1)))
    return rival.lt_(magnitude).to(torch.uint8)


def _gradient(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel's 7x7 derivatives along x and y, the rim of the picture continued.

    Both kernels are made of sums of two neighbours: [1 6 15 20 15 6 1] of six such sums, [-1 -4 -5 0 5 4 1] of five and
    a difference. The five that both have in each direction are taken once.
    """
    for dim in (-2, -1):
        ids = _extend(ids, dim, ids.narrow(dim, 0, 1), ids.narrow(dim, -1, 1))
        for _ in range(5):
            ids = _shifted(ids, dim, 0, 1) + _shifted(ids, dim, 1, 1)
    total = ids[..., 1:, :] + ids[..., :-1, :]
    difference = ids[..., 1:, :] - ids[..., :-1, :]
    return total[..., 1:] - total[..., :-1], difference[..., 1:] + difference[..., :-1]


def _sixteenth(values: Tensor) -> Tensor:
    """A sixteenth, in place, halves to the even neighbour."""
    values += (values >> 4).bitwise_and_(1).add_(7)
    return values.bitwise_right_shift_(4)


def _choose(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """`yes`, in its place, where the mask is -1, `no` where it is 0."""
    return yes.bitwise_xor_(no).bitwise_and_(mask).bitwise_xor_(no)


def _extend(maps: Tensor, dim: int, before: Tensor, after: Tensor) -> Tensor:
    """Repeat a row or column `REACH` times on both sides."""
    shape = list(maps.shape)
    shape[dim] = REACH
    return torch.cat([before.expand(shape), maps, after.expand(shape)], dim=dim)


def _shifted(maps: Tensor, dim: int, start: int, shorter: int) -> Tensor:
    return maps.narrow(dim, start, maps.shape[dim] - shorter)
