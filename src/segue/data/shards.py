"""Large sets in tar shards, local or over HTTP, as a data set like any other: every picture can be read by its number.

The order of an epoch is made for shards: it goes through them a few at a time, so that those from the network come one
after the other, and shuffles the pictures of those few among each other.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urljoin

import numpy as np

from segue.data.folder import Understood
from segue.data.folder.class_table import find_class_table
from segue.data.folder.mask_facts import look_at
from segue.data.folder.meaning import Meaning, meaning_of, of_map, together
from segue.data.places import Place
from segue.data.remote import RemoteShard, read_small
from segue.data.source import DataSet, FileStamp, PairStamp, file_stamp, read_target
from segue.data.tar import TarIndex, TarMember, index_of
from segue.errors import DataError
from segue.labels import Labels
from segue.progress import counted
from segue.reading import read_image

CONTENTS = "shards.json"
"""What lies beside shards that segue wrote: the labels, and which shards are of which split."""
AT_ONCE = 8  # shards whose pictures are shuffled among each other
CONNECTIONS = 16
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")


class Shard(Protocol):
    """A tar archive, wherever it lies."""

    @property
    def name(self) -> str:
        """Its name without folder and suffix."""

    @property
    def stamp(self) -> tuple[str, str]:
        """Where it lies, and what changes when it does."""

    def index(self) -> TarIndex:
        """Where its samples are."""

    def path(self, coming: Sequence[Any]) -> Path:
        """The archive on this machine; `coming` are the shards that will be wanted after it."""


@dataclass(frozen=True)
class LocalShard:
    """A tar archive on this machine."""

    where: Path

    def __str__(self) -> str:
        return str(self.where)

    @property
    def name(self) -> str:
        """Its name without folder and suffix."""
        return self.where.stem

    @property
    def stamp(self) -> tuple[str, str]:
        """Where it lies, its size and its time of change."""
        stamp = file_stamp(self.where)
        return stamp.path, stamp.version

    def index(self) -> TarIndex:
        """Where its samples are."""
        return index_of(self.where)

    def path(self, coming: Sequence[Any]) -> Path:
        """It is here."""
        return self.where


class ShardDataSet(DataSet):
    """The pictures of some shards, in the order in which they lie there."""

    def __init__(self, shards: Sequence[Shard], labels: Labels) -> None:
        self.shards, self.labels = tuple(shards), labels
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            self.indexes = list(pool.map(lambda shard: shard.index(), self.shards))
        self.starts = np.cumsum([0, *(len(index.keys) for index in self.indexes)])
        keys = {key for index in self.indexes for key in index.keys}
        self.unique = len(keys) == len(self)
        self.coming: dict[int, tuple[Shard, ...]] = {}

    def __len__(self) -> int:
        return int(self.starts[-1])

    def _find(self, index: int) -> tuple[int, int]:
        """A picture's shard, and its number there."""
        shard = int(np.searchsorted(self.starts, index, side="right")) - 1
        return shard, index - int(self.starts[shard])

    def name(self, index: int) -> str:
        shard, number = self._find(index)
        key = self.indexes[shard].keys[number]
        return key if self.unique else f"{self.shards[shard].name}/{key}"

    def image(self, index: int) -> np.ndarray:
        shard, number = self._find(index)
        return read_image(self.indexes[shard].image(self._path(shard), number))

    def target(self, index: int) -> np.ndarray:
        return read_target(cast(Place, self.mask(index)), self.labels)

    def mask(self, index: int) -> TarMember:
        """A picture's mask, as a file."""
        shard, number = self._find(index)
        return self.indexes[shard].mask(self._path(shard), number)

    def _path(self, shard: int) -> Path:
        return self.shards[shard].path(self.coming.get(shard, ()))

    def stamp(self, index: int) -> PairStamp | None:
        shard, number = self._find(index)
        where, version = self.shards[shard].stamp
        one = FileStamp(f"{where}/{self.indexes[shard].keys[number]}", version)
        return PairStamp(one, one)

    def order(self, seed: int, epoch: int) -> np.ndarray:
        rng = np.random.Generator(np.random.PCG64([seed, 0, epoch]))
        shards = rng.permutation(len(self.shards)).tolist()
        self.coming = {
            shard: tuple(self.shards[next_one] for next_one in shards[place + 1 : place + 1 + AT_ONCE])
            for place, shard in enumerate(shards)
        }
        parts = []
        for first in range(0, len(shards), AT_ONCE):
            group = [np.arange(*self.starts[shard : shard + 2]) for shard in shards[first : first + AT_ONCE]]
            parts.append(rng.permutation(np.concatenate(group)))
        return np.concatenate(parts)


# Finding


def is_shards(name: str) -> bool:
    """Whether `--data` names tar shards: a pattern or an address that ends in .tar, or where segue wrote some."""
    return _is_pattern(name) or _is_address(name) or (Path(name).expanduser() / CONTENTS).is_file()


def _is_pattern(name: str) -> bool:
    return name.endswith(".tar")


def _is_address(name: str) -> bool:
    return name.startswith(("http://", "https://"))


def shards_folder(name: str) -> str:
    """The name of the folder that shards lie in."""
    folder = name.rpartition("/")[0] if _is_pattern(name) else name.rstrip("/")
    whole = folder if _is_address(name) else str(Path(folder or ".").expanduser().resolve())
    return whole.rpartition("/")[2].replace(":", "-")  # a host may have a port, and no folder on Windows a colon


