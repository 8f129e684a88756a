"""A data set as the doctor sees it: its splits with all that was found in each pair, and what the masks mean."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from segue.check.examination import Examined, examine
from segue.data import DATASETS, DataSet, FileDataSet, own_place
from segue.data.folder import Arrangement, understand
from segue.data.folder.arrangement import SPLITS
from segue.data.folder.mask_facts import MaskFacts
from segue.data.folder.mask_files import MaskFiles
from segue.data.folder.meaning import Meaning, meaning_of, together
from segue.data.folder.pairing import Listing
from segue.data.places import place
from segue.data.shards import is_shards, open_shards, understood_shards
from segue.errors import DataError
from segue.labels import IGNORE, Labels, packed

PROBE = Labels(classes=("any", "other"))
SELDOM = 0.02  # of all masks have a value that may be a slip of the hand
TOLD = Callable[[int, int], None]
"""Is called with how many pairs are done, of how many."""


@dataclass(eq=False)
class Split:
    """One split: its pictures, what is left over, and what was found in each pair.

    labelled: class -> pixels of each pair (n, K + 1), ignored ones last; pixels that have no class are in none.
    """

    name: str
    data: DataSet
    listing: Listing | None = None
    examined: list[Examined] = field(default_factory=list)
    labelled: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))

    def ones(self) -> Iterator[One]:
        """Its pictures, with what was found in each."""
        return (One(self, index) for index in range(len(self.examined)))


@dataclass(frozen=True)
class One:
    """A picture of a split, and what was found."""

    split: Split
    index: int

    @property
    def found(self) -> Examined:
        """What was found in the picture and its mask."""
        return self.split.examined[self.index]

    @property
    def file(self) -> str:
        """The picture's file, or its name where it has none."""
        data = self.split.data
        if isinstance(data, FileDataSet):
            return str(data.pairs[self.index].image)
        stamp = data.stamp(self.index)
        return stamp.image.path if stamp is not None else data.name(self.index)

    @property
    def mask_file(self) -> str:
        """The mask's file, or what stands for the picture's where it has none."""
        data = self.split.data
        return str(data.pairs[self.index].mask) if isinstance(data, FileDataSet) else self.file


@dataclass
class Survey:
    """All splits, and what the masks mean.

    troubles: lines about what could not even be listed. known: whether the classes are declared, by a data set of this
    name or by annotations, and not read off the masks. absent: lines about splits that are not here, and that training
    can do without.
    """

    name: str
    splits: list[Split]
    labels: Labels | None
    lines: tuple[str, ...]
    troubles: list[str]
    known: bool
    absent: list[str] = field(default_factory=list)

    def ones(self) -> Iterator[One]:
        """The pictures of all splits."""
        return (one for split in self.splits for one in split.ones())

    def split(self, name: str) -> Split | None:
        """A split by its name; None when there is none."""
        return next((split for split in self.splits if split.name == name), None)


def survey(name: str, root: str, workers: int, tell: TOLD, values: Mapping[int, int], classes: Sequence[str]) -> Survey:
    """Look at every pair of a data set by name, or of own data.

    values, classes: what a recipe says in [data.map] and data.classes. Raises DataError when there is nothing to look
    at, and where a data set's own classes are fixed.
    """
    if name in DATASETS:
        if values or classes:
            raise DataError(f"{name} declares its classes itself; a map and classes are for data of your own")
        found = _named(name, root)
    else:
        found = (_sharded if is_shards(name) else _own)(name, values, classes)
    jobs: dict[object, tuple[int, int]] = {}  # a picture may be in several splits, and is looked at once
    for number, split in enumerate(found.splits):
        for index in range(len(split.data)):
            jobs.setdefault(_picture(split.data, index), (number, index))
    seen: dict[object, Examined] = {}
    for picture, one in zip(jobs, _examine_all(found.splits, list(jobs.values()), workers), strict=True):
        seen[picture] = one
        tell(len(seen), len(jobs))
    for split in found.splits:
        split.examined = [seen[_picture(split.data, index)] for index in range(len(split.data))]
    if found.labels is None:
        _understand_masks(found, understand(own_place(name)), classes)
    for split in found.splits:
        split.labelled = np.array([_count(one.mask, found.labels) for one in split.examined])
    return found


def _picture(data: DataSet, index: int) -> object:
    """What tells a picture from all others of a data set: its files, or its name where it has none."""
    return data.pairs[index] if isinstance(data, FileDataSet) else data.stamp(index) or data.name(index)


