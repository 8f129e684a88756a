"""Pictures of a segmentation, as arrays: colours over a picture, where a prediction errs, and fitting both to a place.

NumPy and Pillow only, so that prediction can draw without a plotting library.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from segue.labels import IGNORE, Labels

MISS = (213, 94, 0)
"""The colour of wrong pixels: vermilion, which stands apart from grey for every kind of colour vision (Okabe, Ito)."""

LINE_PER = 400  # a border is one pixel wide for each so many pixels of the picture's shorter side
HATCH = 6  # pixels from one stripe of the hatching to the next


def overlay(image: np.ndarray, labels_map: np.ndarray, labels: Labels, opacity: float = 0.5) -> np.ndarray:
    """A picture with the classes' colours laid over it, each region edged by a thin line of its full colour.

    image: (H, W, 3) uint8 RGB. labels_map: (H, W) uint8, classes or `IGNORE`, where the picture stays as it is.
    opacity: 0 shows the picture alone (with the lines), 1 the colours alone. Returns (H, W, 3) uint8.

    Raises ValueError when the sizes differ or the opacity is not in 0..1.
    """
    if image.shape != (*labels_map.shape, 3):
        raise ValueError(f"the picture is {image.shape}, its classes are {labels_map.shape}: they must be one size")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity = {opacity}: it must be between 0 and 1")
    colours = labels.colours(labels_map)
    weight = round(opacity * 256)  # 16-bit integers: several times as fast as floats, and the same to a grey level
    sums = image.astype(np.uint16) * np.uint16(256 - weight)
    sums += colours * np.uint16(weight)
    sums += np.uint16(128)
    mixed = (sums >> 8).astype(np.uint8)
    edge = borders(labels_map, width=max(1, round(min(labels_map.shape) / LINE_PER)))
    mixed[edge] = colours[edge]
    unknown = labels_map == IGNORE
    mixed[unknown] = image[unknown]
    return mixed


def viewable(pixels: np.ndarray) -> np.ndarray:
    """Any picture (H, W, C) -> (H, W, 3) uint8 to look at: its first three channels, or the first one in grey.

    Of more than 8 bits, the values between the 1st and the 99th percentile of each channel fill the range.
    """
    shown = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, axis=2)
    if shown.dtype == np.uint8:
        return shown
    values = np.nan_to_num(shown.astype(np.float32))
    low, high = np.percentile(values, (1, 99), axis=(0, 1))
    scaled = (values - low) * (255 / np.maximum(high - low, np.finfo(np.float32).tiny))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def borders(labels_map: np.ndarray, width: int = 1) -> np.ndarray:
    """(H, W) classes -> (H, W) bool: pixels at most `width` pixels from another class, along rows or columns."""
    edge = np.zeros(labels_map.shape, dtype=bool)
    for distance in range(1, width + 1):
        down = labels_map[distance:] != labels_map[:-distance]
        right = labels_map[:, distance:] != labels_map[:, :-distance]
        edge[distance:] |= down
        edge[:-distance] |= down
        edge[:, distance:] |= right
        edge[:, :-distance] |= right
    return edge


def hatching(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: grey with lighter slanted stripes, which stands for `not counted`."""
    rows, columns = np.ogrid[:height, :width]
    stripe = (rows + columns) % HATCH < HATCH // 3
    return np.where(stripe[..., None], np.uint8(236), np.uint8(176)) * np.ones(3, dtype=np.uint8)


def errors(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Where a prediction errs: hits and ignored pixels are the picture in pale grey, misses vermilion.

    image: (H, W, 3) uint8 RGB; truth and predicted: (H, W) classes. Returns (H, W, 3) uint8.
    """
    grey = image @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    picture = np.repeat((150 + 0.4 * grey).astype(np.uint8)[..., None], 3, axis=2)
    picture[(truth != predicted) & (truth != IGNORE)] = MISS
    return picture


def fitted(size: tuple[int, ...], box: tuple[int, int]) -> tuple[int, int]:
    """The largest (height, width) of a size's proportions that fits a box (height, width); at least one pixel."""
    height, width = size
    factor = min(box[0] / height, box[1] / width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def thinned(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Every n-th row and column of an (H, W, ...) array, which keeps at least twice `size` (height, width).

    What is shown small need not be coloured large.
    """
    step = [max(1, have // (2 * want)) for have, want in zip(array.shape, size, strict=False)]
    return array[:: step[0], :: step[1]]


def resized(picture: np.ndarray, size: tuple[int, int], *, smooth: bool = True) -> Image.Image:
    """An (H, W, 3) uint8 picture at another (height, width); shrinking averages.

    smooth: enlarging interpolates; otherwise it repeats pixels, as classes need.
    """
    image = Image.fromarray(np.ascontiguousarray(picture))
    height, width = size
    if height < image.height or width < image.width:
        return image.resize((width, height), Image.Resampling.BOX)
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return image.resize((width, height), how)
