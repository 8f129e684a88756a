"""What every kind of own data is: splits of pictures with something that says what their pixels are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from segue.data.folder.class_table import ClassTable, find_class_table
from segue.data.folder.meaning import Meaning
from segue.data.folder.pairing import Listing, in_validation
from segue.data.places import Place
from segue.data.source import FileDataSet
from segue.errors import DataError
from segue.labels import Labels

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""What a split's folder or file may be called."""


def names_of(split: str) -> tuple[str, ...]:
    """What a split may be called in a folder; a name of its own stands for itself."""
    return SPLIT_NAMES.get(split, (split,))


@dataclass(frozen=True)
class Arrangement(ABC):
    """A folder of own data, understood as one of the kinds there are.

    root: where it lies. declared: its splits as the files lie, "" being all of a folder without split folders.
    """

    root: Place
    declared: tuple[str, ...]

    @abstractmethod
    def kind(self) -> str:
        """What it is, for people: `COCO JSON`, say."""

    @abstractmethod
    def listing_of(self, declared: str) -> Listing:
        """The pictures of one declared split, with what is left over."""

    @abstractmethod
    def meaning(self, training: str, values: Mapping[int, int], names: Sequence[str]) -> Meaning:
        """What pixels mean, from the recipe's label map and class names, and from the files of the split `training`."""

    @abstractmethod
    def data_set(self, listing: Listing, labels: Labels) -> FileDataSet:
        """The pairs of a listing, with targets of these labels."""

    def splits(self) -> tuple[str, ...]:
        """The splits that can be asked for: those declared; and without a val, one made of train by the names."""
        if self._divided is None:
            return self.declared
        return ("train", "val", *(name for name in self.declared if name not in ("", "train")))

    def listing(self, split: str) -> Listing:
        """A split's pictures, with what is left over. Raises DataError when there is no such split."""
        if split in self.declared:
            whole = self.listing_of(split)
            return whole.part(lambda name: not in_validation(name)) if split == self._divided else whole
        if split in ("train", "val") and self._divided is not None:
            whole = self.listing_of(self._divided)
            return whole.part(lambda name: in_validation(name) == (split == "val"))
        raise DataError(f"{self.root}: has no {split} split; it has {', '.join(self.splits())}")

    @property
    def _divided(self) -> str | None:
        """The declared split that is divided into training and validation; None when both are declared."""
        if "val" in self.declared:
            return None
        return next((name for name in ("train", "") if name in self.declared), None)

    def open(self, split: str, labels: Labels) -> FileDataSet:
        """A split with its labels. Raises DataError for the first file without a partner, and for an empty split."""
        return self.data_set(self.filled(split), labels)

    def filled(self, split: str) -> Listing:
        """A split's pictures. Raises DataError for the first file without a partner, and for an empty split."""
        listing = self.listing(split)
        if not listing.whole():  # by chance, in a folder of a few pictures
            raise DataError(
                f"{self.root}: of its pictures none falls into {split}; make train/ and val/ folders to say which do"
            )
        return listing

    def class_table(self) -> ClassTable | None:
        """The file that names the classes, in the folder or beside the training pictures."""
        return find_class_table([self.root, *(self.root / name for name in (*names_of("train"), "annotations"))])

    def lines(self) -> Iterator[str]:
        """What was understood of the files, for people."""
        counts = {split: len(self.listing(split).pairs) for split in self.splits()}
        rule = " (a fifth of the names validates)" if self._divided is not None else ""
        yield f"{self.kind()}: " + ", ".join(f"{split} {count}" for split, count in counts.items()) + rule
        if self._divided is not None and counts["val"] > counts["train"] / 2:
            yield "so many validate by the chance of few names; make train/ and val/ folders to say which do"