def _named(name: str, root: str) -> Survey:
    declared = DATASETS[name]
    if not root and not declared.rootless:
        raise DataError(f"{name}: say where it lies with --root")
    where = place(root)
    splits: list[Split] = []
    troubles: list[str] = []
    absent: list[str] = []
    for split in declared.splits:
        if split in declared.hidden:
            continue
        try:
            splits.append(Split(split, declared.open(where, split)))
        except DataError as error:
            (troubles if split in ("train", "val") else absent).append(str(error))
    if not splits:
        raise DataError([*troubles, *absent][0])
    return Survey(name, splits, declared.labels, (), troubles, known=True, absent=absent)


def _sharded(name: str, values: Mapping[int, int], classes: Sequence[str]) -> Survey:
    known = understood_shards(name, values, classes)
    splits = []
    for split in SPLITS:
        try:
            splits.append(Split(split, open_shards(name, split, known.labels)))
        except DataError:
            if split == "train":
                raise
    return Survey(name, splits, known.labels, known.lines, [], known=True)


def _own(name: str, values: Mapping[int, int], classes: Sequence[str]) -> Survey:
    arrangement = understand(own_place(name))
    labels, lines, troubles = None, tuple(arrangement.lines()), []
    masks = isinstance(arrangement, MaskFiles)
    if values or not masks:
        try:
            meaning = arrangement.meaning("train", values, classes)
            labels, lines = meaning.labels, (*lines, *meaning.lines)
        except DataError as error:
            troubles.append(str(error))
    splits = []
    for split in arrangement.splits():
        listing = arrangement.listing(split)
        data = (
            arrangement.data_set(listing, labels or PROBE)
            if listing.pairs and (labels is not None or masks)
            else FileDataSet((), PROBE)
        )
        splits.append(Split(split, data, listing))
    return Survey(name, splits, labels, lines, troubles, known=not masks)


def _understand_masks(found: Survey, arrangement: Arrangement, names: Sequence[str]) -> None:
    """Read the meaning of masks off what they hold, as training would, from those that can be read and are not blurred.

    Where that cannot be, values that hardly any mask has are left out: what they are is told mask by mask.
    """
    training = found.split("train")
    if training is None or not isinstance(training.data, FileDataSet):
        return
    facts = {
        pair.mask: one.mask
        for pair, one in zip(training.data.pairs, training.examined, strict=True)
        if isinstance(one.mask, MaskFacts)
    }
    clear = {path: one for path, one in facts.items() if not one.blurred} or facts
    if not clear:
        return
    trouble = ""
    for usual in (False, True):
        try:
            seen = together(list(clear), list(clear.values()))
            if usual:
                often = Counter(value for one in clear.values() for value in one.values.tolist())
                kept = np.array([often[value] > max(1, len(clear) * SELDOM) for value in seen.values.tolist()])
                seen = replace(seen, values=seen.values[kept], counts=seen.counts[kept])
            meaning: Meaning = meaning_of(arrangement.root, seen, arrangement.class_table(), names)
        except DataError as error:
            trouble = trouble or str(error)
        else:
            found.labels, found.lines = meaning.labels, (*found.lines, *meaning.lines)
            return
    if not all(one.blurred for one in facts.values()):  # which is a finding by itself
        found.troubles.append(trouble)


def class_of_value(labels: Labels, coloured: bool) -> Mapping[int, int]:
    """What a mask may hold -> class or `IGNORE`; colours are packed."""
    if not coloured:
        return labels.values
    keys = np.array(list(labels.colour_key), dtype=np.uint8).reshape(-1, 3)
    raws = labels.colour_key.values()
    return {
        colour: labels.values[raw]
        for colour, raw in zip(packed(keys).tolist(), raws, strict=True)
        if raw in labels.values
    }


def _count(mask: MaskFacts | str, labels: Labels | None) -> list[int]:
    """Pixels of each class, and of those ignored, in one mask."""
    if labels is None:
        return [0]
    counts = [0] * (labels.num_classes + 1)
    if isinstance(mask, MaskFacts):
        classes = class_of_value(labels, mask.coloured)
        for value, count in zip(mask.values.tolist(), mask.counts.tolist(), strict=True):
            label = classes.get(value)
            if label is not None:
                counts[-1 if label == IGNORE else label] += count
    return counts


# Many at once


def _examine_all(splits: Sequence[Split], jobs: Sequence[tuple[int, int]], workers: int) -> Iterator[Examined]:
    """What each job (split, index) finds, in their order."""
    if workers == 1 or len(jobs) < 32:
        for number, index in jobs:
            yield examine(splits[number].data, index)
        return
    # A server that forks: the processes start from a clean one, which holds no thread and no lock of this one.
    how = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    pool = multiprocessing.get_context(how).Pool(workers, _start, ([split.data for split in splits],))
    with pool:
        yield from pool.imap(_job, jobs, chunksize=16)


_splits: list[DataSet] = []


def _start(splits: list[DataSet]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's, which ends the pool
    _splits[:] = splits


def _job(job: tuple[int, int]) -> Examined:
    return examine(_splits[job[0]], job[1])


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
