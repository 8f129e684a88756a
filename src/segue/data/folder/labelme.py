"""labelme: a JSON file beside each picture, with polygons, rectangles, circles and masks, drawn to masks."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from segue.data.folder.arrangement import SPLITS, Arrangement, names_of
from segue.data.folder.meaning import Meaning
from segue.data.folder.named import BACKGROUND, named_labels, raw_of
from segue.data.folder.pairing import Listing, files_by_stem
from segue.data.folder.shapes import Area, draw
from segue.data.places import Place, is_aside
from segue.data.source import FileDataSet, Pair
from segue.errors import DataError
from segue.labels import Labels
from segue.reading import IMAGE_SUFFIXES

CORNERS_OF_A_CIRCLE = 64
WITHOUT_AREA = ("point", "points", "line", "linestrip")


def read_labelme(path: Place) -> dict[str, Any]:
    """One file. Raises DataError when it is not labelme's."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is not JSON ({error}); save the annotations again") from error
    if not is_labelme(content):
        raise DataError(f"{path}: is not a file of labelme: shapes, imageHeight and imageWidth are looked for")
    return dict(content)


def is_labelme(content: object) -> bool:
    """Whether JSON is labelme's."""
    return isinstance(content, dict) and {"shapes", "imageHeight", "imageWidth"} <= set(content)


def outline_of(shape: Mapping[str, Any]) -> np.ndarray:
    """The polygon (n, 2) of a shape with an area. Raises ValueError for one without."""
    kind, points = shape.get("shape_type") or "polygon", np.array(shape["points"], dtype=np.float64)
    if kind == "rectangle" and len(points) == 2:
        (x, y), (right, bottom) = points
        return np.array([(x, y), (right, y), (right, bottom), (x, bottom)])
    if kind == "circle" and len(points) == 2:
        turn = np.linspace(0, 2 * np.pi, CORNERS_OF_A_CIRCLE, endpoint=False)
        circle: np.ndarray = points[0] + np.linalg.norm(points[1] - points[0]) * np.stack(
            [np.cos(turn), np.sin(turn)], axis=1
        )
        return circle
    if kind not in ("polygon", "rectangle") or len(points) < 3:
        raise ValueError(f"the {kind} {shape.get('label')!r} has {len(points)} points, which enclose nothing")
    return points


def areas_of(content: Mapping[str, Any], labels: Labels, path: Place) -> Iterator[Area]:
    """The areas of a file in their order; points and lines have none."""
    for shape in content["shapes"]:
        if shape.get("shape_type") in WITHOUT_AREA:
            continue
        value = raw_of(labels, str(shape["label"]), path)
        if shape.get("shape_type") == "mask":
            with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as file:
                inside = np.asarray(file) > 0
            left, top = (round(one) for one in shape["points"][0])
            yield Area(value, mask=(inside, left, top))
        else:
            yield Area(value, (outline_of(shape),))


@dataclass(frozen=True)
class LabelmeDrawer:
    """A pair's file of labelme -> raw values."""

    labels: Labels

    def __call__(self, pair: Pair) -> np.ndarray:
        content = read_labelme(pair.mask)
        size = int(content["imageHeight"]), int(content["imageWidth"])
        try:
            return draw(size, areas_of(content, self.labels, pair.mask), raw_of(self.labels, BACKGROUND, pair.mask))
        except DataError:
            raise
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise DataError(f"{pair.mask}: {error}; mend the shape, or save the annotations again") from error


@dataclass(frozen=True)
class Labelme(Arrangement):
    """Pictures with labelme's files. folders: declared split -> where its pictures and files lie."""

    folders: Mapping[str, tuple[Place, Place]]

    def kind(self) -> str:
        return "polygons of labelme"

    def listing_of(self, declared: str) -> Listing:
        images, annotations = self.folders[declared]
        pictures, clashes = files_by_stem(images, IMAGE_SUFFIXES)
        files, _ = files_by_stem(annotations, (".json",))
        return Listing(
            f"{annotations}" if images == annotations else f"{images} and {annotations}",
            tuple(Pair(stem, pictures[stem], files[stem]) for stem in pictures if stem in files),
            tuple(picture for stem, picture in pictures.items() if stem not in files),
            tuple(file for stem, file in files.items() if stem not in pictures),
            clashes,
        )

    def meaning(self, training: str, values: Mapping[int, int], names: Sequence[str]) -> Meaning:
        table = self.class_table()
        if table is not None:
            found = [row.name for row in table.rows]
        else:
            pairs = (pair for split in self.declared for pair in self.listing_of(split).pairs)
            found = sorted({str(shape.get("label")) for pair in pairs for shape in read_labelme(pair.mask)["shapes"]})
        return named_labels(self.root, found, values, names, {})

    def data_set(self, listing: Listing, labels: Labels) -> FileDataSet:
        return FileDataSet(listing.pairs, labels, draw=LabelmeDrawer(labels))


def find_labelme(root: Place) -> Labelme | None:
    """labelme's files beside the pictures, or in a folder of their own; None when there are none."""
    found = {}
    for split in SPLITS:
        for name in names_of(split):
            places = _folders_of(root / name)
            if places is not None:
                found[split] = places
                break
    if not found and (places := _folders_of(root)) is not None:
        found[""] = places
    return Labelme(root, tuple(found), found) if found else None


def _folders_of(folder: Place) -> tuple[Place, Place] | None:
    """Where pictures and files lie, in one folder or in two inside of it."""
    pictures = [folder / name for name in ("images", "imgs", "JPEGImages") if (folder / name).is_dir()] or [folder]
    files = [folder / name for name in ("annotations", "labels", "json", "jsons") if (folder / name).is_dir()]
    for place in filter(lambda one: one.is_dir(), (*files, *pictures)):
        first = next((one for one in place.iterdir() if one.suffix == ".json" and not is_aside(one.name)), None)
        if first is not None and is_labelme(_json_or_none(first)):
            return pictures[0], place
    return None


def _json_or_none(path: Place) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None
