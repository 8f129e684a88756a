import io
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from segue.data.places import place
from segue.data.source import read_raw_mask
from segue.errors import DataError
from segue.reading import read_image, upright

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (21, 34, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (21, 34, 7), dtype=np.uint16)
SMOOTH = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)[..., None] + np.array([0, 50, 100], np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_lossless_pictures_are_read_exactly(tmp_path, suffix):
    path = tmp_path / f"one.{suffix}"
    Image.fromarray(RGB).save(path, **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(read_image(path), RGB)


def test_a_jpeg_is_read_nearly(tmp_path):
    Image.fromarray(SMOOTH).save(tmp_path / "one.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "one.jpg").astype(int) - SMOOTH).mean() < 2


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_every_mode_of_8_bits_becomes_rgb(tmp_path, mode):
    picture = Image.fromarray(RGB).convert(mode)
    path = tmp_path / ("one.tif" if mode == "CMYK" else "one.png")
    picture.save(path)
    expected = np.asarray(picture.convert("RGB"))
    assert np.array_equal(read_image(path), expected)


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path):
    Image.fromarray(RGB).quantize(16).save(tmp_path / "one.png", transparency=bytes(range(16)))
    assert read_image(tmp_path / "one.png").shape == RGB.shape


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_16_bits_keeps_them_in_one_channel(tmp_path, suffix):
    path = tmp_path / f"one.{suffix}"
    Image.fromarray(DEEP[..., 0]).save(path)
    pixels = read_image(path)
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, DEEP[..., :1])


@pytest.mark.parametrize(("channels", "kept"), [(3, 3), (4, 3)])
def test_a_png_of_16_bits_a_colour_keeps_them_and_loses_its_transparency(tmp_path, channels, kept):
    cv2 = pytest.importorskip("cv2")
    order = [2, 1, 0, 3][:channels]  # OpenCV writes BGR
    (tmp_path / "one.png").write_bytes(cv2.imencode(".png", np.ascontiguousarray(DEEP[..., order]))[1].tobytes())
    pixels = read_image(tmp_path / "one.png")
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, DEEP[..., :kept])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
def test_a_tiff_gives_all_its_channels(tmp_path, kind, channels, planar, compression):
    tifffile = pytest.importorskip("tifffile")
    pixels = DEEP[..., :channels].astype(kind)
    stored = pixels[..., 0] if channels == 1 else pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    how = {"planarconfig": planar} if channels > 1 else {}
    tifffile.imwrite(tmp_path / "one.tif", stored, photometric="minisblack", compression=compression, **how)
    expected = pixels.repeat(3, axis=2) if (channels, kind) == (1, np.uint8) else pixels
    found = read_image(tmp_path / "one.tif")
    assert found.dtype == kind
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize(("extra", "kept"), [("unspecified", 4), ("unassalpha", 3)])
def test_a_fourth_channel_of_a_tiff_is_kept_unless_it_says_that_it_is_transparency(tmp_path, kind, extra, kept):
    tifffile = pytest.importorskip("tifffile")
    pixels = DEEP[..., :4].astype(kind)
    tifffile.imwrite(tmp_path / "one.tif", pixels, photometric="rgb", extrasamples=[extra])
    assert np.array_equal(read_image(tmp_path / "one.tif"), pixels[..., :kept])


def test_channels_that_imagej_keeps_as_pages_are_found(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "one.tif", np.moveaxis(DEEP, -1, 0), imagej=True, metadata={"axes": "CYX"})
    assert np.array_equal(read_image(tmp_path / "one.tif"), DEEP)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_stack_of_pages_is_refused_for_a_picture_and_for_a_mask(tmp_path, kind):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "one.tif", np.moveaxis(DEEP.astype(kind), -1, 0), photometric="minisblack")
    for read in (read_image, read_raw_mask):
        with pytest.raises(DataError, match=r"one\.tif: holds 7 pages; save channels in one page .*planarconfig="):
            read(tmp_path / "one.tif")


