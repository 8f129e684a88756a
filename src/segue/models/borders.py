"""Border labels out of segmentation labels, as DFN's Border Network is trained on them, made where the labels are.

The rule is that of the authors' code (ycszen/TorchSeg): OpenCV's Canny on the picture of class numbers, with a 7x7
aperture and both thresholds 5, dilated by a 7x7 square. What is here equals OpenCV pixel by pixel.

A processor spends its time touching memory here, so these are small integers, mostly changed in place, and comparisons,
whose results are of another type, are replaced by arithmetic. OpenCV is faster still: `benchmarks/borders.py` compares.
"""

from __future__ import annotations

import torch
from torch import Tensor

from segue.labels import IGNORE

REACH = 3  # pixels from the centre of a 7x7 square to its rim
SMALL = 52  # classes whose gradients, up to 640 times the largest class number, fit into 16 bits
BAND = 2**17  # pixels that a processor works on at a time, so that what it makes on the way stays in its cache


def border_labels(target: Tensor, num_classes: int = IGNORE, *, void_borders: bool = False) -> Tensor:
    """Where classes meet: labels (B, H, W) of 0..num_classes-1 and `IGNORE` -> (B, H, W) uint8, 1 on borders, else 0.

    A straight border is 7 pixels wide, 4 of them on its left or upper side. Pixels without a label have no class, and
    an edge that was found with one of them in its aperture may be no more than the outline of a void or of padding:
    both are `IGNORE`, the edge in its whole width. With `void_borders` they are class 0 instead, as in the authors'
    code: void has a border to whatever is not class 0, and no pixel is left out.

    num_classes: up to 52, gradients are of 16 bits and take half the time; labels must then be below it.
    """
    ids = target.to(torch.uint8, copy=True).add_(1)  # only differences count; now `IGNORE` is 0 and class 0 is 1
    void = ids == 0
    edges = canny(ids.clamp_(min=1), torch.int16 if num_classes <= SMALL else torch.int32)
    if void_borders:
        return dilate(edges)
    # One dilation serves both kinds of edges: bit 0 stands for sound ones, bit 1 for those beside void.
    bands = dilate(edges.add_(edges & dilate(void.view(torch.uint8))))
    left_out = (bands == 2) | void
    return (bands & 1) | left_out.view(torch.uint8).neg_()  # -1 is 255


def dilate(marks: Tensor) -> Tensor:
    """(B, H, W) of integers -> the bits of all pixels in the 7x7 square around each, joined."""
    for dim in (-2, -1):
        rim = torch.zeros_like(marks.narrow(dim, 0, 1))
        marks = _extend(marks, dim, rim, rim)
        for step in (1, 2, 3):  # joins 2, then 4, then 7 neighbours
            length = marks.shape[dim] - step
            marks = marks.narrow(dim, 0, length) | marks.narrow(dim, step, length)
    return marks


