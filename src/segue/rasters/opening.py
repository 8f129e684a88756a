"""Which files are read by rows, and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image

from segue.errors import DataError
from segue.rasters.raster import HeldRaster, Raster
from segue.reading import decoding, orientation, read_image

LARGE = 1 << 24
"""Pixels from which on a picture is read by rows: 4096 x 4096."""
MOST_HELD = 2 << 30
"""Bytes of a decoded picture that is not read by rows, at most."""
TIFF_SUFFIXES = (".tif", ".tiff", ".tf8", ".btf")
GDAL_SUFFIXES = (".vrt", ".jp2", ".img")
WORLD_FILES = (".tfw", ".tifw", ".wld")
MODEL_TIE_POINTS, MODEL_TRANSFORMATION = 33922, 34264


def open_raster(path: Path) -> Raster | None:
    """A picture that shall be predicted by rows, since it is large or lies somewhere on the earth; None for others.

    Raises DataError for files that cannot be opened, for those that need an extra that is not installed, and for large
    ones of which no rows can be read.
    """
    if path.suffix.lower() in GDAL_SUFFIXES:
        return _by_rasterio(path)
    height, width, channels, located = _header(path)
    if height * width <= LARGE and not located:
        return None
    if path.suffix.lower() in TIFF_SUFFIXES:
        return _tiff(path, located)
    held = height * width * channels
    if held > MOST_HELD:
        raise DataError(
            f"{path}: {width}x{height} pixels are {held / 2**30:.1f} GiB when decoded, and only a TIFF is read by "
            "rows; save it as one in tiles (gdal_translate -co TILED=YES, or vips tiffsave --tile)"
        )

    def decode() -> np.ndarray:
        with _of_any_size():
            return read_image(path)

    return HeldRaster(path, height, width, decode)


def _header(path: Path) -> tuple[int, int, int, bool]:
    """Height, width, bytes per pixel, and whether it has a place on the earth."""
    with decoding(path, "picture"), _of_any_size():
        try:
            with Image.open(path) as file:
                located = path.suffix.lower() in TIFF_SUFFIXES and _is_located(path, file)
                deep = 2 if "16" in file.mode else 1
                height, width = file.size if orientation(file) >= 5 else (file.height, file.width)
                return height, width, max(3, len(file.getbands())) * deep, located
        except Image.UnidentifiedImageError:
            if path.suffix.lower() not in TIFF_SUFFIXES or find_spec("tifffile") is None:
                raise
    from segue.rasters.tiff import TiffRaster

    with TiffRaster(path) as raster:  # of a kind that Pillow does not know
        return raster.height, raster.width, 1, raster.georeference is not None


def _is_located(path: Path, file: Image.Image) -> bool:
    """Whether a TIFF says where on the earth it lies, itself or by a world file beside it."""
    tags = file.tag_v2  # type: ignore[attr-defined]
    return (
        MODEL_TIE_POINTS in tags
        or MODEL_TRANSFORMATION in tags
        or any(path.with_suffix(suffix).is_file() for suffix in WORLD_FILES)
    )


def _tiff(path: Path, located: bool) -> Raster | None:
    """By rasterio where it has a place on the earth, by tifffile otherwise, or by whichever is there."""
    if find_spec("rasterio") is not None and (located or find_spec("tifffile") is None):
        return _by_rasterio(path)
    if find_spec("tifffile") is None:
        if located:
            return None
        raise DataError(f"{path}: is too large to be held, and needs tifffile: pip install 'segue[deep]'")
    from segue.rasters.tiff import TiffRaster

    return TiffRaster(path)


def _by_rasterio(path: Path) -> Raster:
    if find_spec("rasterio") is None:
        raise DataError(f"{path}: is read by rasterio: pip install 'segue[geo]'")
    from segue.rasters.geo import GeoRaster

    return GeoRaster(path)


@contextmanager
def _of_any_size() -> Iterator[None]:
    """Pillow refuses pictures that might be made to fill the memory; here sizes are looked at before decoding."""
    with _limit:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


_limit = Lock()  # it is one for all threads
