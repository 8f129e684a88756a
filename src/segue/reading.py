"""Decoding pictures: any of the usual kinds, 8 and 16 bits, one channel to many.

Pillow reads what it can read whole. It would cut colour pictures of 16 bits down to 8 and knows no fifth channel; those
are decoded by imagecodecs (PNG) and tifffile (TIFF), which `segue[deep]` brings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from segue.errors import DataError

if TYPE_CHECKING:
    import tifffile

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm")

PNG_HEAD = b"\x89PNG\r\n\x1a\n"
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # in either byte order, with 32-bit and with 64-bit offsets
ORIENTATION, BITS, PHOTOMETRIC, SAMPLES, EXTRA_SAMPLES, DESCRIPTION = 274, 258, 262, 277, 338, 270  # TIFF 6.0, EXIF
SUBFILE, REDUCED = 254, 1  # NewSubfileType, and its bit for a smaller copy of another page
ALPHAS = (1, 2)  # what ExtraSamples calls transparency; 0 is a channel of data
OWN_CHANNELS = {2: 3, 5: 4, 6: 3, 8: 3}  # of RGB, CMYK, YCbCr and L*a*b*; all others have one
NEEDS = "which needs {}: pip install 'segue[deep]'"
STACK = (
    "{}: holds {} pages; save channels in one page (with tifffile: photometric='minisblack', planarconfig='separate'), "
    "or each picture in a file of its own"
)


class Readable(Protocol):
    """A file on disk, or a member of an archive."""

    def open(self, mode: str, /) -> IO[Any]:
        """The file as a stream of bytes."""


def read_image(path: Readable) -> np.ndarray:
    """A picture (H, W, C), turned as its EXIF orientation says.

    RGB uint8 for the usual pictures: grey ones are repeated, palettes looked up, transparency left out. Else uint8,
    uint16 or, for what is neither, float32, with as many channels as the file holds. Raises DataError when it cannot be
    decoded.
    """
    with decoding(path, "picture"), path.open("rb") as stream:
        head = stream.read(26)
        stream.seek(0)
        if head.startswith(PNG_HEAD) and head[24] == 16 and head[25] != 0:  # bit depth; colour type, 0 being grey
            return _deep_png(stream, path)
        if head.startswith(TIFF_HEADS):
            return _tiff(stream, path)
        with Image.open(stream) as file:
            return _whole(file)


def read_size(path: Readable) -> tuple[int, int]:
    """Height and width of a picture as `read_image` gives it, from its head alone. Raises DataError as that does."""
    with decoding(path, "picture"), path.open("rb") as stream:
        try:
            with Image.open(stream) as file:
                return file.size if orientation(file) >= 5 else file.size[::-1]
        except UnidentifiedImageError:  # only the whole file tells
            return read_image(path).shape[:2]


@contextmanager
def decoding(path: Readable, what: str) -> Iterator[None]:
    """Turns whatever a decoder raises into a DataError that names the file."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such {what}") from error
    except Exception as error:  # damaged files make decoders raise nearly anything
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "no known kind of picture" if unknown else str(error) or type(error).__name__
        raise DataError(
            f"{path}: cannot be decoded ({reason}); replace the file, or take it out of the data"
        ) from error


