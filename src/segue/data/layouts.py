"""How the files of a data set may lie below its root: the few shapes that the published ones have.

Ways to files are templates such as `leftImg8bit/train/{}_leftImg8bit.png`: `{}` stands for a picture's name, which may
hold folders, and `*` for as little as it takes within one folder's name.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from segue.data.places import Place
from segue.data.source import DataSet, FileDataSet, MaskReader, Pair
from segue.errors import DataError
from segue.labels import Labels

Templates = str | tuple[str, ...]


@dataclass(frozen=True)
class Root:
    """Where a data set lies.

    inside: what of its ways is left out, where the root is one of its inner folders already.
    """

    place: Place
    inside: str = ""

    def __truediv__(self, way: str) -> Place:
        return self.place / way.removeprefix(self.inside)


class Layout(ABC):
    """One way in which the files of a split may lie."""

    @abstractmethod
    def missing(self, root: Root) -> list[str]:
        """The folders and files of this layout that are not there; none when the split is."""

    @abstractmethod
    def open(self, root: Root, labels: Labels, anomalies: Labels | None) -> DataSet:
        """The split. Raises DataError that names a picture without a mask, or a mask without a picture."""


class Paired(Layout):
    """A picture's file and its mask's file."""

    read: MaskReader | None

    @abstractmethod
    def pairs(self, root: Root) -> tuple[Pair, ...]:
        """The pictures with their masks, sorted as the data set has them."""

    def open(self, root: Root, labels: Labels, anomalies: Labels | None) -> DataSet:
        return FileDataSet(self.pairs(root), labels, read=self.read, anomalies=anomalies)


def any_name(name: str) -> bool:
    """Every picture belongs to the split."""
    return True


@dataclass(frozen=True)
class Matched(Paired):
    """Pictures and masks that are found by their names, below two folders.

    image, mask: templates; of several, each may hold some of the files.
    only: which names belong to the split.
    masked_only: pictures without a mask are left out; otherwise they are an error.
    """

    image: Templates
    mask: Templates
    only: Callable[[str], bool] = any_name
    masked_only: bool = False
    read: MaskReader | None = None

    def missing(self, root: Root) -> list[str]:
        return missing_folders(root, self.image, self.mask)

    def pairs(self, root: Root) -> tuple[Pair, ...]:
        images, masks = (find_files(root, templates, self.only) for templates in (self.image, self.mask))
        if self.masked_only:
            images = {name: place for name, place in images.items() if name in masks}
        return pair_up(images, masks, self.image, self.mask)


def missing_folders(root: Root, *templates: Templates) -> list[str]:
    """Of each template, its folder if that is not there; of several in one, all if none is."""
    return [
        " or ".join(folders)
        for folders in map(_folders, templates)
        if not any((root / folder).is_dir() for folder in folders)
    ]


def find_files(root: Root, templates: Templates, only: Callable[[str], bool] = any_name) -> dict[str, Place]:
    """The files of one template or several by their pictures' names, sorted. Raises DataError when there is none."""
    found: dict[str, Place] = {}
    for template in _several(templates):
        folder, pattern = _split(template)
        if (root / folder).is_dir():
            found |= {name: place for name, place in _matches(root / folder, pattern) if only(name)}
    if not found:
        raise DataError(f"{root.place}: holds no file {_all(templates)} of this split")
    return dict(sorted(found.items()))


def pair_up(
    images: Mapping[str, Place], masks: Mapping[str, Place], image: Templates, mask: Templates
) -> tuple[Pair, ...]:
    """Pictures and masks of the same names. Raises DataError for the first one that is alone; the templates say where
    its other half should lie.
    """
    for alone, others, what, ways in ((images, masks, "mask", mask), (masks, images, "picture", image)):
        left = [name for name in alone if name not in others]
        if left:
            count = len(left) - 1
            more = f", nor {'has one other' if count == 1 else f'have {count} others'}" if count else ""
            raise DataError(
                f"{alone[left[0]]}: has no {what} {_all(ways).replace('{}', left[0])}{more}; add it, or take this away"
            )
    return tuple(Pair(name, place, masks[name]) for name, place in images.items())


