"""TIFFs by tifffile: strips or tiles are decoded as their rows are asked for."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from segue.errors import DataError
from segue.rasters.raster import Georeference, Raster, usual
from segue.reading import ALPHAS, ORIENTATION, decoding, refuse_pages

GEOREFERENCE = (33550, 33922, 34264, 34735, 34736, 34737)  # pixel scale, tie points, transformation, GeoTIFF's keys
GREY_WHITE_IS_0, GREY, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6  # PhotometricInterpretation
MOST_BYTES = 1 << 30  # of one row of strips or tiles, decoded
KEPT = 4  # rows of strips or tiles: readers of several scales come by at different times


class TiffRaster(Raster):
    """The one picture of a TIFF, smaller copies aside. Raises DataError for kinds that are not read by rows."""

    def __init__(self, path: Path) -> None:
        with decoding(path, "picture"):
            self.file = tifffile.TiffFile(path)
        page = self.page = self.file.pages.first
        try:
            _check(path, page)
            refuse_pages(self.file, path)
        except DataError:
            self.file.close()
            raise
        tags = tuple((tag.code, int(tag.dtype), tag.count, tag.value) for tag in page.tags if tag.code in GEOREFERENCE)
        super().__init__(path, page.imagelength, page.imagewidth, Georeference(tags) if tags else None)
        self.channels = page.samplesperpixel
        self.dtype = np.dtype(page.dtype)
        self.colours = None if page.colormap is None else (np.asarray(page.colormap) >> 8).astype(np.uint8).T
        self.apart = page.axes == "SYX"  # a plane for each channel
        self.segment_rows = page.tilelength if page.is_tiled else min(page.rowsperstrip, self.height)
        self.decoded: OrderedDict[int, np.ndarray] = OrderedDict()

    def pixels(self, top: int, bottom: int) -> np.ndarray:
        with decoding(self.path, "picture"):
            stored = self._contiguous(top, bottom) if self.page.is_contiguous else self._segments(top, bottom)
        kept = self.channels - sum(kind in ALPHAS for kind in self.page.extrasamples)
        if self.colours is not None:
            return self.colours[stored[..., 0]]
        if self.page.photometric == GREY_WHITE_IS_0:
            stored = np.iinfo(stored.dtype).max - stored
        return usual(stored[..., :kept])

    def close(self) -> None:
        self.file.close()
        self.decoded.clear()

    def _contiguous(self, top: int, bottom: int) -> np.ndarray:
        """Rows of a TIFF that is not compressed: straight from the file, whatever its strips are."""
        planes, samples = (self.channels, 1) if self.apart else (1, self.channels)
        stored = self.dtype.newbyteorder(self.file.byteorder)
        row = self.width * samples
        found = np.empty((planes, bottom - top, self.width, samples), dtype=self.dtype)
        for plane in range(planes):
            self.file.filehandle.seek(
                self.page.dataoffsets[0] + (plane * self.height + top) * row * self.dtype.itemsize
            )
            content = self.file.filehandle.read((bottom - top) * row * stored.itemsize)
            found[plane] = np.frombuffer(content, stored).reshape(bottom - top, self.width, samples)
        return found[0] if planes == 1 else np.ascontiguousarray(found[..., 0].transpose(1, 2, 0))

    def _segments(self, top: int, bottom: int) -> np.ndarray:
        found = np.empty((bottom - top, self.width, self.channels), dtype=self.dtype)
        for index in range(top // self.segment_rows, (bottom - 1) // self.segment_rows + 1):
            rows = self._decoded(index)
            start = index * self.segment_rows
            first, last = max(top, start), min(bottom, start + len(rows))
            found[first - top : last - top] = rows[first - start : last - start]
        return found

    def _decoded(self, index: int) -> np.ndarray:
        """A row of strips or tiles, (rows, W, C); the last few are kept."""
        if index in self.decoded:
            self.decoded.move_to_end(index)
            return self.decoded[index]
        rows = min(self.segment_rows, self.height - index * self.segment_rows)
        found = np.zeros((rows, self.width, self.channels), dtype=self.dtype)
        across = -(-self.width // self.page.tilewidth) if self.page.is_tiled else 1
        down = -(-self.height // self.segment_rows)
        for plane in range(self.channels if self.apart else 1):
            first = (plane * down + index) * across
            for number in range(first, first + across):
                self._put(number, found)
        self.decoded[index] = found
        while len(self.decoded) > KEPT:
            self.decoded.popitem(last=False)
        return found

    def _put(self, number: int, found: np.ndarray) -> None:
        """Decode one strip or tile into its place; one that the file leaves out is zero."""
        offset, size = self.page.dataoffsets[number], self.page.databytecounts[number]
        content = None
        if size:
            self.file.filehandle.seek(offset)
            content = self.file.filehandle.read(size)
        tables: Any = {"jpegtables": self.page.jpegtables} if self.page.jpegtables else {}
        segment, (plane, _, _, left, channel), _ = self.page.decode(content, number, **tables)
        if segment is None:
            return
        tile = segment[0, : len(found), : self.width - left]
        start = plane if self.apart else channel
        found[: len(tile), left : left + tile.shape[1], start : start + tile.shape[2]] = tile


def _check(path: Path, page: tifffile.TiffPage) -> None:
    """Raise DataError for a TIFF of which no rows can be read."""
    if page.axes not in ("YX", "YXS", "SYX"):
        raise DataError(f"{path}: a stack of pictures (axes {page.axes}); save each picture in a file of its own")
    if page.photometric not in (GREY_WHITE_IS_0, GREY, RGB, PALETTE, YCBCR) or page.dtype in (None, bool):
        raise DataError(f"{path}: a TIFF of kind {page.photometric!s}, {page.dtype}; save it in grey levels or RGB")
    turned = page.tags.get(ORIENTATION)
    if turned is not None and int(turned.value) != 1:
        raise DataError(f"{path}: is stored turned (orientation {turned.value}); save it upright")
    rows = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    held = rows * page.imagewidth * page.samplesperpixel * np.dtype(page.dtype).itemsize
    if held > MOST_BYTES and not page.is_contiguous:
        raise DataError(
            f"{path}: is compressed in strips of {rows} rows, {held / 2**30:.1f} GiB each; "
            "save it in tiles (gdal_translate -co TILED=YES, or vips tiffsave --tile)"
        )
