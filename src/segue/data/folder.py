"""A folder of your own images and masks: how it may be laid out, and what its masks are taken to mean.

Layouts, looked for in this order (`images` may also be called imgs or JPEGImages; `masks` may be labels, annotations
or SegmentationClass):

    train/images/  train/masks/     the same for val and test
    images/train/  masks/train/     the same for val and test
    train/         trainannot/      CamVid's way
    images/        masks/           split by name: see `in_validation`
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from segue.data.source import MASK_SUFFIXES, FileDataSet, Pair, read_raw_mask
from segue.errors import DataError
from segue.labels import IGNORE, Labels
from segue.reading import IMAGE_SUFFIXES

IMAGE_FOLDERS = ("images", "imgs", "JPEGImages")
MASK_FOLDERS = ("masks", "labels", "annotations", "SegmentationClass")
MASK_ENDINGS = ("_mask", "_label", "_labels", "_gt", "_L", "-mask")
SPLITS = ("train", "val", "test")


def in_validation(name: str) -> bool:
    """Whether a picture of a folder without a validation split belongs to it: a fifth of all names, by their CRC-32.

    The rule looks at the name alone, so a picture stays on its side when others come or go.
    """
    return zlib.crc32(name.encode()) % 5 == 0


def open_folder(root: Path, split: str, labels: Labels | None = None) -> FileDataSet:
    """One split of a folder of images and masks; `labels` as `folder_labels` understood them, or given.

    Raises DataError when there is no such folder, split or pair.
    """
    pairs = _find_pairs(root, split)
    return FileDataSet(pairs, labels or folder_labels(root))


def _find_pairs(root: Path, split: str) -> tuple[Pair, ...]:
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder, and no data set of this name")
    for images, masks in _split_folders(root, split):
        if images.is_dir() and masks.is_dir():
            return pairs_by_stem(images, masks)
    for images, masks in _plain_folders(root):
        if images.is_dir() and masks.is_dir():
            if split not in ("train", "val"):
                raise DataError(f"{root}: has no {split} split; without split folders there are train and val")
            pairs = pairs_by_stem(images, masks)
            chosen = tuple(pair for pair in pairs if in_validation(pair.name) == (split == "val"))
            if not chosen:  # by chance, in a folder of a few pictures
                raise DataError(
                    f"{root}: of {len(pairs)} pictures none falls into {split}; make {split}/ folders to say which do"
                )
            return chosen
    present = [name for name in SPLITS if any(i.is_dir() and m.is_dir() for i, m in _split_folders(root, name))]
    if present:
        raise DataError(f"{root}: has no {split} split; it has {', '.join(present)}")
    raise DataError(f"{root}: no images/ beside masks/ here, nor train/ beside trainannot/, nor train/images/")


def _split_folders(root: Path, split: str) -> Iterable[tuple[Path, Path]]:
    for images in IMAGE_FOLDERS:
        for masks in MASK_FOLDERS:
            yield root / split / images, root / split / masks
            yield root / images / split, root / masks / split
    yield root / split, root / f"{split}annot"


def _plain_folders(root: Path) -> Iterable[tuple[Path, Path]]:
    for images in IMAGE_FOLDERS:
        for masks in MASK_FOLDERS:
            yield root / images, root / masks


def _files(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith("."):
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if stem in found:
                raise DataError(f"{path}: has the same name as {found[stem].name}; one of the two must go")
            found[stem] = path
    return found


def pairs_by_stem(images: Path, masks: Path) -> tuple[Pair, ...]:
    """Pair the pictures of two folders by their names without suffix, a mask's `_mask` and the like left out.

    Raises DataError that names the first picture without a mask, or mask without a picture.
    """
    pictures = _files(images, IMAGE_SUFFIXES)
    found = _files(masks, MASK_SUFFIXES)
    if not pictures:
        raise DataError(f"{images}: holds no pictures ({', '.join(IMAGE_SUFFIXES)})")
    pairs, used = [], set()
    for stem, image in pictures.items():
        mask = next((stem + ending for ending in ("", *MASK_ENDINGS) if stem + ending in found), None)
        if mask is None:
            raise DataError(f"{image}: has no mask in {masks} ({Path(stem).name}.png); add it, or take the picture out")
        used.add(mask)
        pairs.append(Pair(stem, image, found[mask]))
    orphans = sorted(set(found) - used)
    if orphans:
        raise DataError(
            f"{found[orphans[0]]}: has no picture in {images}"
            + (f", nor have {len(orphans) - 1} other masks" if len(orphans) > 1 else "")
            + "; add the picture, or take the mask out"
        )
    return tuple(pairs)


def mask_values(paths: Sequence[Path]) -> np.ndarray:
    """Pixels by raw value (65536,) int64, over all masks; read by several threads, as Pillow lets go of the GIL."""

    def count(path: Path) -> np.ndarray:
        return np.bincount(read_raw_mask(path).reshape(-1), minlength=1)

    total = np.zeros(1 << 16, dtype=np.int64)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for counts in pool.map(count, paths):
            total[: len(counts)] += counts
    return total


def folder_labels(root: Path, values: Mapping[int, int] | None = None, classes: Sequence[str] = ()) -> Labels:
    """What a folder's masks mean, from the values of its training masks and, where there is one, its classes.txt.

    values, classes: what the recipe says of label map and names; the rest is understood so:
    masks of 0 and 255 alone are background and foreground; otherwise values are classes, 0 to the highest one, and 255
    is ignored.
    """
    names = list(classes) or _names_file(root)
    if values:
        count = max((label for label in values.values() if label != IGNORE), default=0) + 1
        names = names or [f"class {index}" for index in range(max(count, 2))]
        return Labels(classes=tuple(names), values=dict(values), written=_first_values(values))
    seen = np.flatnonzero(mask_values([pair.mask for pair in _find_pairs(root, "train")]))
    if set(seen.tolist()) <= {0, IGNORE} and IGNORE in seen and len(names) in (0, 2):
        return Labels(classes=tuple(names or ("background", "foreground")), values={0: 0, IGNORE: 1})
    highest = int(max((value for value in seen if value != IGNORE), default=0))
    if highest > IGNORE:
        raise DataError(f"{root}: masks hold values up to {highest}; say which value is which class in [data.map]")
    if names and highest >= len(names):
        raise DataError(f"{root}: masks hold the value {highest}, but only {len(names)} classes are named")
    if not names and highest >= 64 and len(seen) < highest // 2:
        raise DataError(
            f"{root}: masks hold the values {_short(seen)}, which do not look like classes 0, 1, 2, ...; "
            "say which value is which class in [data.map], or name the classes in classes.txt"
        )
    return Labels(classes=tuple(names or [f"class {index}" for index in range(max(highest + 1, 2))]))


def _short(values: np.ndarray) -> str:
    shown = ", ".join(str(value) for value in values[:8])
    return shown if len(values) <= 8 else f"{shown}, ... ({len(values)} of them)"


def _first_values(values: Mapping[int, int]) -> dict[int, int]:
    """The smallest raw value of each class: the one that masks are written with."""
    first: dict[int, int] = {}
    for raw in sorted(values, reverse=True):
        first[values[raw]] = raw
    first.pop(IGNORE, None)
    return first


def _names_file(root: Path) -> list[str]:
    path = root / "classes.txt"
    if not path.is_file():
        return []
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