@pytest.mark.parametrize("channels", [1, 5])
def test_smaller_copies_in_a_tiff_are_no_pages(tmp_path, channels):
    tifffile = pytest.importorskip("tifffile")
    pixels = DEEP[..., :channels]
    with tifffile.TiffWriter(tmp_path / "one.tif") as file:
        file.write(pixels.squeeze(), photometric="minisblack", planarconfig="contig" if channels > 1 else None)
        file.write(DEEP[..., 0], photometric="minisblack", subfiletype=1)
        file.write(DEEP[::2, ::2, 0], photometric="minisblack")
    assert np.array_equal(read_image(tmp_path / "one.tif"), pixels)


def test_a_tiff_of_many_channels_without_tifffile_says_what_to_install(tmp_path, monkeypatch):
    pytest.importorskip("tifffile").imwrite(tmp_path / "one.tif", DEEP, photometric="minisblack", planarconfig="contig")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DataError, match=r"one\.tif: .* needs tifffile: pip install 'segue\[deep\]'"):
        read_image(tmp_path / "one.tif")


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_a_picture_is_turned_as_its_exif_says(tmp_path, turned, suffix):
    path = tmp_path / f"one.{suffix}"
    exif = Image.Exif()
    exif[274] = turned
    Image.fromarray(SMOOTH).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    expected = {
        1: SMOOTH,
        2: np.fliplr(SMOOTH),
        3: np.rot90(SMOOTH, 2),
        4: np.flipud(SMOOTH),
        5: SMOOTH.swapaxes(0, 1),
        6: np.rot90(SMOOTH, -1),
        7: np.rot90(SMOOTH, 2).swapaxes(0, 1),
        8: np.rot90(SMOOTH),
    }[turned]
    assert np.array_equal(upright(SMOOTH, turned), expected)
    found = read_image(path)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 3


def test_a_deep_tiff_is_turned_as_its_tag_says(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(
        tmp_path / "one.tif", DEEP, photometric="minisblack", planarconfig="contig", extratags=[(274, 3, 1, 6, True)]
    )
    assert np.array_equal(read_image(tmp_path / "one.tif"), np.rot90(DEEP, -1))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp"])
@pytest.mark.parametrize("kept", [0, 10, 200, 0.5, 0.95])
def test_a_truncated_file_is_one_clear_line(tmp_path, suffix, kept):
    path = tmp_path / f"one.{suffix}"
    Image.fromarray(RGB).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    with pytest.raises(DataError, match=rf"one\.{suffix}: cannot be decoded \(.+\); replace the file") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_deep_picture_is_one_clear_line(tmp_path):
    tifffile, cv2 = pytest.importorskip("tifffile"), pytest.importorskip("cv2")
    tifffile.imwrite(tmp_path / "one.tif", DEEP, photometric="minisblack", planarconfig="contig")
    (tmp_path / "one.png").write_bytes(cv2.imencode(".png", DEEP[..., :3])[1].tobytes())
    for name in ("one.tif", "one.png"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(DataError, match=rf"{name}: cannot be decoded"):
            read_image(path)


def test_what_is_not_there_or_no_picture_is_said(tmp_path):
    with pytest.raises(DataError, match=r"one\.png: there is no such picture"):
        read_image(tmp_path / "one.png")
    (tmp_path / "one.png").write_text("<html>")
    with pytest.raises(DataError, match=r"one\.png: cannot be decoded \(no known kind of picture\)"):
        read_image(tmp_path / "one.png")


def test_pictures_are_read_from_an_archive(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, "PNG")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("deep/one.png", stream.getvalue())
        archive.writestr("deep/half.png", stream.getvalue()[:900])
    assert np.array_equal(read_image(place(tmp_path / "all.zip") / "deep" / "one.png"), RGB)
    with pytest.raises(DataError, match=r"all\.zip/deep/half\.png: cannot be decoded"):
        read_image(place(tmp_path / "all.zip") / "deep" / "half.png")
    with pytest.raises(DataError, match=r"all\.zip/deep/none\.png: there is no such picture"):
        read_image(place(tmp_path / "all.zip") / "deep" / "none.png")