def canny(ids: Tensor, dtype: torch.dtype = torch.int32) -> Tensor:
    """OpenCV's `Canny(ids, 5, 5, apertureSize=7)`: (B, H, W) of integers from 0 to 255 -> (B, H, W) uint8, 1 on edges.

    dtype: in which gradients are counted; int16 where no two numbers are more than 51 apart.
    """
    height, width = ids.shape[-2:]
    ids = _extend(ids, -2, ids[..., :1, :], ids[..., -1:, :])
    if ids.device.type != "cpu":
        return _edges(ids.to(dtype))
    rows = max(1, BAND // width)
    edges = ids.new_empty(ids.shape[0], height, width)
    for picture, out in zip(ids, edges, strict=True):
        for first in range(0, height, rows):
            last = min(first + rows, height)
            # Whether a gradient is the largest is seen in the rows beside it, if there are any.
            above, below = max(first - 1, 0), min(last + 1, height)
            band = picture[None, above : below + 2 * REACH].to(dtype)
            out[first:last] = _edges(band)[0, first - above : last - above]
    return edges


def _edges(ids: Tensor) -> Tensor:
    """Canny's edges of pictures that are continued by `REACH` rows above and below.

    At this aperture OpenCV divides gradients and thresholds by 16, and rounds the thresholds down, here to 0: any
    gradient passes, and an edge is where it is the largest along its own direction.
    """
    dx, dy = _gradient(ids)
    falling = (dx ^ dy).clamp_(-1, 0).to(torch.int16)  # -1 where the signs differ, else 0; so are all masks below
    x, y = _sixteenth(dx), _sixteenth(dy)
    height, width = x.shape[-2:]
    framed = x.new_zeros(*x.shape[:-2], height + 2, width + 2)  # beyond the picture, there is no gradient
    magnitude = framed[..., 1:-1, 1:-1].copy_(x).add_(y)  # L1
    # The gradient lies along x up to 22.5 degrees, and along y from 67.5, whose tangents t and 2 + t OpenCV has in
    # units of 2^-15. Integers y are above t x where they are above what is left of it, rounded down.
    tangent = x.to(torch.int32).mul_(13573).bitwise_right_shift_(15).to(torch.int16)
    not_along_x = tangent.sub_(y)
    along_y = torch.add(not_along_x, x, alpha=2).clamp_(-1, 0)
    not_along_x.clamp_(-1, 0)

    def neighbour(maps: Tensor, down: int, right: int) -> Tensor:
        return maps.narrow(-2, 1 + down, height).narrow(-1, 1 + right, width)

    # What an edge has to exceed. Of equals along x or y the first one is the edge; along a diagonal, none.
    less = framed - 1
    rival = torch.maximum(neighbour(framed, -1, -1), neighbour(framed, 1, 1))
    rising = torch.maximum(neighbour(framed, -1, 1), neighbour(framed, 1, -1))
    rival = _choose(falling, rising, rival)
    rival = _choose(along_y, torch.maximum(neighbour(framed, -1, 0), neighbour(less, 1, 0)), rival)
    rival = _choose(not_along_x, rival, torch.maximum(neighbour(framed, 0, -1), neighbour(less, 0, 1)))
    return rival.lt_(magnitude).to(torch.uint8)


def _gradient(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel's 7x7 derivatives along x and y, the left and right rims of the picture continued.

    Both kernels are made of sums of two neighbours: [1 6 15 20 15 6 1] of six such sums, [-1 -4 -5 0 5 4 1] of five and
    a difference. The five that both have in each direction are taken once.
    """
    for _ in range(5):
        ids = _after(ids, -2) + _before(ids, -2)
    ids = _extend(ids, -1, ids[..., :1], ids[..., -1:])
    for _ in range(5):
        ids = _after(ids, -1) + _before(ids, -1)
    total = _after(ids, -2) + _before(ids, -2)
    difference = _after(ids, -2) - _before(ids, -2)
    return _after(total, -1) - _before(total, -1), _after(difference, -1) + _before(difference, -1)


def _sixteenth(values: Tensor) -> Tensor:
    """A sixteenth of the absolute values, halves rounded to the even neighbour, in 16 bits; changes its argument."""
    values.abs_()
    values += (values >> 4).bitwise_and_(1).add_(7)
    return values.bitwise_right_shift_(4).to(torch.int16)


def _choose(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """`yes`, in its place, where the mask is -1, `no` where it is 0."""
    return yes.bitwise_xor_(no).bitwise_and_(mask).bitwise_xor_(no)


def _extend(maps: Tensor, dim: int, before: Tensor, after: Tensor) -> Tensor:
    """Repeat a row or column `REACH` times on both sides."""
    shape = list(maps.shape)
    shape[dim] = REACH
    return torch.cat([before.expand(shape), maps, after.expand(shape)], dim=dim)


def _before(maps: Tensor, dim: int) -> Tensor:
    return maps.narrow(dim, 0, maps.shape[dim] - 1)


def _after(maps: Tensor, dim: int) -> Tensor:
    return maps.narrow(dim, 1, maps.shape[dim] - 1)
