"""Pictures that are read and written by rows: the same as in memory, in memory that does not grow with height."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from segue.model import load
from segue.options import InferenceOptions
from segue.predicting import Wanted, predict_files
from segue.predicting import large as large_module
from segue.predicting import pictures as pictures_module
from segue.rasters import opening
from tests.predicting.conftest import LABELS, picture

tifffile = pytest.importorskip("tifffile", reason="needs segue[deep]")


@pytest.fixture
def small_is_large(monkeypatch):
    for module in (opening, pictures_module):
        monkeypatch.setattr(module, "LARGE", 4000)


def scene(path, height=211, width=157, **how):
    pixels = picture(height, width)
    tifffile.imwrite(path, pixels, photometric="rgb", **({"tile": (32, 48), "compression": "zlib"} | how))
    return pixels


INFERENCE = InferenceOptions(window=(64, 48), overlap=0.6, batch=3)


@pytest.mark.parametrize(
    "inference",
    [INFERENCE, InferenceOptions(window=(64,), scales=(0.7, 1.0, 1.4), mirror=True, blend="uniform", overlap=0.2)],
    ids=InferenceOptions.described,
)
def test_file_to_file_is_the_same_as_in_memory(run, inference, tmp_path, small_is_large):
    pixels = scene(tmp_path / "large.tif")
    out = tmp_path / "out"
    told = predict_files(
        run, [str(tmp_path / "large.tif")], Wanted(out, confidence=True, probabilities="float16"), inference=inference
    )
    assert told.failed == ()
    wanted = load(run).predict(
        pixels, window=inference.window, overlap=inference.overlap, blend=inference.blend, scales=inference.scales,
        mirror=inference.mirror,
    )  # fmt: skip
    assert len(np.unique(wanted.labels)) == 3
    with Image.open(out / "large.tif") as mask:
        assert np.array_equal(LABELS.read(np.asarray(mask)), wanted.labels)
    found = np.load(out / "probabilities/large.npy")
    # Windows that go through the network in other company differ in their last digit, and so may what is rounded.
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, wanted.probabilities, rtol=2**-10, atol=2**-24)  # and of what is tiny
    with Image.open(out / "confidence/large.tif") as confidence:
        assert np.abs(np.asarray(confidence) - 255 * wanted.probabilities.max(axis=0)).max() < 0.6
    with Image.open(out / "overlays/large.jpg") as overlay:
        assert overlay.size == (157, 211)
    assert not list(out.rglob("*.part"))


def test_the_overlay_of_a_large_picture_is_thinned(run, tmp_path, small_is_large, monkeypatch):
    monkeypatch.setattr(large_module, "SHOWN", 60)
    scene(tmp_path / "large.tif")
    predict_files(run, [str(tmp_path / "large.tif")], Wanted(tmp_path / "out"), inference=INFERENCE)
    with Image.open(tmp_path / "out/overlays/large.jpg") as overlay:
        assert overlay.size == (40, 53)


def test_windows_are_taken_where_none_are_asked_for_and_said(run, tmp_path, small_is_large, monkeypatch, capsys):
    monkeypatch.setattr(large_module, "WINDOWS", (100, 50, 25))
    monkeypatch.setattr(large_module, "MOST_SUMS", 4 * 3 * 157 * 50)
    pixels = scene(tmp_path / "large.tif")
    predict_files(run, [str(tmp_path / "large.tif")], Wanted(tmp_path / "out"))
    assert "large.tif: 157x211 pixels; windows of 50x50, overlap 0.5, gaussian" in capsys.readouterr().err
    with Image.open(tmp_path / "out/large.tif") as mask:
        assert np.array_equal(LABELS.read(np.asarray(mask)), load(run).predict(pixels, window=50).labels)


def test_a_large_png_becomes_a_tiff_and_is_skipped_when_it_is_there(run, tmp_path, small_is_large):
    Image.fromarray(picture(211, 157)).save(tmp_path / "large.png")
    for done, skipped in ((1, 0), (0, 1)):
        told = predict_files(
            run, [str(tmp_path / "large.png")], Wanted(tmp_path / "out"), inference=INFERENCE, skip_existing=True
        )
        assert (told.done, told.skipped, told.failed) == (done, skipped, ())
    assert (tmp_path / "out/large.tif").is_file()


def test_a_file_that_breaks_half_way_leaves_nothing(run, tmp_path, small_is_large):
    path = tmp_path / "large.tif"
    scene(path)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        start = file.pages.first.dataoffsets[-1]
    content[start : start + 30] = b"x" * 30
    path.write_bytes(content)
    told = predict_files(run, [str(path)], Wanted(tmp_path / "out", probabilities="uint8"), inference=INFERENCE)
    assert "large.tif: cannot be decoded" in told.failed[0]
    assert [one.name for one in (tmp_path / "out").rglob("*") if one.is_file()] == ["manifest.jsonl"]


def test_the_crf_needs_the_whole_picture(run, tmp_path, small_is_large):
    scene(tmp_path / "large.tif")
    told = predict_files(run, [str(tmp_path / "large.tif")], Wanted(tmp_path / "out"), crf={})
    assert "large.tif: 157x211 pixels are predicted by rows, and the CRF needs all of them" in told.failed[0]


@pytest.mark.parametrize("large", [True, False])
def test_the_mask_of_a_map_lies_where_the_map_does(run, tmp_path, large, monkeypatch):
    rasterio = pytest.importorskip("rasterio", reason="needs segue[geo]")
    if large:
        monkeypatch.setattr(opening, "LARGE", 4000)
        monkeypatch.setattr(pictures_module, "LARGE", 4000)
    pixels, place = picture(120, 90), rasterio.Affine(0.25, 0, 691_000, 0, -0.25, 5_334_000)
    with rasterio.open(
        tmp_path / "map.tif", "w", driver="GTiff", height=120, width=90, count=3, dtype="uint8", crs="EPSG:25832",
        transform=place, photometric="rgb",
    ) as file:  # fmt: skip
        file.write(pixels.transpose(2, 0, 1))
    told = predict_files(
        run, [str(tmp_path / "map.tif")], Wanted(tmp_path / "out", confidence=True), inference=INFERENCE
    )
    assert told.failed == ()
    for name in ("map.tif", "confidence/map.tif"):
        with rasterio.open(tmp_path / "out" / name) as file:
            assert file.crs.to_epsg() == 25832
            assert file.transform == place
    with rasterio.open(tmp_path / "out/map.tif") as file:
        wanted = load(run).predict(pixels, window=(64, 48), overlap=0.6)
        assert np.array_equal(LABELS.read(file.read(1)), wanted.labels)
        assert file.colormap(1)[20] == (0, 200, 0, 255)


GEOREFERENCE = [  # pixels of 1, from (0, 0) on
    (33550, 12, 3, (1.0, 1.0, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0), True),
]
PEAK = """
import resource, sys
from pathlib import Path
from segue.options import InferenceOptions
from segue.predicting import Wanted, predict_files
run, path, out = sys.argv[1:]
inference = InferenceOptions(window=(128,), overlap=0.25)
told = predict_files(run, [path], Wanted(Path(out)), inference=inference)
assert told.done == 1, told
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.parametrize("place", [[], GEOREFERENCE], ids=["TIFF", "GeoTIFF"])
def test_memory_does_not_grow_with_height(run, tmp_path, place):
    if place:
        pytest.importorskip("rasterio", reason="needs segue[geo]")
    peaks = []
    for height in (4200, 16_800):
        path = tmp_path / f"{height}.tif"
        blank = np.zeros((height, 4096, 3), np.uint8)
        how = {"photometric": "rgb", "rowsperstrip": 64, "compression": "zlib"}
        tifffile.imwrite(path, blank, **how, extratags=place)
        answer = subprocess.run(
            [sys.executable, "-c", PEAK, run, path, tmp_path / f"out{height}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(int(answer.stdout.split()[-1]) / 1024)
    # Of a picture held whole, its pixels would be 148 MiB more, its classes 49 MiB, its probabilities 591 MiB.
    assert peaks[1] - peaks[0] < 60, peaks