@dataclass(frozen=True)
class Listed(Paired):
    """Pictures that list files name, a name at the start of each line.

    lists: the files, whose names are put together.
    without: files of names that are taken out again.
    image, mask: templates; of several masks, a picture has the first one that there is.
    """

    lists: tuple[str, ...]
    image: str
    mask: Templates
    without: tuple[str, ...] = ()
    read: MaskReader | None = None

    def missing(self, root: Root) -> list[str]:
        folders = _folders(self.mask)
        return [
            *(way for way in (*self.lists, *self.without) if not (root / way).is_file()),
            *(folder for folder in _folders(self.image) if not (root / folder).is_dir()),
            *([] if any((root / folder).is_dir() for folder in folders) else [" or ".join(folders)]),
        ]

    def pairs(self, root: Root) -> tuple[Pair, ...]:
        images = _Folder(root, self.image)
        masks = [_Folder(root, template) for template in _several(self.mask)]
        left_out = set(_names(root, self.without))
        pairs = []
        for name in _names(root, self.lists):
            if name in left_out:
                continue
            image = images.file(name)
            mask = next((found for folder in masks if (found := folder.file(name)) is not None), None)
            if image is None or mask is None:
                what, ways = ("picture", self.image) if image is None else ("mask", self.mask)
                raise DataError(
                    f"{root / self.lists[0]}: lists {name}, which has no {what} {_all(ways).replace('{}', name)} "
                    f"in {root.place}; add it"
                )
            pairs.append(Pair(name, image, mask))
        if not pairs:
            raise DataError(f"{root / self.lists[0]}: lists no picture")
        return tuple(pairs)


class _Folder:
    """The files of one folder by name; it is listed once, as asking for one file after another is slow on a network."""

    def __init__(self, root: Root, template: str) -> None:
        folder, self.pattern = _split(template)
        self.place = root / folder
        self.names = {file.name for file in self.place.iterdir()} if self.place.is_dir() else set()

    def file(self, name: str) -> Place | None:
        wanted = self.pattern.replace("{}", name)
        return self.place / wanted if wanted in self.names else None


def _names(root: Root, lists: Iterable[str]) -> list[str]:
    lines = (line.split() for way in lists for line in (root / way).read_text(encoding="utf-8").splitlines())
    return list(dict.fromkeys(words[0] for words in lines if words))


def _matches(folder: Place, pattern: str) -> Iterator[tuple[str, Place]]:
    """What lies below a folder and matches a template's pattern, with the name that `{}` stands for."""
    expression = re.compile(
        "".join({"{}": "(.+)", "*": "[^/]*?"}.get(part, re.escape(part)) for part in re.split(r"(\{\}|\*)", pattern))
    )
    for way, file in _files(folder, ending=pattern.rpartition("{}")[2]):
        if match := expression.fullmatch(way):
            yield match[1], file


def _files(folder: Place, ending: str, above: str = "") -> Iterator[tuple[str, Place]]:
    """The files below a folder with this ending, and their ways from there; several times as fast as `rglob`."""
    for child in folder.iterdir():
        name = child.name
        if name.startswith("."):
            continue
        if name.endswith(ending):  # and is no folder then, which need not be asked of the disk
            yield f"{above}{name}", child
        elif child.is_dir():
            yield from _files(child, ending, f"{above}{name}/")


def _split(template: str) -> tuple[str, str]:
    """A template's folder, up to the first wildcard, and the rest."""
    folder = re.split(r"\{\}|\*", template, maxsplit=1)[0].rpartition("/")[0]
    return folder, template.removeprefix(folder).removeprefix("/")


def _several(templates: Templates) -> tuple[str, ...]:
    return (templates,) if isinstance(templates, str) else templates


def _folders(templates: Templates) -> list[str]:
    return list(dict.fromkeys(_split(template)[0] for template in _several(templates)))


def _all(templates: Templates) -> str:
    return " or ".join(_several(templates))
