"""Border labels out of segmentation labels, as DFN's Border Network is trained on them, made where the labels are.

The rule is that of the authors' code (ycszen/TorchSeg): OpenCV's Canny on the picture of class numbers, with a 7x7
aperture and both thresholds 5, dilated by a 7x7 square. What is here equals OpenCV pixel by pixel;
`benchmarks/borders.py` compares the time that both take.

A processor spends its time touching memory here, so numbers are small, mostly changed in place, and comparisons whose
results are of another type are replaced by arithmetic. Pictures are *framed*, with `REACH` pixels more on every side,
and taken as one line of rows behind each other, in which neighbours are as far apart everywhere: 1 along x, a row
along y.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from segue.labels import IGNORE

REACH = 3  # pixels from the centre of a 7x7 square to its rim
SEEN = 2 * REACH + 1  # pixels around one that decide on it: the aperture, an edge's neighbour, the dilation
SMALL = 52  # classes whose gradients, up to 640 times the largest difference of class numbers, fit into 16 bits
TANGENT = 13573 / 2**15  # of 22.5 degrees, as OpenCV has it
PIECE = 800_000  # pixels that a processor works on at a time, so that what it makes on the way stays in its cache


def border_labels(target: Tensor, num_classes: int = IGNORE, *, void_borders: bool = False) -> Tensor:
    """Where classes meet: labels (B, H, W) of 0..num_classes-1 and `IGNORE` -> (B, H, W) uint8, 1 on borders, else 0.

    A straight border is 7 pixels wide, 4 of them on its left or upper side. Pixels without a label have no class, and
    an edge that was found with one of them in its aperture may be no more than the outline of a void or of padding:
    both are `IGNORE`, the edge in its whole width. With `void_borders` they are class 0 instead, as in the authors'
    code: void has a border to whatever is not class 0, and no pixel is left out.

    num_classes: up to 52, gradients are of 16 bits and take less time; labels must then be below it.
    """
    dtype = torch.int16 if num_classes <= SMALL else torch.float32
    labels = torch.empty_like(target, dtype=torch.uint8)
    batch, height, width = target.shape
    most = PIECE if target.device.type == "cpu" else target.numel()
    pictures = min(batch, max(1, most // (height * width)))
    rows = math.ceil(height / math.ceil(height * width / most))
    for some, out in zip(target.split(pictures), labels.split(pictures), strict=True):
        for first in range(0, height, rows):
            above = max(first - SEEN, 0)
            piece = _labels(some[:, above : first + rows + SEEN], dtype, void_borders)
            out[:, first : first + rows] = piece[:, first - above :][:, :rows]
    return labels


def _labels(target: Tensor, dtype: torch.dtype, void_borders: bool) -> Tensor:
    """`border_labels` of pictures that are worked on at once."""
    ids = target.to(torch.uint8, copy=True).add_(1)  # only differences count; now `IGNORE` is 0 and class 0 is 1
    if void_borders:
        return dilate(canny(frame(ids.clamp_(min=1), repeat=True), dtype))
    void = ids == 0
    edges = canny(frame(ids.clamp_(min=1), repeat=True), dtype)
    # One dilation serves both kinds of edges: bit 0 stands for sound ones, bit 1 for those beside void.
    inner = edges[:, REACH:-REACH, REACH:-REACH]
    inner += inner & dilate(frame(void.view(torch.uint8)))
    bands = dilate(edges)
    left_out = bands.eq(2).logical_or_(void)
    return bands.bitwise_and_(1).sub_(left_out.view(torch.uint8))  # 0 - 1 is 255, and of 2, 0 was left


def frame(maps: Tensor, *, repeat: bool = False) -> Tensor:
    """(B, H, W) -> (B, H + 6, W + 6): zeros around each picture or, with `repeat`, its outermost pixels."""
    framed = maps.new_zeros(maps.shape[0], maps.shape[1] + 2 * REACH, maps.shape[2] + 2 * REACH)
    framed[:, REACH:-REACH, REACH:-REACH] = maps
    if repeat:
        framed[:, :REACH] = framed[:, REACH, None]
        framed[:, -REACH:] = framed[:, -REACH - 1, None]
        framed[..., :REACH] = framed[..., REACH, None]
        framed[..., -REACH:] = framed[..., -REACH - 1, None]
    return framed


def dilate(marks: Tensor) -> Tensor:
    """Framed marks, integers -> (B, H, W): the bits of all pixels in the 7x7 square around each, joined."""
    batch, height, width = marks.shape
    line = marks.flatten()
    for pixel in (width, 1):
        for step in (1, 2, 3):  # joins 2, then 4, then 7 neighbours
            line = line[: -step * pixel] | line[step * pixel :]
    # What is joined now stands where its square begins.
    return line.as_strided((batch, height - 2 * REACH, width - 2 * REACH), marks.stride())


def canny(ids: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """OpenCV's `Canny(ids, 5, 5, apertureSize=7)` of framed class numbers: uint8 of their shape, 1 on edges.

    At this aperture OpenCV divides gradients and thresholds by 16, and rounds the thresholds down, here to 0: any
    gradient passes, and an edge is where it is the largest along its own direction.

    dtype: in which gradients are counted: float32 or, where no two numbers are more than 51 apart, int16.
    """
    row = ids.shape[-1]
    centre = REACH * row + REACH  # of a square, from its first pixel
    x, y = (sixteenth(slope) for slope in gradient(ids, dtype))
    falling = (x ^ y).clamp_(-1, 0)  # -1 where the signs differ, else 0; so are all masks below
    x.abs_()
    y.abs_()
    framed = torch.empty_like(ids, dtype=torch.int16)
    magnitude = torch.add(x, y, out=framed.view(-1)[centre:-centre])  # L1
    for margin in (framed[:, :REACH], framed[:, -REACH:], framed[..., :REACH], framed[..., -REACH:]):
        margin.zero_()  # beyond the picture, there is no gradient
    # The gradient lies along x up to 22.5 degrees, and along y from 67.5, whose tangents are t and 2 + t. Integers y
    # are above t x where they are above what is left of it, rounded down.
    not_along_x = x.to(torch.float32).mul_(TANGENT).to(torch.int16).sub_(y)
    along_y = torch.add(not_along_x, x, alpha=2).clamp_(-1, 0)
    not_along_x.clamp_(-1, 0)
    line, less = framed.view(-1), framed.view(-1) - 1

    def larger(one: Tensor, step: int, other: Tensor, further: int) -> Tensor:
        return torch.maximum(one[centre + step :][: len(x)], other[centre + further :][: len(x)])

    # What an edge has to exceed. Of equals along x or y the first one is the edge; along a diagonal, none.
    rival = larger(line, -row - 1, line, row + 1)
    rival = choose(falling, larger(line, 1 - row, line, row - 1), rival)
    rival = choose(along_y, larger(line, -row, less, row), rival)
    rival = choose(not_along_x, rival, larger(line, -1, less, 1))
    marks = torch.zeros_like(ids)
    marks.view(-1)[centre:-centre] = rival.lt_(magnitude)
    return marks


def gradient(ids: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Sobel's 7x7 derivatives along x and y, of the squares that begin at each pixel of the framed line.

    Both kernels are made of sums of two neighbours: [1 6 15 20 15 6 1] of six such sums, [-1 -4 -5 0 5 4 1] of five and
    a difference. The five that both have in each direction are taken once. Seven sums fit into 16 bits in any case.
    """
    row = ids.shape[-1]
    sums = ids.flatten().to(torch.int16)
    for step in (row, row, row, row, row, 1, 1):
        sums = sums[:-step] + sums[step:]
    sums = sums.to(dtype)
    for step in (1, 1, 1):
        sums = sums[:-step] + sums[step:]
    smooth, steep = sums[:-row] + sums[row:], sums[row:] - sums[:-row]
    return smooth[1:] - smooth[:-1], steep[1:] + steep[:-1]


def sixteenth(values: Tensor) -> Tensor:
    """A sixteenth of the values, halves rounded to the even neighbour, in 16 bits; changes its argument."""
    if values.is_floating_point():
        return values.div_(16).round_().to(torch.int16)
    values += (values >> 4).bitwise_and_(1).add_(7)
    return values.bitwise_right_shift_(4)


def choose(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """`yes` where the mask is -1, `no` where it is 0; changes both."""
    return no.addcmul_(mask, yes.sub_(no), value=-1)
