"""Own data, whatever it is, as pictures beside index PNGs and a classes.txt."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from segue.data.folder import understand, understood
from segue.data.places import Place
from segue.data.source import FileDataSet, read_pair
from segue.errors import DataError
from segue.files import write_atomically, write_text
from segue.labels import IGNORE, Labels

Tell = Callable[[str, int, int], None]


def convert(source: Place, out: Path, tell: Tell) -> list[str]:
    """Write OUT/SPLIT/images, the pictures' own files, OUT/SPLIT/masks, palette PNGs whose values are the classes 0, 1,
    2, ... and 255 where ignored, and OUT/classes.txt. Returns what was understood, for people.

    tell: called with split, pairs done, and pairs. Raises DataError for the first pair that cannot be read, and when
    there is something in OUT already; OUT is whole or not there.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: is there already; name a new folder")
    known = understood(source)
    arrangement = understand(source)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")  # becomes OUT when it is whole
    try:
        for split in arrangement.splits():
            data = arrangement.open(split, known.labels)
            for index in range(len(data)):
                _write_pair(data, index, part / split, known.labels)
                tell(split, index + 1, len(data))
        write_text(part / "classes.txt", "".join(f"{name}\n" for name in known.labels.classes))
        if out.is_dir():
            out.rmdir()
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return [*known.lines]


def _write_pair(data: FileDataSet, index: int, folder: Path, labels: Labels) -> None:
    _, target = read_pair(data, index)
    pair = data.pairs[index]
    if ".." in Path(pair.name).parts or Path(pair.name).is_absolute():
        raise DataError(f"{pair.image}: its name leads out of the folder; rename it")
    content = pair.image.read_bytes()
    write_atomically(
        folder / "images" / f"{pair.name}{pair.image.suffix}", lambda temporary: temporary.write_bytes(content)
    )
    packed = io.BytesIO()
    index_picture(target, labels).save(packed, format="PNG")
    write_atomically(folder / "masks" / f"{pair.name}.png", lambda temporary: temporary.write_bytes(packed.getvalue()))


def index_picture(target: np.ndarray, labels: Labels) -> Image.Image:
    """Classes (H, W) as a palette picture whose values are the classes themselves."""
    picture = Image.fromarray(target)
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: labels.num_classes] = labels.palette
    palette[IGNORE] = (255, 255, 255)
    picture.putpalette([int(channel) for channel in palette.reshape(-1)])
    return picture
