"""Pictures too large to hold, and maps: read and written by rows."""

from segue.rasters.opening import GDAL_SUFFIXES, LARGE, open_raster
from segue.rasters.raster import Georeference, Raster
from segue.rasters.writing import RowWriter, array_rows, tiff_rows

__all__ = ["GDAL_SUFFIXES", "LARGE", "Georeference", "Raster", "RowWriter", "array_rows", "open_raster", "tiff_rows"]
