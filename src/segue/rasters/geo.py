"""Maps by rasterio: whatever GDAL reads, with its georeference."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from segue.errors import DataError
from segue.rasters.raster import Georeference, Raster, usual
from segue.reading import decoding

BLOCK_CACHE = 64 << 20  # bytes that GDAL keeps of decoded blocks; by itself it takes a twentieth of the memory


class GeoRaster(Raster):
    """A raster that GDAL reads. Raises DataError for one that it cannot, and for complex numbers."""

    def __init__(self, path: Path) -> None:
        with decoding(path, "picture"), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            self.file = rasterio.open(path)
            georeference = _georeference(self.file)
        if np.dtype(self.file.dtypes[0]).kind == "c":
            raise DataError(
                f"{path}: has complex numbers for pixels; save its magnitude, or what the network was shown"
            )
        super().__init__(path, self.file.height, self.file.width, georeference)
        kinds = self.file.colorinterp
        self.bands = [index for index, kind in enumerate(kinds, start=1) if kind != ColorInterp.alpha]
        self.colours: np.ndarray | None = None
        if kinds[0] == ColorInterp.palette:
            table = self.file.colormap(1)
            self.colours = np.array([table.get(value, (0, 0, 0, 0))[:3] for value in range(256)], dtype=np.uint8)

    def pixels(self, top: int, bottom: int) -> np.ndarray:
        # GDAL asks how much it may keep when it decodes for the first time, which is here and not when it opens a file.
        with decoding(self.path, "picture"), rasterio.Env(GDAL_CACHEMAX=BLOCK_CACHE):
            stored = self.file.read(self.bands, window=Window(0, top, self.width, bottom - top))
        if self.colours is not None:
            return self.colours[stored[0]]
        return usual(np.ascontiguousarray(stored.transpose(1, 2, 0)))

    def close(self) -> None:
        self.file.close()


def _georeference(file: rasterio.DatasetReader) -> Georeference | None:
    points, system = file.gcps
    if points:
        return Georeference(profile={"gcps": points, "crs": system})
    if file.crs is None and file.transform.is_identity:
        return None
    return Georeference(profile={"crs": file.crs, "transform": file.transform})