def open_shards(name: str, split: str, labels: Labels | None = None) -> ShardDataSet:
    """The shards of a split.

    name: a pattern (`shards/train-{000..003}.tar`, `shards/train-*.tar`, http://host/train-{000..003}.tar) that stands
    for the training split, or the folder or address of shards that segue wrote. split: its name, or a pattern of its
    own. The shards of another split are those that segue noted down, or those called after it beside the training
    ones. Raises DataError when there are none.
    """
    shards = [RemoteShard(one) if _is_address(one) else LocalShard(Path(one)) for one in shards_of(name, split)]
    if labels is None:
        labels = understood_shards(name, split=split).labels
    return ShardDataSet(shards, labels)


def shards_of(name: str, split: str) -> list[str]:
    """The paths or addresses of a split's shards."""
    if _is_pattern(split):
        return expand(split)
    if _is_pattern(name) and split == "train":
        return expand(name)
    contents = read_contents(name)
    if contents is not None:
        splits = contents["splits"]
        if split not in splits:
            raise DataError(f"{name}: has no {split} split; it has {', '.join(splits)}")
        return [_beside(name, one) for one in splits[split]]
    if not _is_pattern(name):
        raise DataError(f"{name}: no {CONTENTS} says which shards there are; name them: PATTERN-{{000..003}}.tar")
    beside = _called_after(split, name)
    found = _matching(beside) if beside and not _is_address(name) else []
    if not found:
        looked = f" ({beside} is looked for)" if beside and not _is_address(name) else ""
        raise DataError(
            f"{name}: no shards of the split {split} beside these{looked}; name them, such as --data.val 'PATTERN.tar'"
        )
    return found


def expand(pattern: str) -> list[str]:
    """`a-{000..002}.tar` -> a-000.tar, a-001.tar, a-002.tar; `{a,b}` and, for files, `*` and `?` likewise.

    Raises DataError for a file that is not there.
    """
    parts = BRACES.split(pattern)  # text, inside of braces, text, ...
    choices = [[part] if place % 2 == 0 else _inside(part, pattern) for place, part in enumerate(parts)]
    names = ["".join(chosen) for chosen in itertools.product(*choices)]
    if _is_address(pattern):
        return names
    found = [_matching(name) for name in names]
    for name, matches in zip(names, found, strict=True):
        if not matches:
            raise DataError(f"{name}: there is no such shard")
    return [path for matches in found for path in matches]


def _matching(pattern: str) -> list[str]:
    """The files that a pattern with `*` and `?` names, sorted."""
    path = Path(pattern).expanduser()
    base = Path(path.anchor)
    return sorted(str(one) for one in base.glob(str(path.relative_to(base))) if one.is_file())


def _inside(text: str, pattern: str) -> list[str]:
    """What braces stand for: numbers from first to last, as wide as the first; or words between commas."""
    match = RANGE.fullmatch(text)
    if match is None:
        return text.split(",")
    first, last = int(match[1]), int(match[2])
    if last < first:
        raise DataError(f"{pattern}: {{{text}}} counts down; write {{{match[2]}..{match[1]}}}")
    return [str(number).zfill(len(match[1])) for number in range(first, last + 1)]


def _called_after(split: str, pattern: str) -> str:
    """The pattern of another split's shards, by the word `train` in that of the training ones; "" without that word."""
    folder, slash, last = pattern.rpartition("/")
    before, train, after = last.rpartition("train")
    return folder + slash + before + split + BRACES.sub("*", after) if train else ""


def _beside(name: str, file: str) -> str:
    """The path or address of a file in the place that `--data` names."""
    if _is_address(name):
        return urljoin(name if _is_pattern(name) else name.rstrip("/") + "/", file)
    where = Path(name).expanduser()
    return str((where.parent if _is_pattern(name) else where) / file)


def read_contents(name: str) -> Mapping[str, Any] | None:
    """What segue noted down beside shards; None where it did not. Raises DataError when that is damaged."""
    place = _beside(name, CONTENTS)
    if _is_address(name):
        text = read_small(place)
    else:
        text = Path(place).read_text(encoding="utf-8") if Path(place).is_file() else None
    if text is None:
        return None
    try:
        contents: Mapping[str, Any] = json.loads(text)
        Labels.from_dict(contents["labels"])
        _ = {split: list(files) for split, files in contents["splits"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        raise DataError(f"{place}: is damaged ({error}); write the shards again with `segue data shard`") from error
    return contents


# Understanding


def understood_shards(
    name: str, values: Mapping[int, int] | None = None, names: Sequence[str] = (), split: str = "train"
) -> Understood:
    """What the masks in shards mean: what segue noted down beside them, what the recipe says, or what they hold.

    values, names: what the recipe says of label map and class names. Raises DataError when masks do not say it, and for
    shards on a server of which nothing is said.
    """
    contents = read_contents(name)
    if contents is not None and not values and not names:
        labels = Labels.from_dict(contents["labels"])
        return Understood(labels, (f"shards, with their {labels.num_classes} classes noted down in {CONTENTS}",))
    where = shards_of(name, split)
    table = None if _is_address(name) else find_class_table([Path(_beside(name, CONTENTS)).parent])
    if values:
        meaning = of_map(values, names, table)
    elif _is_address(where[0]):
        if not names:
            raise DataError(
                f"{name}: nothing says which classes there are (no {CONTENTS} beside the shards); name them in "
                "data.classes, or say which value is which class in [data.map]"
            )
        meaning = Meaning(Labels(tuple(names)), (f"masks of values from 0, in the order of {len(names)} names",))
    else:
        data = ShardDataSet([LocalShard(Path(one)) for one in where], ANY)
        masks = cast(Sequence[Place], [data.mask(index) for index in range(len(data))])
        meaning = meaning_of(Path(name), together(masks, look_at(masks)), table, names)
    return Understood(meaning.labels, (f"{counted(len(where), 'shard')} of the split {split}", *meaning.lines))


ANY = Labels(classes=("any", "other"))
