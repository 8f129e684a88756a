"""Pictures that are the same: byte by byte, or to the eye."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segue.check.examination import THUMB

BITS = 3  # two hashes of 64 bits may differ in so many
LEVELS = 3.0  # and the small grey pictures by so much on average, of 255
FLAT = 4.0  # pictures whose small grey picture deviates by less look like any other


def same_files(digests: Sequence[bytes]) -> list[list[int]]:
    """Groups of numbers with one digest; b"" is none."""
    groups: dict[bytes, list[int]] = {}
    for number, digest in enumerate(digests):
        if digest:
            groups.setdefault(digest, []).append(number)
    return [group for group in groups.values() if len(group) > 1]


def perceptual_hashes(thumbs: np.ndarray) -> np.ndarray:
    """(n, THUMB, THUMB) uint8 -> (n,) uint64: whether brightness rises from one cell to the next, 8 rows of 8.

    The difference hash, which encoding, size and brightness hardly change.
    """
    count = len(thumbs)
    rows = thumbs.reshape(count, 8, THUMB // 8, THUMB).mean(axis=2)
    columns = rows[:, :, np.linspace(0, THUMB - 1, 9).round().astype(int)]
    bits = columns[:, :, 1:] > columns[:, :, :-1]
    return np.packbits(bits.reshape(count, 64), axis=1).view(np.uint64)[:, 0]


def alike(thumbs: np.ndarray) -> list[tuple[int, int]]:
    """(n, THUMB, THUMB) uint8 -> pairs of numbers, the smaller first, of pictures that look the same.

    Two hashes that differ in 3 bits at most agree in one of their four quarters, so only pictures that share a quarter
    are compared. Pictures of next to no contrast are left out.
    """
    if len(thumbs) < 2:
        return []
    small = thumbs.astype(np.float32)
    seen = np.flatnonzero(small.std(axis=(1, 2)) >= FLAT)
    hashes = perceptual_hashes(thumbs)[seen]
    found: set[tuple[int, int]] = set()
    for quarter in range(4):
        part = (hashes >> np.uint64(16 * quarter)) & np.uint64(0xFFFF)
        order = np.argsort(part, kind="stable")
        edges = np.flatnonzero(np.diff(part[order])) + 1
        for group in np.split(order, edges):
            for place, first in enumerate(group[:-1]):
                others = group[place + 1 :]
                near = others[_differing_bits(hashes[others], hashes[first]) <= BITS]
                if len(near):
                    difference = np.abs(small[seen[near]] - small[seen[first]]).mean(axis=(1, 2))
                    for other in near[difference <= LEVELS]:
                        low, high = sorted((int(seen[first]), int(seen[other])))
                        found.add((low, high))
    return sorted(found)


def _differing_bits(hashes: np.ndarray, other: np.uint64) -> np.ndarray:
    return np.unpackbits((hashes ^ other).view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