def orientation(file: Image.Image) -> int:
    """The EXIF orientation of an opened picture, 1 (upright) to 8; 1 where it has none."""
    found = file.getexif().get(ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def upright(pixels: np.ndarray, turned: int) -> np.ndarray:
    """(H, W, ...) as it was stored -> as it is looked at; `turned` is an EXIF orientation, 1 to 8."""
    if turned == 1:
        return pixels
    if turned >= 5:
        pixels = pixels.swapaxes(0, 1)
    if turned in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if turned in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _whole(file: Image.Image) -> np.ndarray:
    """A picture that Pillow reads without loss."""
    pixels: np.ndarray
    if file.mode.startswith("I;16") or (file.mode == "I" and file.format == "PNG"):  # until Pillow 11 it was I
        pixels = np.asarray(file).astype(np.uint16)[..., None]
    elif file.mode in ("I", "F"):
        pixels = np.asarray(file).astype(np.float32)[..., None]
    elif file.mode == "P" and "transparency" in file.info:  # straight to RGB, Pillow would warn
        pixels = np.asarray(file.convert("RGBA").convert("RGB"))
    else:
        pixels = np.asarray(file.convert("RGB") if file.mode != "RGB" else file)
    return upright(pixels, orientation(file))


def _deep_png(stream: IO[bytes], path: Readable) -> np.ndarray:
    """A PNG of 16 bits with colours or transparency; the latter is left out."""
    try:
        import imagecodecs
    except ImportError as error:
        raise DataError(f"{path}: a PNG of 16-bit colours, {NEEDS.format('imagecodecs')}") from error
    pixels = np.asarray(imagecodecs.png_decode(stream.read()))
    channels = pixels.shape[2]
    pixels = pixels[..., : channels - (channels % 2 == 0)]
    stream.seek(0)
    with Image.open(stream) as file:
        return upright(np.ascontiguousarray(pixels), orientation(file))


def _tiff(stream: IO[bytes], path: Readable) -> np.ndarray:
    """A TIFF, by Pillow if that reads all of it, or else by tifffile."""
    try:
        with Image.open(stream) as file:
            if _is_plain(file):
                refuse_stack(file, path)
                return _whole(file)
    except UnidentifiedImageError:  # what tifffile may know all the same
        pass
    try:
        import tifffile
    except ImportError as error:
        raise DataError(f"{path}: a TIFF of many channels or of 16-bit colours, {NEEDS.format('tifffile')}") from error
    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        first = file.pages.first
        source = file.series[0] if file.is_imagej else first
        if source is first:
            refuse_pages(file, path)
        pixels = source.asarray()
        if source.axes in ("SYX", "CYX"):
            pixels = np.moveaxis(pixels, 0, -1)
        elif source.axes == "YX":
            pixels = pixels[..., None]
        elif source.axes != "YXS":
            raise DataError(f"{path}: a stack of pictures (axes {source.axes}); save each picture in a file of its own")
        alphas = sum(kind in ALPHAS for kind in first.extrasamples)
        pixels = pixels[..., : pixels.shape[-1] - alphas]
        if pixels.dtype not in (np.uint8, np.uint16):
            pixels = pixels.astype(np.float32)
        turned = first.tags.get(ORIENTATION)
        pixels = upright(pixels, int(turned.value) if turned is not None else 1)
        return np.ascontiguousarray(pixels)


def refuse_stack(file: Image.Image, path: Readable) -> None:
    """Raise DataError for a TIFF of several pages of one size: pictures, or channels, of which one would be read."""
    count = getattr(file, "n_frames", 1) if file.format == "TIFF" else 1
    if count < 2:
        return
    size = file.size
    file.seek(1)
    whole = file.size == size and not file.tag_v2.get(SUBFILE, 0) & REDUCED  # type: ignore[attr-defined]
    file.seek(0)
    if whole:
        raise DataError(STACK.format(path, count))


def refuse_pages(file: tifffile.TiffFile, path: Readable) -> None:
    """`refuse_stack` for what tifffile has opened."""
    if len(file.pages) < 2:
        return
    first, second = file.pages.first, file.pages[1].aspage()
    if second.shape == first.shape and not second.is_reduced:
        raise DataError(STACK.format(path, len(file.pages)))


def _is_plain(file: Image.Image) -> bool:
    """Whether Pillow reads every channel and bit of an opened TIFF."""
    tags = file.tag_v2  # type: ignore[attr-defined]
    samples, bits = tags.get(SAMPLES, 1), max(tags.get(BITS, (1,)))
    if samples == 1:
        return not _is_channels_of_imagej(tags)
    extra = samples - OWN_CHANNELS.get(tags.get(PHOTOMETRIC, 1), 1)
    alphas = sum(kind in ALPHAS for kind in tags.get(EXTRA_SAMPLES, ()))
    return bits <= 8 and extra <= alphas


def _is_channels_of_imagej(tags: Any) -> bool:
    """Whether a TIFF's pages are the channels of one picture, as ImageJ keeps them."""
    description = str(tags.get(DESCRIPTION, ""))
    return description.startswith("ImageJ=") and "\nchannels=" in description
