"""What is declared of a data set that has a name: its classes, its splits and where their files lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from segue.data.layouts import Layout, Root
from segue.data.places import Place, only_folder
from segue.data.source import DataSet
from segue.errors import DataError
from segue.labels import IGNORE, Labels

IN_OR_OUT = ("in distribution", "anomaly")
"""The classes of an anomaly target: 0 and 1."""


def anomaly_labels(values: Mapping[int, int]) -> Labels:
    """Raw value -> 0 in distribution, 1 anomaly or `IGNORE`, as labels."""
    written = {values[raw]: raw for raw in sorted(values, reverse=True) if values[raw] != IGNORE}
    return Labels(classes=IN_OR_OUT, values=values, palette=((0, 0, 0), (255, 255, 255)), written=written)


@dataclass(frozen=True)
class Split:
    """One split as it was published.

    pictures: how many it has.
    layouts: the ways in which its files may lie; the first one that is there is taken.
    """

    pictures: int
    layouts: tuple[Layout, ...]


@dataclass(frozen=True)
class Archive:
    """A file to fetch.

    name: as its publishers call it.
    place: the folder below the root that it becomes, or the file, where it is not an archive.
    holds: a shell pattern of what lies directly in that folder; whatever the archive has above it is left out. Without
    one, the file is kept as it is.
    urls: where it is, the source first, then mirrors; none where one must register.
    sha256, md5: what its hash is known to be; size: its bytes. Empty where nobody recorded them.
    """

    name: str
    place: str
    holds: str = ""
    urls: tuple[str, ...] = ()
    sha256: str = ""
    md5: str = ""
    size: int = 0


@dataclass(frozen=True)
class Declaration:
    """A data set by name.

    title: what it is, for people. licence: what its publishers allow.
    labels: classes, colours and the label map.
    splits: by name; `hidden`: names of splits whose masks are not public, and who scores predictions for them.
    inside: the folders that its archives unpack to; a root may be any of them.
    anomalies: raw value -> in distribution, anomaly or ignored, where its masks mark anomalies.
    archives: what `segue download` fetches. registration: where to go, where one must register for them.
    rootless: it lies nowhere, since it is made when it is asked for.
    """

    name: str
    title: str
    licence: str
    labels: Labels
    splits: Mapping[str, Split]
    hidden: Mapping[str, str] = field(default_factory=dict)
    inside: str = ""
    anomalies: Labels | None = None
    archives: tuple[Archive, ...] = ()
    registration: str = ""
    rootless: bool = False

    def summary(self) -> str:
        """One line: title, classes, and splits with their sizes."""
        sizes = ", ".join(f"{name} {split.pictures}" for name, split in self.splits.items())
        return f"{self.title}; {self.labels.num_classes} classes; {sizes}"

    def open(self, root: Place, split: str) -> DataSet:
        """One split. Raises DataError for a split that there is not, and for files that are not in their place."""
        if split in self.hidden:
            raise DataError(f"{self.name}: the masks of {split} are not public; {self.hidden[split]}")
        if split not in self.splits:
            raise DataError(f"{self.name} has no split {split!r}; it has {', '.join(self.splits)}")
        nearest: list[str] | None = None
        for layout in self.splits[split].layouts:
            for where in self._roots(root):
                missing = layout.missing(where)
                if not missing:
                    return layout.open(where, self.labels, self.anomalies)
                if nearest is None or len(missing) < len(nearest):
                    nearest = missing
        assert nearest is not None  # a split has a layout
        raise DataError(
            f"{root}: no {split} split of {self.name} here, without {', '.join(nearest)}; "
            f"name its folder with --root, or see `segue download {self.name}`"
        )

    def _roots(self, root: Place) -> Iterator[Root]:
        """The root, or the only folder in it, as it is and taken for each of the folders inside."""
        parts = self.inside.split("/") if self.inside else []
        for where in (root, *only_folder(root)):
            yield Root(where)
            for count in range(1, len(parts) + 1):
                yield Root(where, "/".join(parts[:count]) + "/")
