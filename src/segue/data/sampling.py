"""Rare classes seen more often: a share of the crops is centred on a pixel of a class that is drawn for its rarity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segue.data.class_index import ClassIndex


@dataclass(frozen=True)
class RareClasses:
    """How a share of the crops is drawn: first a class, then a picture that holds it, then a pixel of it.

    share: of all crops. chance: (K,) of each class among those. holders: for each class, the pictures that hold it.
    """

    share: float
    chance: np.ndarray
    holders: tuple[np.ndarray, ...]

    def draw(self, rng: np.random.Generator) -> tuple[int, int] | None:
        """A picture and the class to centre its crop on; None for a crop that is like any other."""
        if rng.random() >= self.share:
            return None
        label = int(rng.choice(len(self.chance), p=self.chance))
        return int(rng.choice(self.holders[label])), label


def rare_classes(index: ClassIndex, share: float) -> RareClasses:
    """Draw a class with a chance proportional to 1 / log(1.02 + its share of all pixels).

    That is ENet's measure of rarity (Paszke et al., arXiv:1606.02147), which its class weights have as well: a class of
    next to no pixels is drawn 21 times as often as one that fills half of them, and never infinitely more often. A
    class that never occurs is never drawn.
    """
    chance = np.where(index.total > 0, 1 / np.log(1.02 + index.share), 0.0)
    holders = tuple(np.flatnonzero(index.pixels[:, label]) for label in range(index.pixels.shape[1]))
    return RareClasses(share, chance / max(chance.sum(), np.finfo(float).tiny), holders)


def pixel_of(target: np.ndarray, label: int, rng: np.random.Generator) -> tuple[int, int] | None:
    """Row and column of any pixel of a class in a mask (H, W); None where there is none."""
    places = np.flatnonzero(target == label)
    if len(places) == 0:
        return None
    row, column = divmod(int(places[rng.integers(len(places))]), target.shape[1])
    return row, column
