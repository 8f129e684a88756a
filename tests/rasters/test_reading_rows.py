"""Rows of files are those of the whole picture as `read_image` decodes it."""

import numpy as np
import pytest
from PIL import Image

from segue.errors import DataError
from segue.rasters import open_raster, opening
from segue.reading import read_image

tifffile = pytest.importorskip("tifffile", reason="needs segue[deep]")

COLOUR_MAP = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16) * 257
SMOOTH = np.add.outer(np.arange(83), np.arange(131))
GREY = (SMOOTH % 256).astype(np.uint8)
COLOURS = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)
DEEP = (COLOURS.astype(np.uint16) * 257) ^ 3
MANY = np.stack([GREY * k for k in range(1, 6)], axis=-1)


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch):
    monkeypatch.setattr(opening, "LARGE", 64)


def tiff(path, pixels, **how):
    tifffile.imwrite(path, pixels, **({"photometric": "rgb" if pixels.shape[-1] in (3, 4) else "minisblack"} | how))
    return path


KINDS = {
    "plain": (COLOURS, {}),
    "strips": (COLOURS, {"compression": "zlib", "rowsperstrip": 7}),
    "tiles": (COLOURS, {"compression": "zlib", "tile": (32, 16), "predictor": True}),
    "big endian": (DEEP, {"byteorder": ">"}),
    "grey": (GREY, {"tile": (16, 48)}),
    "grey of 16 bits": (DEEP[..., 0], {}),
    "RGB of 16 bits": (DEEP, {"compression": "zlib", "rowsperstrip": 5}),
    "transparent": (np.dstack([COLOURS, GREY]), {"extrasamples": ["unassalpha"], "compression": "zlib"}),
    "near infrared": (np.dstack([COLOURS, GREY]), {"extrasamples": ["unspecified"], "tile": (16, 16)}),
    "five channels": (MANY, {"planarconfig": "contig"}),
    "planes": (MANY.transpose(2, 0, 1).copy(), {"planarconfig": "separate"}),
    "tiled planes": (MANY.transpose(2, 0, 1).copy(), {"planarconfig": "separate", "tile": (16, 32)}),
    "float": (DEEP[..., :1].squeeze().astype(np.float32) / 7, {"compression": "zlib"}),
    "palette": (GREY // 4, {"photometric": "palette", "colormap": COLOUR_MAP}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", ["tifffile", "rasterio"])
def test_rows_are_those_of_the_whole_picture(kind, reader, tmp_path):
    pixels, how = KINDS[kind]
    path = tiff(tmp_path / "a.tif", pixels, metadata=None, **how)
    whole = read_image(path)
    if reader == "rasterio":
        pytest.importorskip("rasterio", reason="needs segue[geo]")
    with opening._by_rasterio(path) if reader == "rasterio" else open_raster(path) as raster:
        assert (raster.height, raster.width) == whole.shape[:2]
        for top, bottom in ((0, 83), (0, 1), (82, 83), (30, 50), (5, 70), (31, 33)):
            found = raster.pixels(top, bottom)
            assert found.dtype == whole.dtype
            assert np.array_equal(found, whole[top:bottom])


@pytest.mark.parametrize("compression", ["lzw", "jpeg", "packbits"])
def test_other_compressions_are_decoded(compression, tmp_path):
    pytest.importorskip("imagecodecs", reason="needs segue[deep]")
    path = tiff(tmp_path / "a.tif", COLOURS, compression=compression, tile=(32, 32), metadata=None)
    with open_raster(path) as raster:
        assert np.abs(raster.pixels(20, 60).astype(int) - read_image(path)[20:60]).max() <= (
            3 if compression == "jpeg" else 0
        )


def test_tiles_are_decoded_once_where_rows_are_read_in_order(tmp_path):
    with open_raster(tiff(tmp_path / "a.tif", COLOURS, compression="zlib", tile=(16, 16), metadata=None)) as raster:
        numbers = []
        put = raster._put
        raster._put = lambda number, found: (numbers.append(number), put(number, found))
        for top in range(0, 83, 10):
            raster.pixels(max(0, top - 5), min(83, top + 10))
    assert sorted(numbers) == list(range(6 * 9))


def test_a_large_picture_that_is_no_tiff_is_decoded_whole(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    with open_raster(tmp_path / "a.png") as raster:
        assert np.array_equal(raster.pixels(10, 20), COLOURS[10:20])


def test_pillows_limit_does_not_stop_large_pictures_and_holds_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    with open_raster(tmp_path / "a.png") as raster:
        assert raster.height == 83
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_picture_that_would_fill_the_memory_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MOST_HELD", 1000)
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: 131x83 pixels .* save it as one in tiles"):
        open_raster(tmp_path / "a.png")


def test_small_pictures_are_not_read_by_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "LARGE", 83 * 131)
    assert open_raster(tiff(tmp_path / "a.tif", COLOURS)) is None


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"II*\0nothing"), "cannot be decoded"),
        (
            lambda path: tifffile.imwrite(path, np.zeros((3, 40, 50), np.uint8), photometric="minisblack"),
            "holds 3 pages",
        ),
        (lambda path: path.unlink(missing_ok=True), "there is no such picture"),
    ],
)
def test_what_cannot_be_read_is_named(write, message, tmp_path):
    path = tmp_path / "a.tif"
    write(path)
    with pytest.raises(DataError, match=rf"a\.tif: {message}"):
        open_raster(path)


def test_a_damaged_tile_is_named_when_its_rows_are_read(tmp_path):
    path = tiff(tmp_path / "a.tif", COLOURS, compression="zlib", tile=(16, 16), metadata=None)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        start = file.pages.first.dataoffsets[40]
    content[start : start + 20] = b"x" * 20
    path.write_bytes(content)
    with open_raster(path) as raster:
        raster.pixels(0, 16)
        with pytest.raises(DataError, match=r"a\.tif: cannot be decoded"):
            raster.pixels(64, 83)


def test_one_compressed_strip_of_everything_is_refused(tmp_path, monkeypatch):
    from segue.rasters import tiff as module

    monkeypatch.setattr(module, "MOST_BYTES", 10_000)
    path = tiff(tmp_path / "a.tif", COLOURS, compression="zlib", rowsperstrip=83, metadata=None)
    with pytest.raises(DataError, match=r"a\.tif: is compressed in strips of 83 rows.*TILED=YES"):
        open_raster(path)
