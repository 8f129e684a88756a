"""Augmentation of a picture and its mask together, cropping first.

Cropping a random piece out of an enlarged picture throws most of the enlargement away. Here the piece is chosen first
and only its pixels are computed: `Image.resize` takes a box with fractions, which gives the very pixels that resizing
everything would have given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from segue.labels import IGNORE, Labels

CROP_TRIES = 10  # as mmsegmentation tries: then the last crop is taken, however uniform


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training picture.

    crop: (height, width) of what the network sees.
    scale: range of the factor on the picture's size before the crop; the factor's logarithm is uniform.
    max_share: a crop with more than this share of one class is drawn again.
    mirror: half of all pictures are mirrored.
    photometric: strength of the changes of brightness, contrast, saturation and hue; 0 for none, 1 for SSD's ranges.
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    max_share: float = 0.75
    mirror: bool = True
    photometric: float = 1.0


def augment(
    image: np.ndarray,
    target: np.ndarray,
    rng: np.random.Generator,
    how: Augmentation,
    labels: Labels | None = None,
    centre: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, C) and its classes (H, W) uint8 -> (crop, crop, C) of its type and (crop, crop) uint8.

    labels: say which classes change places in a mirrored picture; none do without it.
    centre: row and column of the pixel in the crop's middle, or as near to it as the picture's edge allows; anywhere
    without it.
    Where the scaled picture is smaller than the crop, the rest is grey 128 in the picture (its mean, where it is not of
    8 bits) and `IGNORE` in the mask.
    """
    low, high = how.scale
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    size = (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
    last = max(size[0] - how.crop[0], 0), max(size[1] - how.crop[1], 0)
    if centre is not None:
        top, left = (
            min(max(round((pixel + 0.5) * scaled / whole - side / 2), 0), most)
            for pixel, scaled, whole, side, most in zip(centre, size, target.shape, how.crop, last, strict=True)
        )
        classes = crop_target(target, size, top, left, how.crop)
    else:
        for _ in range(CROP_TRIES):
            top, left = int(rng.integers(0, last[0] + 1)), int(rng.integers(0, last[1] + 1))
            classes = crop_target(target, size, top, left, how.crop)
            counts = np.bincount(classes.reshape(-1), minlength=256)[:IGNORE]
            if counts.max() <= how.max_share * max(counts.sum(), 1):
                break
    pixels = crop_image(image, size, top, left, how.crop)
    if how.mirror and rng.random() < 0.5:
        pixels, classes = pixels[:, ::-1], labels.mirrored(classes) if labels else classes[:, ::-1]
    if how.photometric > 0:
        colours = pixels.dtype == np.uint8 and pixels.shape[2] == 3
        pixels = (distort_colours if colours else distort_levels)(pixels, rng, how.photometric)
    grey = 128 if pixels.dtype == np.uint8 else pixels.mean(axis=(0, 1)).astype(pixels.dtype)
    return pad(pixels, how.crop, grey), pad(classes, how.crop, IGNORE)


def crop_image(image: np.ndarray, size: tuple[int, int], top: int, left: int, crop: tuple[int, int]) -> np.ndarray:
    """Of the picture (H, W, C) resized (bilinearly, antialiased) to `size` (H', W'), the part of `crop` at (top, left).

    Equal to resizing and then cropping, up to Pillow's rounding. Smaller than `crop` where the resized picture ends.
    """
    height, width = min(crop[0], size[0] - top), min(crop[1], size[1] - left)
    if size == image.shape[:2]:
        return image[top : top + height, left : left + width]
    # The crop's box in the original's own pixels, with its fractions: rounding it would shift the sampling.
    rows, columns = image.shape[0] / size[0], image.shape[1] / size[1]
    first, last = top * rows, min((top + height) * rows, image.shape[0])
    start, end = left * columns, min((left + width) * columns, image.shape[1])
    # Only what the filter reaches from that box is handed to Pillow, which copies what it is handed.
    above, before = (max(0, int(edge - max(step, 1)) - 1) for edge, step in ((first, rows), (start, columns)))
    below, behind = (int(edge + max(step, 1)) + 2 for edge, step in ((last, rows), (end, columns)))
    near = image[above:below, before:behind]
    return _resized(near, (height, width), (start - before, first - above, end - before, last - above))


def _resized(image: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float]) -> np.ndarray:
    """The part of a picture (H, W, C) inside `box` (left, top, right, bottom) at `size` (height, width)."""

    def resize(layer: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(np.ascontiguousarray(layer))
        return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR, box=box))

    if image.dtype == np.uint8 and image.shape[2] == 3:
        return resize(image)
    wide = image if image.dtype == np.uint8 else image.astype(np.float32)
    layers = np.stack([resize(wide[..., channel]) for channel in range(image.shape[2])], axis=-1)
    return np.rint(layers).astype(image.dtype) if image.dtype == np.uint16 else layers


