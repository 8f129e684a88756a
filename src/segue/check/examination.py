"""Looking at one picture and its mask: everything that the findings are made of, in a few hundred bytes."""

from __future__ import annotations

import hashlib
import io
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from segue.data import DataSet, FileDataSet
from segue.data.folder.mask_facts import MaskFacts, facts_of, palette_of
from segue.data.places import Place
from segue.data.source import Pair, raw_mask, read_raw_mask
from segue.errors import DataError
from segue.pictures import viewable
from segue.reading import decoding, orientation, read_image

THUMB = 16  # pixels along the sides of the grey picture that copies are known by
JPEG_HEAD = b"\xff\xd8\xff"


@dataclass(frozen=True)
class PictureFacts:
    """What one picture is.

    size: height and width as it is looked at. kind: `uint8` and the like. turned: its EXIF orientation.
    digest: of the file's bytes. thumb: (THUMB, THUMB) uint8, the picture in grey.
    """

    size: tuple[int, int]
    channels: int
    kind: str
    turned: int
    digest: bytes
    thumb: np.ndarray


@dataclass(frozen=True)
class Examined:
    """What became of one picture and its mask.

    image, mask: what they are, or the line that says why they cannot be read. jpeg: the mask's file is a JPEG.
    mask_turned: the mask's own EXIF orientation. checksum: of the mask's raw values.
    """

    image: PictureFacts | str
    mask: MaskFacts | str
    jpeg: bool = False
    mask_turned: int = 1
    checksum: int = 0


def examine(data: DataSet, index: int) -> Examined:
    """Look at one pair of a data set; whatever is wrong with it is part of the answer."""
    if isinstance(data, FileDataSet):
        return _examine_files(data, data.pairs[index])
    try:
        image: PictureFacts | str = _picture_facts(data.image(index), 1, b"")
    except DataError as error:
        image = str(error)
    try:
        raw = data.labels.write(data.target(index))
        return Examined(image, facts_of(raw), checksum=zlib.crc32(raw.tobytes()))
    except DataError as error:
        return Examined(image, str(error))


def _examine_files(data: FileDataSet, pair: Pair) -> Examined:
    try:
        image: PictureFacts | str = examine_picture(pair.image)
    except DataError as error:
        image = str(error)
    try:
        if data.draw is not None or data.read is not read_raw_mask:
            raw = data.draw(pair) if data.draw is not None else data.read(pair.mask)
            return Examined(image, facts_of(raw), checksum=zlib.crc32(raw.tobytes()))
        with decoding(pair.mask, "mask"), pair.mask.open("rb") as stream, Image.open(stream) as file:
            raw, kind = raw_mask(file, pair.mask), file.format
            return Examined(
                image, facts_of(raw, palette_of(file)), kind == "JPEG", orientation(file), zlib.crc32(raw.tobytes())
            )
    except DataError as error:
        return Examined(image, str(error))


class _Held:
    """A file that has been read already."""

    def __init__(self, path: Place, content: bytes) -> None:
        self.path, self.content = path, content

    def __str__(self) -> str:
        return str(self.path)

    def open(self, mode: str = "rb") -> io.BytesIO:
        return io.BytesIO(self.content)


def examine_picture(path: Place) -> PictureFacts:
    """What a picture is. Raises DataError when it cannot be decoded."""
    with decoding(path, "picture"):
        content = path.read_bytes()
    digest = hashlib.blake2b(content, digest_size=16).digest()
    if not content.startswith(JPEG_HEAD):
        held = _Held(path, content)
        return _picture_facts(read_image(held), _turned(held), digest)
    with decoding(path, "picture"), Image.open(io.BytesIO(content)) as file:
        turned, size = orientation(file), file.size
        # A JPEG is decoded at an eighth of its size: its file is read to the end all the same, for a small part of the
        # work. The brightness alone is all that copies are known by.
        file.draft("L", (4 * THUMB, 4 * THUMB))
        thumb = np.asarray(file.convert("L").resize((THUMB, THUMB), Image.Resampling.BOX))
        return PictureFacts(size if turned >= 5 else size[::-1], 3, "uint8", turned, digest, thumb)


def _turned(held: _Held) -> int:
    try:
        with Image.open(held.open()) as file:
            return orientation(file) if file.info.get("exif") or file.format == "TIFF" else 1
    except OSError:  # a TIFF that only tifffile reads
        return 1


def _picture_facts(pixels: np.ndarray, turned: int, digest: bytes) -> PictureFacts:
    grey = Image.fromarray(viewable(pixels)).convert("L").resize((THUMB, THUMB), Image.Resampling.BOX)
    return PictureFacts(pixels.shape[:2], pixels.shape[2], str(pixels.dtype), turned, digest, np.asarray(grey))
