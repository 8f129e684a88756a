"""Reading pictures from JPEG, PNG, the caches and tar shards, at CamVid's size and at Cityscapes'.

python benchmarks/loading.py ~/data/camvid

The large pictures are CamVid's, put together: 2048x1024 of what cameras see, saved as PNG like Cityscapes'.
"""

import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from timing import alternate, machine

from segue.data import open_split
from segue.data.cache import DiskStore, KeptDataSet
from segue.data.class_index import index_classes
from segue.data.folder import open_folder
from segue.data.memory import MemoryStore
from segue.data.sharding import write_shards
from segue.data.shards import open_shards
from segue.data.source import DataSet, FileDataSet, read_pair
from segue.data.transforms import Augmentation, augment
from segue.labels import Labels

SMALL, LARGE = 75, 15  # pictures that are written; a fifth of a folder is held out


def main() -> None:
    camvid = open_split("camvid", sys.argv[1], "train")
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SEGUE_CACHE"] = str(folder / "cache")
        step = len(camvid) // SMALL
        write(folder / "png", [read_pair(camvid, index) for index in range(0, SMALL * step, step)], camvid.labels)
        write(folder / "large", [tiled(camvid, index) for index in range(LARGE)], camvid.labels)
        small = open_folder(folder / "png", "train", camvid.labels)
        large = open_folder(folder / "large", "train", camvid.labels)
        write_shards(small, "train", folder / "shards", most_bytes=10**8)
        print("480x360 and its mask, milliseconds a picture")
        report(
            {
                "JPEG and PNG": camvid,
                "PNG": small,
                "tar shard of PNG": open_shards(str(folder / "shards"), "train"),
                "disk cache": kept(small, DiskStore(folder / "small", small)),
                "memory cache": kept(small, MemoryStore(2 * len(small), 10**9)),
            },
            len(small),
            Augmentation((360, 480)),
        )
        print("2048x1024 and its mask, milliseconds a picture")
        report(
            {
                "PNG": large,
                "disk cache": kept(large, DiskStore(folder / "kept", large)),
                "memory cache": kept(large, MemoryStore(2 * len(large), 10**9)),
            },
            len(large),
            Augmentation((512, 1024)),
        )
        raw = sum(array.nbytes for index in range(len(large)) for array in read_pair(large, index))
        packed = sum(path.stat().st_size for path in (folder / "kept").rglob("*.seg"))
        print(f"of the decoded bytes, the disk cache takes {packed / raw:.2f}, PNGs {size(large) / raw:.2f}")
        for word in ("first", "again"):
            started = time.perf_counter()
            index_classes(camvid)
            print(f"class index of {len(camvid)} masks, {word}: {time.perf_counter() - started:.2f} s")


def tiled(camvid: DataSet, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its classes of 2048x1024, made of fifteen."""
    parts = [read_pair(camvid, (15 * index + number) % len(camvid)) for number in range(15)]
    rows = [
        [np.concatenate([part[which] for part in parts[first : first + 5]], axis=1) for first in (0, 5, 10)]
        for which in (0, 1)
    ]
    image, target = (np.concatenate(some)[:1024, :2048] for some in rows)
    return image, target


def write(folder: Path, pairs: list[tuple[np.ndarray, np.ndarray]], labels: Labels) -> None:
    for kind in ("images", "masks"):
        (folder / "train" / kind).mkdir(parents=True)
    for index, (image, target) in enumerate(pairs):
        Image.fromarray(image).save(folder / f"train/images/{index:03d}.png")
        Image.fromarray(labels.write(target)).save(folder / f"train/masks/{index:03d}.png")


def kept(data: DataSet, store: DiskStore | MemoryStore) -> KeptDataSet:
    filled = KeptDataSet(data, store)
    for index in range(len(data)):
        read_pair(filled, index)
    return filled


def report(sources: dict[str, DataSet], count: int, how: Augmentation) -> None:
    """Reading alone, and reading with augmentation, which touches every pixel that it needs."""

    def read(data: DataSet) -> None:
        for index in range(count):
            read_pair(data, index)

    def prepare(data: DataSet) -> None:
        for index in range(count):
            augment(*read_pair(data, index), np.random.default_rng(index), how)

    for title, work in (("read", read), ("read and augment", prepare)):
        times = alternate({name: partial(work, data) for name, data in sources.items()}, rounds=5)
        first = next(iter(times.values()))
        for name, seconds in times.items():
            print(f"  {title:18}{name:20}{1000 * seconds / count:9.2f}{first / seconds:8.1f}x")


def size(data: FileDataSet) -> int:
    return sum(file.stat().st_size for pair in data.pairs for file in (pair.image, pair.mask))


if __name__ == "__main__":
    main()