def crop_target(target: np.ndarray, size: tuple[int, int], top: int, left: int, crop: tuple[int, int]) -> np.ndarray:
    """The same part of the mask, resized by nearest neighbour with pixel centres, as Pillow does it."""
    height, width = min(crop[0], size[0] - top), min(crop[1], size[1] - left)
    if size == target.shape:
        return target[top : top + height, left : left + width]
    rows = _nearest(target.shape[0], size[0])[top : top + height]
    columns = _nearest(target.shape[1], size[1])[left : left + width]
    return target[rows].take(columns, axis=1)  # axis by axis: five times as fast as indexing both at once


def _nearest(length: int, new: int) -> np.ndarray:
    """For each of `new` pixels, the one of `length` whose cell holds its centre."""
    step = length / new
    # Pillow adds the step up from the first centre; a closed form differs from it in the last bit, on a cell's edge.
    centres = np.cumsum(np.concatenate([[step * 0.5], np.full(new - 1, step)]))
    return np.minimum(centres.astype(np.int64), length - 1)


def pad(pixels: np.ndarray, size: tuple[int, int], value: int | np.ndarray) -> np.ndarray:
    """Fill a picture or mask up to `size` (H, W), at the bottom and on the right, with a value or one per channel."""
    height, width = pixels.shape[:2]
    if height >= size[0] and width >= size[1]:
        return np.ascontiguousarray(pixels)
    padded = np.empty((max(height, size[0]), max(width, size[1]), *pixels.shape[2:]), dtype=pixels.dtype)
    padded[:] = value
    padded[:height, :width] = pixels
    return padded


LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=np.float32)


def distort_colours(pixels: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Brightness, contrast, saturation and hue, each with probability 1/2, in the ranges of SSD (Liu et al., 2016).

    Brightness moves by up to 32 grey levels, contrast and saturation change by up to half, hue turns by up to 18
    degrees, each times `strength`. All four are one 3x3 matrix and one offset (hue is a rotation in YIQ), so a picture
    is read and written once.
    """

    def drawn(width: float) -> float:
        return float(rng.uniform(-width, width)) * strength if rng.random() < 0.5 else 0.0

    brightness, contrast, saturation, hue = drawn(32.0), 1 + drawn(0.5), 1 + drawn(0.5), drawn(np.pi / 10)
    identity = np.eye(3, dtype=np.float32)
    rotation = identity.copy()
    rotation[1:, 1:] = [[np.cos(hue), -np.sin(hue)], [np.sin(hue), np.cos(hue)]]
    matrix = np.linalg.inv(TO_YIQ) @ rotation @ TO_YIQ
    matrix = (saturation * identity + (1 - saturation) * np.outer(np.ones(3, dtype=np.float32), LUMA)) @ matrix
    matrix = contrast * matrix
    offset = 128 * (1 - contrast) + contrast * brightness
    rows = np.column_stack([matrix, np.full(3, offset)])
    # Pillow's loop adds, rounds and cuts off each pixel at once: 1.8 times as fast as numpy's passes over all of them.
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.convert("RGB", tuple(rows.reshape(-1).tolist())))


def distort_levels(pixels: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Brightness and contrast, each with probability 1/2, of a picture (H, W, C) that is not RGB of 8 bits.

    Values may be of any range, so both are factors: brightness multiplies by 1 +- 1/4, contrast stretches from each
    channel's mean by 1 +- 1/2, each times `strength`. Saturation and hue would need colours.
    """
    brightness, contrast = (
        1 + float(rng.uniform(-width, width)) * strength if rng.random() < 0.5 else 1.0 for width in (0.25, 0.5)
    )
    levels = pixels.astype(np.float32)
    mean = levels.mean(axis=(0, 1))
    levels = ((levels - mean) * contrast + mean) * brightness
    if pixels.dtype == np.float32:
        return levels
    return np.clip(np.rint(levels), 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)
