"""Writing tar shards: a split's pictures as they are, its masks as PNG, an index beside each shard, and the labels."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from segue.data import DATASETS, open_split, own_place, understand_own
from segue.data.folder import understand
from segue.data.shards import CONTENTS, read_contents
from segue.data.source import DataSet, FileDataSet
from segue.data.tar import INDEX, LOSSLESS, PICTURES, dump_index, make_index
from segue.errors import DataError, SaveError
from segue.files import write_json
from segue.labels import Labels
from segue.progress import ProgressLine, bar, counted, in_bytes

Told = Callable[[int, int], None]
"""Hears how many pictures of how many are written."""


@dataclass(frozen=True)
class Packed:
    """A picture and its mask as files: endings and contents."""

    key: str
    image: tuple[str, bytes]
    mask: tuple[str, bytes]

    @property
    def size(self) -> int:
        """Bytes in a tar archive, with their headers."""
        return sum(512 + -(-len(content) // 512) * 512 for _, content in (self.image, self.mask))


def shard_splits(
    source: str, root: str, splits: Sequence[str], folder: Path, most_bytes: int, line: ProgressLine
) -> Iterator[str]:
    """Write splits of a data set by name, or of own data, as shards; says of each what was written."""
    labels = None
    if source in DATASETS:
        splits = splits or tuple(DATASETS[source].splits)
    else:
        splits = splits or understand(own_place(source)).splits()
        labels = understand_own(source, {}, (), "train").labels
    for split in splits:
        data = open_split(source, root, split, labels)

        def told(done: int, count: int, split: str = split) -> None:
            line.show(f"{split} {bar(done, count)} {done}/{count}")

        paths = write_shards(data, split, folder, most_bytes=most_bytes, told=told)
        size = in_bytes(sum(path.stat().st_size for path in paths))
        yield f"{split}: {len(data)} pictures in {counted(len(paths), 'shard')}, {size}"


def write_shards(
    data: DataSet, split: str, folder: Path, *, most_bytes: int, told: Told = lambda done, count: None
) -> list[Path]:
    """Write a split as `folder`/SPLIT-000.tar, SPLIT-001.tar, ..., each of `most_bytes` at most if pictures allow it.

    Pictures are shuffled, the same way every time, so that neighbours in a film are not neighbours in a shard. Equal
    data give equal shards. Nothing is left behind when it fails. Raises DataError for a split that is there already,
    for labels that differ from those of other splits there, and for pictures that cannot be read or stored.
    """
    contents = read_contents(str(folder)) or {"labels": data.labels.to_dict(), "splits": {}}
    if split in contents["splits"] or list(folder.glob(f"{split}-*.tar")):
        raise DataError(f"{folder}: holds shards of the split {split} already; remove them, or choose another folder")
    if Labels.from_dict(contents["labels"]) != data.labels:
        raise DataError(f"{folder}: holds shards with other classes; choose another folder")
    unfinished = folder / f".{split}.{os.getpid()}.part"
    try:
        unfinished.mkdir(parents=True)
        names = [path.name for path in _write(data, split, unfinished, most_bytes, told)]
        for name in names:
            for file in (name, name + INDEX):
                (unfinished / file).replace(folder / file)
    except OSError as error:
        raise SaveError(f"{folder}: shards could not be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()  # if nothing came into it
    write_json(folder / CONTENTS, {**contents, "splits": {**contents["splits"], split: names}})
    return [folder / name for name in names]


def _write(data: DataSet, split: str, folder: Path, most_bytes: int, told: Told) -> Iterator[Path]:
    """The shards of a split, one after the other."""
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(data)).tolist()
    packed = _packed(data, order, _keys(data))
    coming, done = next(packed, None), 0
    for number in itertools.count():
        if coming is None:
            return
        path, size = folder / f"{split}-{number:03d}.tar", 0
        with tarfile.open(path, "x:") as archive:
            while coming is not None and (size == 0 or size + coming.size <= most_bytes):
                for ending, content in (coming.image, coming.mask):
                    member = tarfile.TarInfo(f"{coming.key}.{ending}")  # no owner, no date: equal data, equal shards
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
                size += coming.size
                done += 1
                told(done, len(data))
                coming = next(packed, None)
        path.with_name(path.name + INDEX).write_text(dump_index(make_index(path)), encoding="utf-8")
        yield path


def _keys(data: DataSet) -> list[str]:
    """A key for each picture: its name without dots, which end a key. Raises DataError where two become one."""
    keys = [data.name(index).replace(".", "_") for index in range(len(data))]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"two pictures are called {twice} when dots become underscores; rename one of them")
    return keys


def _packed(data: DataSet, order: Sequence[int], keys: Sequence[str]) -> Iterator[Packed]:
    """Pictures and masks as files, read and encoded by several threads, in order."""
    plain = replace(data.labels, colour_key={})  # values where the data set has colours: a quarter of the bytes

    def pack(index: int) -> Packed:
        ending, content = _image_file(data, index)
        mask = plain.write(data.target(index))
        return Packed(keys[index], (ending, content), ("mask.png" if ending in LOSSLESS else "png", _png(mask, plain)))

    at_once = 8 * (os.cpu_count() or 1)
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(order), at_once):
            yield from pool.map(pack, order[first : first + at_once])


def _image_file(data: DataSet, index: int) -> tuple[str, bytes]:
    """A picture's ending and content: its own file where it has one, or else a PNG of its pixels."""
    if isinstance(data, FileDataSet):
        file = data.pairs[index].image
        ending = file.suffix.lower().removeprefix(".")
        if ending in PICTURES:
            with file.open("rb") as stream:
                return ending, stream.read()
    pixels = data.image(index)
    if pixels.dtype != np.uint8 or pixels.shape[2] != 3:
        raise DataError(
            f"{data.name(index)}: a picture of {pixels.shape[2]} channels of {pixels.dtype} that is no file of its own "
            "cannot be packed"
        )
    return "png", _encoded(Image.fromarray(pixels))


def _png(mask: np.ndarray, labels: Labels) -> bytes:
    """Raw values (H, W) as a palette PNG, or one of 16 bits."""
    image = Image.fromarray(mask)
    if mask.dtype == np.uint8:
        image.putpalette(labels.png_palette())
    return _encoded(image)


def _encoded(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
