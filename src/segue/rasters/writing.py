"""Files that are written by rows: TIFFs in tiles, and arrays of numpy."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np

from segue.files import replacing
from segue.labels import Colour
from segue.rasters.raster import Georeference

TILE = 256
WAITING = 4  # rows of tiles that may wait to be compressed

RowWriter = Callable[[np.ndarray], None]
"""Takes the next rows, (n, W) or (n, W, C) of a TIFF, (K, n, W) of an array."""


@contextmanager
def tiff_rows(
    path: Path,
    shape: tuple[int, ...],
    dtype: type[np.unsignedinteger[Any]],
    *,
    palette: Mapping[int, Colour] | None = None,
    georeference: Georeference | None = None,
) -> Iterator[RowWriter]:
    """A TIFF of (H, W) or (H, W, 3), deflated in tiles, that is whole when the block ends well and absent otherwise.

    palette: value -> colour, of 8-bit values. Raises SaveError when it cannot be written.
    """
    by_rasterio = georeference is not None and georeference.profile
    with replacing(path) as temporary:
        write = _by_rasterio if by_rasterio else _by_tifffile
        with write(temporary, shape, np.dtype(dtype), palette, georeference or Georeference()) as write_tiles:
            collected = _TileRows(shape[1:], np.dtype(dtype), write_tiles)
            yield collected.add
            collected.finish(shape[0])


class _TileRows:
    """Collects rows until they fill a row of tiles."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], write: RowWriter) -> None:
        self.rows, self.write = np.zeros((TILE, *shape), dtype), write
        self.filled, self.written = 0, 0

    def add(self, rows: np.ndarray) -> None:
        while len(rows):
            fitting = rows[: TILE - self.filled]
            self.rows[self.filled : self.filled + len(fitting)] = fitting
            self.filled += len(fitting)
            rows = rows[len(fitting) :]
            if self.filled == TILE:
                self._hand_on()

    def finish(self, height: int) -> None:
        if self.filled:
            self._hand_on()
        assert self.written == height, f"{self.written} rows for a file of {height}"

    def _hand_on(self) -> None:
        self.write(self.rows[: self.filled].copy())
        self.written += self.filled
        self.filled = 0


@contextmanager
def _by_rasterio(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], palette: Mapping[int, Colour] | None, where: Georeference
) -> Iterator[RowWriter]:
    import rasterio
    from rasterio.windows import Window

    height, width, *channels = shape
    profile = {
        "driver": "GTiff", "height": height, "width": width, "count": math.prod(channels), "dtype": dtype.name,
        "compress": "deflate", "tiled": True, "blockxsize": TILE, "blockysize": TILE, "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile, **where.profile) as file:
        if palette is not None:
            file.write_colormap(1, dict(palette))
        done = 0

        def write(rows: np.ndarray) -> None:
            nonlocal done
            planes = rows.reshape(len(rows), width, -1).transpose(2, 0, 1)
            file.write(planes, window=Window(0, done, width, len(rows)))
            done += len(rows)

        yield write


@contextmanager
def _by_tifffile(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], palette: Mapping[int, Colour] | None, where: Georeference
) -> Iterator[RowWriter]:
    """tifffile asks for tiles, where rows are handed over here: it does so in a thread of its own."""
    import tifffile

    waiting: Queue[np.ndarray | None] = Queue(WAITING)
    failed: list[Exception] = []

    def tiles() -> Iterator[np.ndarray]:
        for rows in rows_of_tiles:
            for left in range(0, shape[1], TILE):
                tile = np.zeros((TILE, TILE, *shape[2:]), dtype)
                part = rows[:, left : left + TILE]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile

    def handed_over() -> Iterator[np.ndarray]:
        while (rows := waiting.get()) is not None:
            yield rows

    rows_of_tiles = handed_over()

    def compress() -> None:
        try:
            with tifffile.TiffWriter(path, bigtiff=math.prod(shape) * dtype.itemsize > 1 << 31) as file:
                file.write(
                    tiles(), shape=shape, dtype=dtype, tile=(TILE, TILE), compression="zlib", metadata=None,
                    photometric="rgb" if len(shape) == 3 else "minisblack" if palette is None else "palette",
                    colormap=None if palette is None else _colour_map(palette),
                    extratags=[(*tag, True) for tag in where.tags],
                )  # fmt: skip
        except Exception as error:
            failed.append(error)
            for _ in rows_of_tiles:  # let the other side come to its end
                pass

    def write(rows: np.ndarray) -> None:
        if failed:
            raise OSError(str(failed[0])) from failed[0]
        waiting.put(rows)

    thread = threading.Thread(target=compress, name=f"writes {path.name}", daemon=True)
    thread.start()
    try:
        yield write
    finally:
        waiting.put(None)
        thread.join()
    if failed:
        raise OSError(str(failed[0])) from failed[0]


def _colour_map(palette: Mapping[int, Colour]) -> np.ndarray:
    """(3, 256) uint16, as TIFF has it: 255 is 65535."""
    table = np.zeros((256, 3), dtype=np.uint16)
    for value, colour in palette.items():
        table[value] = colour
    return table.T * np.uint16(257)


@contextmanager
def array_rows(path: Path, shape: Sequence[int], dtype: type[np.generic]) -> Iterator[RowWriter]:
    """A file .npy of an array (K, H, W), whole when the block ends well and absent otherwise.

    Raises SaveError when it cannot be written.
    """
    planes, height, width = shape
    size = np.dtype(dtype).itemsize
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": tuple(shape)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start, done = file.tell(), 0
        file.truncate(start + planes * height * width * size)

        def write(rows: np.ndarray) -> None:
            nonlocal done
            for plane in range(planes):
                file.seek(start + (plane * height + done) * width * size)
                file.write(np.ascontiguousarray(rows[plane], dtype=dtype).data)
            done += rows.shape[1]

        yield write
        assert done == height, f"{done} rows for a file of {height}"
