"""YOLO's segmentation labels: images/ and labels/ with a text file per picture, whose lines are polygons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from segue.data.folder.arrangement import SPLITS, Arrangement, names_of
from segue.data.folder.meaning import Meaning
from segue.data.folder.named import BACKGROUND, named_labels, raw_of
from segue.data.folder.pairing import Listing, files_by_stem
from segue.data.folder.shapes import Area, draw
from segue.data.places import Place, any_below
from segue.data.source import FileDataSet, Pair
from segue.errors import DataError
from segue.labels import Labels
from segue.reading import IMAGE_SUFFIXES, read_size


def polygons(path: Place) -> Iterator[tuple[int, np.ndarray]]:
    """The lines of a label file: class, and polygon (n, 2) in shares of width and height.

    Raises DataError for a line that is none.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            label, shares = int(words[0]), np.array([float(word) for word in words[1:]])
        except ValueError as error:
            raise DataError(f"{path}: line {number} is not a class and numbers ({error}); export it again") from error
        if len(shares) == 4:
            raise DataError(f"{path}: line {number} is a box, not a polygon; export the data for segmentation")
        if len(shares) < 6 or len(shares) % 2:
            raise DataError(f"{path}: line {number} has {len(shares)} numbers, where a polygon has 6, 8, ...")
        yield label, shares.reshape(-1, 2)


@dataclass(frozen=True)
class YoloDrawer:
    """A pair's label file -> raw values; a picture without one is all background. values: class -> raw value."""

    values: Mapping[int, int]
    background: int

    def __call__(self, pair: Pair) -> np.ndarray:
        size = read_size(pair.image)
        found = list(polygons(pair.mask)) if pair.mask.is_file() else []
        unknown = next((label for label, _ in found if label not in self.values), None)
        if unknown is not None:
            raise DataError(f"{pair.mask}: has the class {unknown}; data.yaml names 0 to {max(self.values)}")
        scale = np.array([size[1], size[0]])
        return draw(size, (Area(self.values[label], (shares * scale,)) for label, shares in found), self.background)


@dataclass(frozen=True)
class Yolo(Arrangement):
    """Pictures with YOLO's labels.

    folders: declared split -> where its pictures and label files lie. names: of the classes, from 0; what data.yaml
    says.
    """

    folders: Mapping[str, tuple[Place, Place]]
    names: tuple[str, ...]

    def kind(self) -> str:
        return "polygons of YOLO"

    def listing_of(self, declared: str) -> Listing:
        images, labels = self.folders[declared]
        pictures, clashes = files_by_stem(images, IMAGE_SUFFIXES)
        files, _ = files_by_stem(labels, (".txt",))
        return Listing(
            f"{images} and {labels}",
            tuple(Pair(stem, image, files.get(stem, labels / f"{stem}.txt")) for stem, image in pictures.items()),
            orphans=tuple(file for stem, file in files.items() if stem not in pictures and file.stem != "classes"),
            clashes=clashes,
        )

    def meaning(self, training: str, values: Mapping[int, int], names: Sequence[str]) -> Meaning:
        return named_labels(self.root, self._class_names(), values, names, {})

    def data_set(self, listing: Listing, labels: Labels) -> FileDataSet:
        names = self._class_names()
        values = {index: raw_of(labels, name, self.root) for index, name in enumerate(names)}
        return FileDataSet(listing.pairs, labels, draw=YoloDrawer(values, raw_of(labels, BACKGROUND, self.root)))

    def _class_names(self) -> list[str]:
        if self.names:
            return list(self.names)
        files = (pair.mask for split in self.declared for pair in self.listing_of(split).pairs if pair.mask.is_file())
        highest = max((label for file in files for label, _ in polygons(file)), default=-1)
        return [f"class {index}" for index in range(highest + 1)]


def find_yolo(root: Place) -> Yolo | None:
    """Folders of pictures with folders of label files beside them, and data.yaml; None when there are none."""
    found = {}
    for split in SPLITS:
        for name in names_of(split):
            for images, labels in (
                (root / "images" / name, root / "labels" / name),
                (root / name / "images", root / name / "labels"),
            ):
                if split not in found and images.is_dir() and labels.is_dir() and _holds_labels(labels):
                    found[split] = images, labels
    images, labels = root / "images", root / "labels"
    if not found and images.is_dir() and labels.is_dir() and _holds_labels(labels):
        found[""] = images, labels
    return Yolo(root, tuple(found), found, _names(root)) if found else None


def _holds_labels(folder: Place) -> bool:
    return any_below(folder, (".txt",))


def _names(root: Place) -> tuple[str, ...]:
    """The class names of the YAML file in a folder; () when there is none."""
    for path in (root / name for name in sorted(one.name for one in root.iterdir())):
        if path.suffix.lower() not in (".yaml", ".yml"):
            continue
        try:
            content: Any = yaml.safe_load(path.read_bytes())
        except yaml.YAMLError as error:
            raise DataError(f"{path}: is not YAML ({' '.join(str(error).split())})") from error
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, dict):
            keys = sorted(names, key=int)
            if [int(key) for key in keys] != list(range(len(keys))):
                raise DataError(f"{path}: names the classes {', '.join(map(str, keys))}; they must count up from 0")
            names = [names[key] for key in keys]
        if isinstance(names, list) and names:
            return tuple(str(name) for name in names)
    return ()
