"""What a mask's file holds, before anything is made of it: its kind, its values, and whether edges are blurred."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from segue.data.places import Place
from segue.data.source import raw_mask
from segue.labels import packed
from segue.reading import decoding

BLURRED = 0.1
"""From this share of in-between pixels on, edges are blurred. CamVid's masks have 0.002 to 0.022; saved as JPEG of
quality 90, 0.23 to 0.29; made smaller with smoothing, 0.45 to 0.58."""

FEW = 16  # in-between pixels
THIN = 0.9  # of them, of one value


@dataclass(frozen=True)
class MaskFacts:
    """What one mask holds.

    values: (n,) its values, sorted; colours as 0xRRGGBB. counts: (n,) the pixels of each.
    size: height, width. coloured: whether values are colours. wide: whether they are of 16 bits.
    palette: its colours (256 of them at most, packed), where it is a palette picture; () otherwise.
    between: of the pixels at edges, the share whose value lies between those on either side. 0 for masks of two values.
    """

    size: tuple[int, int]
    values: np.ndarray
    counts: np.ndarray
    coloured: bool
    wide: bool
    palette: tuple[int, ...]
    between: float

    @property
    def blurred(self) -> bool:
        """Whether the mask was smoothed, or saved as JPEG: many values at edges that mean nothing."""
        return len(self.values) > 3 and self.between >= BLURRED


def mask_facts(path: Place) -> MaskFacts:
    """What one mask holds. Raises DataError when it cannot be decoded."""
    with decoding(path, "mask"), path.open("rb") as stream, Image.open(stream) as file:
        return facts_of(raw_mask(file, path), palette_of(file))


def facts_of(raw: np.ndarray, palette: tuple[int, ...] = ()) -> MaskFacts:
    """What raw values (H, W), or colours (H, W, 3), hold."""
    coloured = raw.ndim == 3
    numbers = packed(raw) if coloured else raw
    values, counts = count_values(numbers)
    layers = [raw[..., channel] for channel in range(3)] if coloured else [raw]
    between = max(map(in_between, layers)) if len(values) > 3 else 0.0
    return MaskFacts(numbers.shape, values, counts, coloured, raw.dtype == np.uint16, palette, between)


def count_values(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) unsigned integers -> the values that occur, sorted, and how often each does."""
    flat = numbers.reshape(-1)
    if flat.dtype.itemsize <= 2:
        counts = np.bincount(flat)
        values = np.flatnonzero(counts)
        return values, counts[values]
    # Masks are areas of one value: sorting the runs of a row takes a fraction of the time of sorting its pixels.
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(np.append(starts, flat.size))
    values, which = np.unique(flat[starts], return_inverse=True)
    return values.astype(np.int64), np.bincount(which, weights=lengths).astype(np.int64)


def in_between(values: np.ndarray) -> float:
    """(H, W) -> of the pixels at edges, the share whose value lies between those on either side.

    Where a mask was smoothed, every edge is a slope. In a clean one, a pixel lies between its neighbours only where a
    third area of one pixel's width separates two others. 0 where such pixels are few, or nearly all of one value, which
    then is a class of thin things.
    """
    slopes, edges = [], 0
    for turned in (values, values.T):
        before, here, after = turned[:-2], turned[1:-1], turned[2:]
        slopes.append(here[((before < here) & (here < after)) | ((before > here) & (here > after))])
        edges += int(np.count_nonzero(here != before))
    _, counts = count_values(np.concatenate(slopes))
    total = int(counts.sum())
    return total / edges if total >= FEW and counts.max() <= THIN * total else 0.0


def palette_of(file: Image.Image) -> tuple[int, ...]:
    """The colours of an opened palette picture, packed; () for others."""
    if file.mode != "P":
        return ()
    colours = np.frombuffer(bytes(file.getpalette("RGB") or ()), dtype=np.uint8).reshape(-1, 3)
    return tuple(packed(colours).tolist())


def look_at(masks: Sequence[Place]) -> list[MaskFacts]:
    """What each mask holds; read by several threads, as Pillow and numpy let go of the interpreter's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(mask_facts, masks))
