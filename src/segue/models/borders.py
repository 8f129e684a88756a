"""Border labels out of segmentation labels, as DFN's Border Network is trained on them, made where the labels are.

The rule is that of the authors' code (ycszen/TorchSeg): OpenCV's Canny on the picture of class numbers, with a 7x7
aperture and both thresholds 5, dilated by a 7x7 square. What is here equals OpenCV pixel by pixel;
`benchmarks/borders.py` compares the time that both take.

A processor spends its time touching memory here, so numbers are small, the same memory is used again and again (what
the functions below return is overwritten by the next call), and comparisons whose results are of another type are
replaced by arithmetic. Pictures are *framed*, with `REACH` pixels more on every side, and taken as one line of rows
behind each other, in which neighbours are as far apart everywhere: 1 along x, a row along y.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from segue.labels import IGNORE

REACH = 3  # pixels from the centre of a 7x7 square to its rim
SEEN = 2 * REACH + 1  # pixels around one that decide on it: the aperture, an edge's neighbour, the dilation
SMALL = 52  # classes whose gradients, up to 640 times the largest difference of class numbers, fit into 16 bits
TANGENT = 13573 / 2**15  # of 22.5 degrees, as OpenCV has it
PIECE = 700_000  # pixels that a processor works on at a time, so that what it makes on the way stays in its cache


class _Memory(threading.local):
    """A processor's memory for what is made on the way, by name, kept from piece to piece and from call to call.

    C libraries return what is freed to the system, which hands it out anew page by page: that may take three times as
    long as all arithmetic here. A GPU's memory is kept by PyTorch itself.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}

    def line(self, name: str, length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """(length,), with what was left in it; until the same name is asked for again."""
        if device.type != "cpu":
            return torch.empty(length, dtype=dtype, device=device)
        size = length * dtype.itemsize
        kept = self.kept.get(name)
        if kept is None or len(kept) < size:
            with torch.inference_mode(False):  # what is made in that mode cannot be written to outside of it
                kept = self.kept[name] = torch.empty(size, dtype=torch.uint8)
        return kept[:size].view(dtype)


_memory = _Memory()


@torch.compiler.disable  # a compiled loss calls it as it is: a compiler knows no memory that is kept
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
            inside = slice(first - above, first - above + rows)
            _label(some[:, above : first + rows + SEEN], inside, dtype, void_borders, out[:, first : first + rows])
    return labels


def _label(target: Tensor, inside: slice, dtype: torch.dtype, void_borders: bool, out: Tensor) -> None:
    """`border_labels` of the rows `inside` pictures that are worked on at once."""

    def new(name: str) -> Tensor:
        return _memory.line(name, target.numel(), torch.uint8, target.device).view(target.shape)

    ids = new("classes").copy_(target).add_(1)  # only differences count; now `IGNORE` is 0 and class 0 is 1
    if void_borders:
        out.copy_(dilate(canny(frame(ids.clamp_(min=1), repeat=True), dtype))[:, inside])
        return
    void = torch.clamp(ids, max=1, out=new("void")).bitwise_xor_(1)
    edges = canny(frame(ids.clamp_(min=1), repeat=True), dtype)
    # One dilation serves both kinds of edges: bit 0 stands for sound ones, bit 1 for those beside void.
    inner = edges[:, REACH:-REACH, REACH:-REACH]
    inner += dilate(frame(void)).bitwise_and_(inner)
    bands = dilate(edges)[:, inside]
    sound = torch.bitwise_and(bands, 1, out=out)
    left_out = bands.bitwise_right_shift_(1).bitwise_or_(void[:, inside])
    sound.sub_(torch.maximum(left_out, sound, out=left_out).sub_(sound))  # what is sound stays; else 0 - 1 is 255


def frame(maps: Tensor, *, repeat: bool = False) -> Tensor:
    """(B, H, W) -> (B, H + 6, W + 6) uint8: zeros around each picture or, with `repeat`, its outermost pixels."""
    batch, height, width = maps.shape
    shape = (batch, height + 2 * REACH, width + 2 * REACH)
    framed = _memory.line("framed", math.prod(shape), torch.uint8, maps.device).view(shape)
    framed[:, REACH:-REACH, REACH:-REACH] = maps
    above, below, left, right = margins(framed)
    if repeat:
        above.copy_(framed[:, REACH, None])
        below.copy_(framed[:, -REACH - 1, None])
        left.copy_(framed[..., REACH, None])
        right.copy_(framed[..., -REACH - 1, None])
    else:
        for margin in (above, below, left, right):
            margin.zero_()
    return framed


def margins(framed: Tensor) -> tuple[Tensor, ...]:
    """Above, below, left and right of each picture."""
    return framed[:, :REACH], framed[:, -REACH:], framed[..., :REACH], framed[..., -REACH:]


def dilate(marks: Tensor) -> Tensor:
    """Framed marks, uint8 -> (B, H, W): the bits of all pixels in the 7x7 square around each, joined."""
    batch, height, width = marks.shape
    steps = [step * pixel for pixel in (width, 1) for step in (1, 2, 3)]  # joins 2, then 4, then 7 neighbours
    line = join(marks.view(-1), torch.bitwise_or, steps)
    # What is joined now stands where its square begins.
    return line.as_strided((batch, height - 2 * REACH, width - 2 * REACH), marks.stride())


def join(line: Tensor, how: Callable[..., Tensor], steps: Sequence[int]) -> Tensor:
    """Join the numbers of a line with those that are a step further, and what comes out again, step after step.

    The lines `a` and `b` take turns. After an even number of steps, `b` has the last.
    """
    names = ["a", "b"]
    for step in steps:
        line = how(line[:-step], line[step:], out=_memory.line(names[0], len(line) - step, line.dtype, line.device))
        names.reverse()
    return line


def canny(ids: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """OpenCV's `Canny(ids, 5, 5, apertureSize=7)` of framed class numbers: uint8 of their shape, 1 on edges.

    At this aperture OpenCV divides gradients and thresholds by 16, and rounds the thresholds down, here to 0: any
    gradient passes, and an edge is where it is the largest along its own direction.

    dtype: in which gradients are counted: float32 or, where no two numbers are more than 51 apart, int16.
    """
    row = ids.shape[-1]
    centre = REACH * row + REACH  # of a square, from its first pixel

    def new(name: str, length: int, dtype: torch.dtype = torch.int16) -> Tensor:
        return _memory.line(name, length, dtype, ids.device)

    x, y = gradient(ids, dtype)
    falling = torch.bitwise_xor(x, y, out=new("d", len(x))).clamp_(-1, 0)  # -1 where the signs differ, else 0
    x.abs_()
    y.abs_()
    framed = new("e", ids.numel()).view(ids.shape)
    line = framed.view(-1)
    magnitude = torch.add(x, y, out=line[centre:-centre])  # L1
    for margin in margins(framed):
        margin.zero_()  # beyond the picture, there is no gradient
    # The gradient lies along x up to 22.5 degrees, and along y from 67.5, whose tangents are t and 2 + t. Integers y
    # are above t x where they are above what is left of it, rounded down.
    not_along_x = new("f", len(x)).copy_(new("g", len(x), torch.float32).copy_(x).mul_(TANGENT)).sub_(y)
    along_y = torch.add(not_along_x, x, alpha=2, out=new("g", len(x))).clamp_(-1, 0)
    not_along_x.clamp_(-1, 0)

    def larger(one: Tensor, step: int, other: Tensor, further: int, out: Tensor) -> Tensor:
        return torch.maximum(one[centre + step :][: len(x)], other[centre + further :][: len(x)], out=out)

    # What an edge has to exceed. Of equals along x or y the first one is the edge; along a diagonal, none.
    rival = larger(line, -row - 1, line, row + 1, out=x)
    rival = choose(falling, larger(line, 1 - row, line, row - 1, out=y), rival)
    less = torch.sub(line, 1, out=new("d", len(line)))
    rival = choose(along_y, larger(line, -row, less, row, out=y), rival)
    rival = choose(not_along_x, rival, larger(line, -1, less, 1, out=y))
    marks = _memory.line("marks", ids.numel(), torch.uint8, ids.device)
    marks[:centre] = marks[-centre:] = 0
    marks[centre:-centre] = rival.lt_(magnitude)
    return marks.view(ids.shape)


def gradient(ids: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Sixteenths of Sobel's 7x7 derivatives along x and y, in 16 bits, of the squares that begin at each pixel.

    Both kernels are made of sums of two neighbours: [1 6 15 20 15 6 1] of six such sums, [-1 -4 -5 0 5 4 1] of five and
    a difference. The five that both have in each direction are taken once. Six sums fit into 16 bits in any case.
    """
    row = ids.shape[-1]

    def new(name: str, length: int, dtype: torch.dtype = dtype) -> Tensor:
        return _memory.line(name, length, dtype, ids.device)

    line = new("c", ids.numel(), torch.int16).copy_(ids.view(-1))
    line = join(line, torch.add, (row, row, row, row, row, 1))
    if dtype != line.dtype:
        line = new("c", len(line)).copy_(line)
    line = join(line, torch.add, (1, 1, 1, 1))
    before, after = line[:-row], line[row:]
    smooth = torch.add(before, after, out=new("a", len(before)))
    steep = torch.sub(after, before, out=new("c", len(before)))
    x = torch.sub(smooth[1:], smooth[:-1], out=new("b", len(before) - 1))
    y = torch.add(steep[1:], steep[:-1], out=new("a", len(before) - 1))
    if dtype == torch.int16:
        spare = new("c", len(x))
        return sixteenth(x, spare), sixteenth(y, spare)
    x = new("c", len(x), torch.int16).copy_(x.div_(16).round_())
    return x, new("b", len(y), torch.int16).copy_(y.div_(16).round_())


def sixteenth(values: Tensor, spare: Tensor) -> Tensor:
    """Integers become a sixteenth of what they were, halves rounded to the even neighbour."""
    values += torch.bitwise_right_shift(values, 4, out=spare).bitwise_and_(1).add_(7)
    return values.bitwise_right_shift_(4)


def choose(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """`yes` where the mask is -1, `no` where it is 0; changes both."""
    return no.addcmul_(mask, yes.sub_(no), value=-1)
