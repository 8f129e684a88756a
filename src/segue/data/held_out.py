"""Classes held out: a network is trained without them, and they are the anomalies it is asked to find.

Their pixels are ignored, in training as in the count of known classes; the pictures stay. In the anomalies' target
they are 1, ignored pixels are ignored, and all others are 0.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segue.data.declaration import anomaly_labels
from segue.data.source import DataSet, PairStamp
from segue.errors import DataError
from segue.labels import IGNORE, Labels


def hold_out(data: DataSet, names: Sequence[str]) -> DataSet:
    """The data set without some classes, which become its anomalies; the data set itself where none is named.

    Raises DataError for a name that no class has.
    """
    return HeldOut(data, _numbers(data.labels, names)) if names else data


def labels_without(labels: Labels, names: Sequence[str]) -> Labels:
    """The classes that stay, in their order; the raw values of the others are ignored."""
    return _without(labels, _numbers(labels, names)) if names else labels


def values_without(values: tuple[float, ...], labels: Labels, names: Sequence[str]) -> tuple[float, ...]:
    """A value for each class, such as its weight -> those of the classes that stay; others are returned as they are."""
    if not names or len(values) != labels.num_classes:
        return values
    held = _numbers(labels, names)
    return tuple(value for label, value in enumerate(values) if label not in held)


class HeldOut(DataSet):
    """A data set without some classes, by their numbers."""

    def __init__(self, data: DataSet, held: Sequence[int]) -> None:
        self.data = data
        self.labels = _without(data.labels, held)
        table = np.full(256, IGNORE, dtype=np.uint8)
        stays = [label for label in range(data.labels.num_classes) if label not in held]
        table[stays] = np.arange(len(stays))
        self.table = table
        self.anomalies = _Anomalies(data, held)

    def __len__(self) -> int:
        return len(self.data)

    def name(self, index: int) -> str:
        return self.data.name(index)

    def image(self, index: int) -> np.ndarray:
        return self.data.image(index)

    def target(self, index: int) -> np.ndarray:
        classes: np.ndarray = self.table[self.data.target(index)]
        return classes

    def stamp(self, index: int) -> PairStamp | None:
        stamp = self.data.stamp(index)
        if stamp is None:
            return None
        # What is kept of a mask depends on the classes that are held out.
        return replace(stamp, mask=replace(stamp.mask, version=f"{stamp.mask.version}:{self.table.tobytes().hex()}"))

    def order(self, seed: int, epoch: int) -> np.ndarray:
        return self.data.order(seed, epoch)


class _Anomalies(DataSet):
    """The same pictures, with the held-out classes as anomalies."""

    def __init__(self, data: DataSet, held: Sequence[int]) -> None:
        self.data = data
        self.labels = anomaly_labels({0: 0, 1: 1, IGNORE: IGNORE})
        self.table = np.zeros(256, dtype=np.uint8)
        self.table[list(held)] = 1
        self.table[IGNORE] = IGNORE

    def __len__(self) -> int:
        return len(self.data)

    def name(self, index: int) -> str:
        return self.data.name(index)

    def image(self, index: int) -> np.ndarray:
        return self.data.image(index)

    def target(self, index: int) -> np.ndarray:
        anomalous: np.ndarray = self.table[self.data.target(index)]
        return anomalous


def _numbers(labels: Labels, names: Sequence[str]) -> list[int]:
    """The classes of these names, whatever their capitals."""
    known = {name.casefold(): label for label, name in enumerate(labels.classes)}
    held = []
    for name in names:
        if name.casefold() not in known:
            near = difflib.get_close_matches(name.casefold(), known, n=1)
            hint = f"did you mean {labels.classes[known[near[0]]]}?" if near else f"it has {', '.join(labels.classes)}"
            raise DataError(f"--hold-out {name}: the data have no such class; {hint}")
        held.append(known[name.casefold()])
    if labels.num_classes - len(set(held)) < 2:
        raise DataError(f"--hold-out {' '.join(names)}: at least two classes have to stay")
    return sorted(set(held))


def _without(labels: Labels, held: Sequence[int]) -> Labels:
    stays = [label for label in range(labels.num_classes) if label not in held]
    new = {label: number for number, label in enumerate(stays)}
    # A class whose other side is held out has none: it stays itself in a mirror.
    mirror = [new.get(labels.mirror[label], new[label]) for label in stays] if labels.mirror else []
    return replace(
        labels,
        classes=tuple(labels.classes[label] for label in stays),
        values={raw: new.get(label, IGNORE) for raw, label in labels.values.items()},
        palette=tuple(labels.palette[label] for label in stays),
        written={new.get(label, IGNORE): raw for label, raw in labels.written.items() if label not in held},
        mirror=tuple(mirror),
    )
