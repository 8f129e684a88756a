"""What is written by rows is what was handed over, and half of it never counts."""

import numpy as np
import pytest
from PIL import Image

from segue.errors import SaveError
from segue.rasters import Georeference, array_rows, open_raster, tiff_rows

tifffile = pytest.importorskip("tifffile", reason="needs segue[deep]")

CLASSES = np.random.default_rng(0).integers(0, 5, (700, 531)).astype(np.uint8)
PALETTE = {0: (1, 2, 3), 4: (250, 0, 7)}
PIECES = (0, 3, 200, 256, 290, 700)


def hand_over(write, rows, axis=0) -> None:
    for piece in np.split(rows, PIECES[1:-1], axis=axis):
        write(piece)


def test_a_tiff_of_classes_is_read_by_pillow_as_a_palette_picture(tmp_path):
    with tiff_rows(tmp_path / "a.tif", (700, 531), np.uint8, palette=PALETTE) as write:
        hand_over(write, CLASSES)
    with Image.open(tmp_path / "a.tif") as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.asarray(mask), CLASSES)
        assert mask.convert("RGB").getpixel(tuple(int(i) for i in np.argwhere(CLASSES == 4)[0][::-1])) == (250, 0, 7)
    assert (tmp_path / "a.tif").stat().st_size < CLASSES.size


def test_values_above_255_are_kept(tmp_path):
    deep = CLASSES.astype(np.uint16) * 1000
    with tiff_rows(tmp_path / "a.tif", (700, 531), np.uint16) as write:
        hand_over(write, deep)
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), deep)


@pytest.mark.parametrize("where", [None, "EPSG:32632"])
def test_colours_are_kept(where, tmp_path):
    colours = np.stack([CLASSES, 255 - CLASSES, CLASSES * 7], axis=-1)
    georeference = None
    if where:
        rasterio = pytest.importorskip("rasterio", reason="needs segue[geo]")
        georeference = Georeference(profile={"crs": where, "transform": rasterio.Affine(2, 0, 5, 0, -2, 7)})
    with tiff_rows(tmp_path / "a.tif", colours.shape, np.uint8, georeference=georeference) as write:
        hand_over(write, colours)
    with Image.open(tmp_path / "a.tif") as found:
        assert np.array_equal(np.asarray(found), colours)


def test_an_array_is_written_plane_by_plane(tmp_path):
    wanted = np.random.default_rng(0).random((3, 700, 20)).astype(np.float16)
    with array_rows(tmp_path / "folder" / "a.npy", wanted.shape, np.float16) as write:
        hand_over(write, wanted, axis=1)
    assert np.array_equal(np.load(tmp_path / "folder" / "a.npy", mmap_mode="r"), wanted)


@pytest.mark.parametrize("writer", ["tiff", "map", "array"])
def test_a_block_that_fails_leaves_nothing(writer, tmp_path):
    path = tmp_path / "out" / "a.file"
    if writer == "map":
        rasterio = pytest.importorskip("rasterio", reason="needs segue[geo]")
        where = Georeference(profile={"crs": "EPSG:32632", "transform": rasterio.Affine(2, 0, 5, 0, -2, 7)})
        block = tiff_rows(path, (700, 531), np.uint8, georeference=where)
    elif writer == "tiff":
        block = tiff_rows(path, (700, 531), np.uint8)
    else:
        block = array_rows(path, (1, 700, 531), np.uint8)
    with pytest.raises(KeyboardInterrupt), block as write:  # noqa: PT012
        write(CLASSES[:300] if writer != "array" else CLASSES[None, :300])
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []


def test_a_disk_that_is_full_is_a_savers_error(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    block = tiff_rows(tmp_path / "a.tif", (7000, 10), np.uint8)
    with pytest.raises(SaveError, match=r"a\.tif: could not be written"), block as write:  # noqa: PT012
        for _ in range(70):
            write(np.zeros((100, 10), np.uint8))
    assert list(tmp_path.iterdir()) == []


def located(path):
    rasterio = pytest.importorskip("rasterio", reason="needs segue[geo]")
    place = rasterio.Affine(0.5, 0, 691_000, 0, -0.5, 5_334_000)
    colours = np.stack([CLASSES * 50] * 3)
    with rasterio.open(
        path, "w", driver="GTiff", height=700, width=531, count=3, dtype="uint8", crs="EPSG:25832", transform=place,
        compress="deflate", photometric="rgb",
    ) as file:  # fmt: skip
        file.write(colours)
    return place


@pytest.mark.parametrize("with_rasterio", [True, False])
def test_a_map_is_written_where_the_map_was(with_rasterio, tmp_path, monkeypatch):
    rasterio = pytest.importorskip("rasterio", reason="needs segue[geo]")
    from segue.rasters import opening

    place = located(tmp_path / "map.tif")
    if not with_rasterio:
        monkeypatch.setattr(opening, "find_spec", lambda name: None if name == "rasterio" else True)
    with open_raster(tmp_path / "map.tif") as source:
        assert np.array_equal(source.pixels(300, 310), np.stack([CLASSES[300:310] * 50] * 3, axis=-1))
        where = source.georeference
    assert bool(where.profile) == with_rasterio
    with tiff_rows(tmp_path / "mask.tif", (700, 531), np.uint8, palette=PALETTE, georeference=where) as write:
        hand_over(write, CLASSES)
    with rasterio.open(tmp_path / "mask.tif") as mask:
        assert mask.crs.to_epsg() == 25832
        assert mask.transform == place
        assert np.array_equal(mask.read(1), CLASSES)
        assert mask.colormap(1)[4] == (250, 0, 7, 255)
