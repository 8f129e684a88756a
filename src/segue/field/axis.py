"""What every unit of a map sees along one side of the picture, unit by unit.

The recurrence holds while all units are alike. After a transposed convolution or an interpolation they are not: which
cells one is made of depends on its place between them, and two such layers in a row see more, or less, than the sum of
both. So the first and the last pixel are kept for each unit, and the field is that of the unit that sees most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np


@dataclass(frozen=True)
class Axis:
    """The units of a map along one side.

    first, last: (n,) float64, the pixels between which each unit sees; beyond the picture's border they go on counting.
    jump: pixels between neighbouring units, J. start: the pixel on which unit 0 is centred.
    bounded: False from where every unit sees the whole picture, however large.
    """

    first: np.ndarray
    last: np.ndarray
    jump: Fraction = Fraction(1)
    start: Fraction = Fraction(0)
    bounded: bool = True

    @classmethod
    def of_picture(cls, side: int) -> Axis:
        """Each pixel sees itself."""
        return cls(np.arange(side, dtype=float), np.arange(side, dtype=float))

    @property
    def size(self) -> float:
        """R: how many pixels that unit sees which sees most; infinite where it is the whole picture."""
        return float((self.last - self.first).max()) + 1 if self.bounded else math.inf

    def alike(self, other: Axis) -> bool:
        """Whether two maps' units see the same."""
        if (self.jump, self.start, self.bounded) != (other.jump, other.start, other.bounded):
            return False
        same = np.array_equal(self.first, other.first) and np.array_equal(self.last, other.last)
        return same or not self.bounded

    def window(self, after: int, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
        """`after` units of a convolution or a pooling."""
        taps = np.arange(after)[:, None] * stride - padding + dilation * np.arange(kernel)
        reach = Fraction(dilation * (kernel - 1), 2)
        return self._made_of(taps, self.jump * stride, self.start + (reach - padding) * self.jump)

    def transposed(self, after: int, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
        """`after` units of a transposed convolution: t is made of u where t + padding - stride * u is a tap."""
        places = np.arange(after)[:, None] + padding - dilation * np.arange(kernel)
        jump = self.jump / stride
        start = self.start + (padding - Fraction(dilation * (kernel - 1), 2)) * jump
        return self._made_of(places // stride, jump, start, used=places % stride == 0)

    def interpolated(self, after: int, neighbours: int, align_corners: bool) -> Axis:
        """`after` units between those that there are, each made of 2 (linear) or 4 (cubic) neighbours."""
        before = len(self.first)
        if align_corners:
            ratio, offset = Fraction(before - 1, max(after - 1, 1)), Fraction(0)
        else:
            ratio = Fraction(before, after)
            offset = (ratio - 1) / 2
        # Of exact numbers, or a unit on top of another would see its neighbour by rounding.
        places = [ratio * unit + offset for unit in range(after)]
        taps = np.array([math.floor(place) for place in places])[:, None] + np.arange(neighbours) - neighbours // 2 + 1
        used = np.ones(taps.shape, dtype=bool)
        used[[place.denominator == 1 for place in places]] = np.arange(neighbours) == neighbours // 2 - 1
        return self._made_of(taps, self.jump * ratio, self.start + offset * self.jump, used)

    def repeated(self, after: int) -> Axis:
        """`after` units, each that one of those there are which it lies over."""
        ratio = Fraction(len(self.first), after)
        taps = (np.arange(after) * len(self.first) // after)[:, None]
        return self._made_of(taps, self.jump * ratio, self.start + (ratio - 1) / 2 * self.jump)

    def cut(self, after: int, begin: int, step: int = 1) -> Axis:
        """`after` units from `begin` on, below 0 where some are put in front."""
        taps = (begin + step * np.arange(after))[:, None]
        return self._made_of(taps, self.jump * step, self.start + begin * self.jump)

    def picked(self, units: list[int], front: int) -> Axis:
        """These units in this order; the first of them all comes at `front`."""
        return self._made_of(np.array(units)[:, None], self.jump, self.start - front * self.jump)

    def whole(self) -> Axis:
        """The same units after something that mixes all places."""
        return replace(self, bounded=False)

    def joined(self, other: Axis) -> Axis:
        """The same units made of those of two maps."""
        if not other.bounded:
            return self.whole()
        if len(self.first) != len(other.first):  # one unit for all of them
            return self
        return replace(self, first=np.minimum(self.first, other.first), last=np.maximum(self.last, other.last))

    def _made_of(self, taps: np.ndarray, jump: Fraction, start: Fraction, used: np.ndarray | None = None) -> Axis:
        """taps: (n, k) units that each new one is made of, also beyond the border. used: which of them."""
        inside = np.clip(taps, 0, len(self.first) - 1)
        beyond = (taps - inside) * float(self.jump)
        used = np.ones(taps.shape, dtype=bool) if used is None else used
        first = np.where(used, self.first[inside] + beyond, np.inf).min(axis=1)
        last = np.where(used, self.last[inside] + beyond, -np.inf).max(axis=1)
        return Axis(first, last, jump, start, self.bounded)
