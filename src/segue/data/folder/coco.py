"""COCO JSON: polygons and run lengths of things, drawn to masks; what no annotation covers is background."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from segue.data.folder.arrangement import SPLITS, Arrangement, names_of
from segue.data.folder.meaning import Meaning
from segue.data.folder.named import BACKGROUND, named_labels, raw_of
from segue.data.folder.pairing import Listing
from segue.data.folder.shapes import Area, draw, run_lengths, unpacked_run_lengths
from segue.data.places import Place, ZipPlace, is_aside
from segue.data.source import FileDataSet, Pair
from segue.errors import DataError
from segue.labels import Labels


@dataclass(frozen=True)
class CocoFile:
    """One annotation file, held compactly: annotations lie in arrays, sorted by picture.

    path: the file. names: category id -> name. pictures: file names, with (height, width) of each; numbers: their
    places in the list by their names without suffix.
    first: (pictures + 1,) where each picture's annotations begin. categories: (annotations,) ids.
    outlines: per annotation, which of the polygons are its own: (annotations + 1,) into `starts`.
    starts: (polygons + 1,) where each polygon begins in points: (P, 2) float32.
    runs: annotation -> its run lengths, packed or not, with the (height, width) that they fill.
    """

    path: Place
    names: Mapping[int, str]
    pictures: tuple[str, ...]
    numbers: Mapping[str, int]
    sizes: tuple[tuple[int, int], ...]
    first: np.ndarray
    categories: np.ndarray
    outlines: np.ndarray
    starts: np.ndarray
    points: np.ndarray
    runs: Mapping[int, tuple[str | list[int], tuple[int, int]]]

    def areas(self, picture: int, values: Mapping[int, int]) -> Iterator[Area]:
        """The areas of a picture, as they are listed; values: category id -> raw value."""
        for number in range(self.first[picture], self.first[picture + 1]):
            value = values[int(self.categories[number])]
            if number in self.runs:
                counts, size = self.runs[number]
                inside = run_lengths(unpacked_run_lengths(counts) if isinstance(counts, str) else counts, size)
                yield Area(value, mask=(inside, 0, 0))
            else:
                own = range(self.outlines[number], self.outlines[number + 1])
                yield Area(value, tuple(self.points[self.starts[i] : self.starts[i + 1]] for i in own))


def without_suffix(name: str) -> str:
    """`train/a.b.jpg` -> `train/a.b`."""
    return str(PurePosixPath(name).with_suffix(""))


def read_coco(path: Place) -> CocoFile:
    """One annotation file; the same again while the file stays as it is. Raises DataError when it is not COCO JSON."""
    status = (path.archive if isinstance(path, ZipPlace) else path).stat()
    return _read_coco(path, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _read_coco(path: Place, changed: int) -> CocoFile:
    content = _json(path)
    if not is_coco(content):
        raise DataError(f"{path}: is not COCO JSON: images, annotations and categories are looked for")
    try:
        return _compact(path, content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: is not sound COCO JSON ({error!r}); export it again") from error


def is_coco(content: object) -> bool:
    """Whether JSON is COCO's."""
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content)


def _json(path: Place) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is not JSON ({error}); export it again") from error


def _compact(path: Place, content: Mapping[str, Any]) -> CocoFile:
    pictures = [
        (one["id"], str(one["file_name"]), (int(one["height"]), int(one["width"]))) for one in content["images"]
    ]
    place_of = {number: place for place, (number, *_) in enumerate(pictures)}
    annotations = [one for one in content["annotations"] if one.get("segmentation")]
    for one in annotations:
        if one["image_id"] not in place_of:
            raise DataError(f"{path}: annotation {one.get('id')} is of picture {one['image_id']}, which is not listed")
    annotations.sort(key=lambda one: place_of[one["image_id"]])  # stable: their order within a picture stays
    first = np.searchsorted([place_of[one["image_id"]] for one in annotations], np.arange(len(pictures) + 1))
    flat: list[float] = []
    outlines, starts, runs = [0], [0], {}
    for number, one in enumerate(annotations):
        shape = one["segmentation"]
        if isinstance(shape, dict):
            runs[number] = shape["counts"], (int(shape["size"][0]), int(shape["size"][1]))
        else:
            for polygon in shape if isinstance(shape[0], list) else [shape]:
                flat += polygon
                starts.append(len(flat) // 2)
        outlines.append(len(starts) - 1)
    categories = {int(one["id"]): str(one["name"]) for one in content["categories"]}
    used = {int(one["category_id"]) for one in annotations}
    if not used <= set(categories):
        raise DataError(f"{path}: an annotation is of category {min(used - set(categories))}, which is not listed")
    # Roboflow lists the name of the whole project as a category, of which nothing is annotated.
    groups = {str(one.get("supercategory")) for one in content["categories"]}
    names = {key: name for key, name in categories.items() if key in used or name not in groups}
    return CocoFile(
        path,
        names or categories,
        tuple(name for _, name, _ in pictures),
        {without_suffix(name): number for number, (_, name, _) in enumerate(pictures)},
        tuple(size for *_, size in pictures),
        first,
        np.array([one["category_id"] for one in annotations], dtype=np.int64),
        np.array(outlines),
        np.array(starts),
        np.array(flat, dtype=np.float32).reshape(-1, 2),
        runs,
    )


@dataclass(frozen=True)
class CocoDrawer:
    """A pair of picture and annotation file -> raw values. values: category id -> raw value."""

    values: Mapping[int, int]
    background: int

    def __call__(self, pair: Pair) -> np.ndarray:
        coco = read_coco(pair.mask)
        number = coco.numbers[pair.name]
        try:
            return draw(coco.sizes[number], coco.areas(number, self.values), self.background)
        except ValueError as error:
            raise DataError(f"{pair.mask}: the annotations of {pair.name}: {error}; export it again") from error


@dataclass(frozen=True)
class Coco(Arrangement):
    """Pictures with COCO JSON. files: declared split -> its annotation file."""

    files: Mapping[str, Place]

    def kind(self) -> str:
        return f"COCO JSON in {self.files[self.declared[0]].name}"

    def listing_of(self, declared: str) -> Listing:
        path = self.files[declared]
        coco = read_coco(path)
        folder = _picture_folder(self.root, path, declared, coco.pictures)
        pairs = [Pair(without_suffix(name), folder / name, path) for name in coco.pictures]
        return Listing(f"{path}", tuple(sorted(pairs, key=lambda pair: pair.name)))

    def meaning(self, training: str, values: Mapping[int, int], names: Sequence[str]) -> Meaning:
        categories: dict[int, str] = {}
        for path in self.files.values():
            for key, name in read_coco(path).names.items():
                if categories.setdefault(key, name) != name:
                    raise DataError(
                        f"{path}: category {key} is {name}, where another file calls it {categories[key]}; "
                        "export all files together"
                    )
        ordered = [categories[key] for key in sorted(categories)]
        own = {categories[key]: key for key in categories}
        return named_labels(self.root, ordered, values, names, own)

    def data_set(self, listing: Listing, labels: Labels) -> FileDataSet:
        path = listing.pairs[0].mask
        values = {key: raw_of(labels, name, path) for key, name in read_coco(path).names.items()}
        return FileDataSet(listing.pairs, labels, draw=CocoDrawer(values, raw_of(labels, BACKGROUND, path)))


def _picture_folder(root: Place, path: Place, split: str, pictures: Sequence[str]) -> Place:
    """The folder that file names start from. Raises DataError when the first picture is in none."""
    if not pictures:
        raise DataError(f"{path}: lists no pictures")
    names = [name for one in names_of(split) for name in (one, f"{one}2017", f"{one}2014")] if split else []
    folders = [path.parent, root, root / "images", *(root / name for name in names)]
    folders += [root / "images" / name for name in names] + [root / name / "images" for name in names]
    for folder in folders:
        if (folder / pictures[0]).is_file():
            return folder
    looked = ", ".join(dict.fromkeys(str(folder.relative_to(root)) or "." for folder in folders))  # type: ignore[arg-type]
    raise DataError(f"{path}: lists {pictures[0]}, which is in none of these folders of {root}: {looked}")


def find_coco(root: Place) -> Coco | None:
    """COCO JSON in a folder, in its annotations/ or in its split folders; None when there is none."""
    found: dict[str, Place] = {}
    for folder in (root, root / "annotations", *(root / name for split in SPLITS for name in names_of(split))):
        inside = [one for one in folder.iterdir() if _is_json(one)] if folder.is_dir() else []
        if len(inside) > 16:  # a file beside each picture is labelme's
            continue
        for path in sorted(inside, key=str):
            split = _split_in(path, root)
            if split not in found and is_coco(_json(path)):
                found[split] = path
    if "train" in found:
        found.pop("", None)
    elif found and "" not in found:
        found = {"": next(iter(found.values()))}
    return Coco(root, tuple(sorted(found, key=["", *SPLITS].index)), found) if found else None


def _is_json(path: Place) -> bool:
    return path.suffix.lower() == ".json" and not is_aside(path.name)


def _split_in(path: Place, root: Place) -> str:
    """The split that a file's name, or its folder's, speaks of; "" when none."""
    words = f"{path.parent.name if path.parent != root else ''} {path.stem}".lower()
    for split in SPLITS:
        if any(name in words for name in names_of(split)):
            return split
    return ""
