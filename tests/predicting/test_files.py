"""`segue predict` on files: what is written, what is skipped, and what a manifest says of it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segue.errors import DataError, SaveError
from segue.model import load
from segue.models.unet import PaddedUNet
from segue.options import InferenceOptions
from segue.predicting import Wanted, find_jobs, predict_files
from segue.predicting import pictures as pictures_module
from segue.predicting.manifest import NAME
from tests.predicting.conftest import LABELS, picture, write_run


def manifest(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / NAME).read_text().splitlines()]


def test_masks_overlays_confidence_and_probabilities_belong_together(run, pictures, tmp_path):
    out = tmp_path / "out"
    told = predict_files(run, [str(pictures)], Wanted(out, confidence=True, probabilities="float16"))
    assert (told.done, told.skipped, told.failed) == (3, 0, ())
    wanted = load(run).predict(pictures / "below/c.png")
    with Image.open(out / "below/c.png") as mask:
        assert np.array_equal(LABELS.read(np.asarray(mask)), wanted.labels)
    probabilities = np.load(out / "probabilities/below/c.npy")
    assert probabilities.dtype == np.float16
    assert np.abs(probabilities - wanted.probabilities).max() < 1e-3
    with Image.open(out / "confidence/below/c.png") as confidence:
        assert np.abs(np.asarray(confidence) - 255 * wanted.probabilities.max(axis=0)).max() <= 0.51
    with Image.open(out / "overlays/below/c.jpg") as overlay:
        assert overlay.size == (41, 33)


def test_probabilities_in_bytes_are_rounded(run, pictures, tmp_path):
    predict_files(run, [str(pictures / "a.png")], Wanted(tmp_path / "out", probabilities="uint8"))
    found = np.load(tmp_path / "out/probabilities/a.npy")
    assert found.dtype == np.uint8
    assert np.abs(found - 255 * load(run).predict(pictures / "a.png").probabilities).max() <= 0.51


def test_windows_scales_and_mirror_are_those_of_the_model(run, pictures, tmp_path):
    inference = InferenceOptions(window=(24,), scales=(0.75, 1.25), mirror=True)
    predict_files(run, [str(pictures / "a.png")], Wanted(tmp_path / "out"), inference=inference)
    wanted = load(run).predict(pictures / "a.png", window=24, scales=(0.75, 1.25), mirror=True)
    with Image.open(tmp_path / "out/a.png") as mask:
        assert np.array_equal(LABELS.read(np.asarray(mask)), wanted.labels)
    assert not np.array_equal(wanted.labels, load(run).predict(pictures / "a.png").labels)


def test_a_broken_picture_is_noted_and_the_others_are_predicted(run, pictures, tmp_path, capsys):
    (pictures / "b.png").write_bytes((pictures / "b.png").read_bytes()[:100])
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(pictures / "deep.png")
    told = predict_files(run, [str(pictures)], Wanted(tmp_path / "out"))
    assert told.done == 2
    assert len(told.failed) == 2
    assert "b.png: cannot be decoded" in capsys.readouterr().err
    lines = {Path(line["input"]).name: line for line in manifest(tmp_path / "out") if "input" in line}
    assert set(lines) == {"a.png", "b.png", "c.png", "deep.png"}
    assert "cannot be decoded" in lines["b.png"]["error"]
    assert "has 1 channel, where the network takes 3" in lines["deep.png"]["error"]
    assert lines["a.png"]["size"] == [40, 56]
    assert 0 < lines["a.png"]["seconds"] < 60
    assert all(Path(path).is_file() for path in lines["a.png"]["outputs"])


def test_what_is_written_is_skipped_where_asked_for(run, pictures, tmp_path):
    out = tmp_path / "out"
    predict_files(run, [str(pictures / "a.png")], Wanted(out))
    before = (out / "a.png").stat().st_mtime_ns
    (out / ".b.png.999.part").write_bytes(b"half")
    told = predict_files(run, [str(pictures)], Wanted(out), skip_existing=True)
    assert (told.done, told.skipped) == (2, 1)
    assert (out / "a.png").stat().st_mtime_ns == before
    told = predict_files(run, [str(pictures)], Wanted(out, confidence=True), skip_existing=True)
    assert (told.done, told.skipped) == (3, 0)  # the confidence was missing
    assert predict_files(run, [str(pictures)], Wanted(out)).done == 3  # without it, all are predicted anew


def test_masks_of_others_are_never_replaced(run, pictures, tmp_path):
    (tmp_path / "masks").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "masks/a.png")
    before = (tmp_path / "masks/a.png").read_bytes()
    for go_on in (False, True):
        with pytest.raises(DataError, match=r"masks/a\.png: is there already, .* choose another folder with --out"):
            predict_files(run, [str(pictures)], Wanted(tmp_path / "masks"), skip_existing=go_on)
    assert (tmp_path / "masks/a.png").read_bytes() == before
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["a.png"]


def test_two_ways_to_predict_are_not_mixed_in_one_folder(run, pictures, tmp_path):
    out = tmp_path / "out"
    predict_files(run, [str(pictures)], Wanted(out))
    with pytest.raises(DataError, match=r"predicted otherwise \(inference\.mirror false there, true now\).*--out"):
        predict_files(run, [str(pictures)], Wanted(out), inference=InferenceOptions(mirror=True), skip_existing=True)
    assert (
        predict_files(
            run, [str(pictures)], Wanted(out), inference=InferenceOptions(batch=9), skip_existing=True
        ).skipped
        == 3
    )


def test_a_line_that_a_kill_cut_short_does_not_spoil_the_next_one(run, pictures, tmp_path):
    out = tmp_path / "out"
    predict_files(run, [str(pictures)], Wanted(out))
    with (out / NAME).open("a") as file:
        file.write('{"input": "x.pn')
    predict_files(run, [str(pictures)], Wanted(out), skip_existing=True)
    assert json.loads((out / NAME).read_text().splitlines()[-1])["how"]["crf"] is False


@pytest.mark.slow
def test_a_killed_prediction_goes_on(run, tmp_path):
    folder, out = tmp_path / "many", tmp_path / "out"
    folder.mkdir()
    for index in range(60):
        Image.fromarray(picture(160, 160, seed=index)).save(folder / f"{index}.png")
    words = [sys.executable, "-m", "segue", "predict", str(run), str(folder), "--out", str(out), "--batch", "1"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(out.glob("*.png"))) < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = len(list(out.glob("*.png")))
    assert 5 <= there < 60
    told = predict_files(run, [str(folder)], Wanted(out), skip_existing=True)
    assert told.done + told.skipped == 60
    assert told.skipped > 0
    for path in out.glob("*.png"):
        with Image.open(path) as mask:
            mask.load()


@pytest.mark.slow
def test_several_processes_write_what_one_does(run, pictures, tmp_path):
    (pictures / "broken.png").write_bytes(b"no picture")
    one = predict_files(run, [str(pictures)], Wanted(tmp_path / "one"))
    two = predict_files(run, [str(pictures)], Wanted(tmp_path / "two"), processes=2, batch=1)
    assert (two.done, len(two.failed)) == (one.done, len(one.failed)) == (3, 1)
    for name in ("a.png", "b.png", "below/c.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    inputs = {line["input"] for line in manifest(tmp_path / "two") if "input" in line}
    assert len(inputs) == 4


def test_a_disk_that_is_full_ends_it(run, pictures, tmp_path, monkeypatch):
    def full(*_):
        raise SaveError("out/a.png: could not be written (the disk is full: make room)")

    monkeypatch.setattr(pictures_module, "write_picture", full)
    with pytest.raises(SaveError, match="disk is full"):
        predict_files(run, [str(pictures)], Wanted(tmp_path / "out"))


def test_pictures_that_do_not_fit_into_memory_together_are_predicted_one_by_one(run, pictures, tmp_path, monkeypatch):
    from segue.prediction import Predictor

    labels = Predictor.labels

    def small_memory(self, images):
        if len(images) > 1 or images.shape[-1] < 50:
            raise torch.OutOfMemoryError
        return labels(self, images)

    monkeypatch.setattr(Predictor, "labels", small_memory)
    told = predict_files(run, [str(pictures)], Wanted(tmp_path / "out"))
    assert told.done == 2
    assert told.failed[0].endswith(
        "does not fit into memory: predict it in windows (--inference.window 512), or with a smaller --batch"
    )


def test_one_pixel_is_predicted(tmp_path):
    run = write_run(tmp_path / "run", "deeplabv3", {"backbone": "resnet18", "width": 0.25, "channels": 16})
    Image.new("RGB", (1, 1), (200, 10, 90)).save(tmp_path / "one.png")
    inference = InferenceOptions(window=(16,), overlap=0.9, scales=(0.3, 2.5), mirror=True)
    told = predict_files(
        run, [str(tmp_path / "one.png")], Wanted(tmp_path / "out", confidence=True), inference=inference
    )
    assert told.failed == ()
    with Image.open(tmp_path / "out/one.png") as mask:
        assert mask.size == (1, 1)


def test_a_picture_that_a_network_refuses_is_named(run, pictures, tmp_path, monkeypatch):
    Image.new("RGB", (1, 1)).save(pictures / "one.png")
    contract = PaddedUNet.contract

    def refusing(network, images):
        if images.shape[-1] < 16:
            raise ValueError("pictures of (1, 1) are too small for it")
        return contract(network, images)

    monkeypatch.setattr(PaddedUNet, "contract", refusing)
    told = predict_files(run, [str(pictures)], Wanted(tmp_path / "out"))
    assert told.done == 3
    assert "one.png: pictures of (1, 1) are too small for it" in told.failed[0]


class TestFindingJobs:
    def test_frames_come_in_the_order_of_their_numbers(self, tmp_path):
        for number in (1, 2, 10, 9):
            (tmp_path / f"frame{number}.jpg").touch()
        assert [job.place for job in find_jobs([str(tmp_path)], tmp_path / "out")] == [
            "frame1",
            "frame2",
            "frame9",
            "frame10",
        ]

    def test_what_lies_in_the_output_folder_is_no_input(self, pictures):
        out = pictures / "masks"
        out.mkdir()
        (out / "a.png").touch()
        assert {job.place for job in find_jobs([str(pictures)], out)} == {"a", "b", "below/c"}

    def test_masks_never_replace_the_pictures(self, pictures):
        with pytest.raises(DataError, match=r"a\.png: would be replaced by its own mask"):
            find_jobs([str(pictures)], pictures)
        with pytest.raises(DataError, match=r"a\.png: would be replaced by its own mask"):
            find_jobs([str(pictures / "a.png")], pictures)

    def test_an_archive_is_refused(self, tmp_path):
        (tmp_path / "photos.zip").write_bytes(b"PK")
        with pytest.raises(DataError, match=r"photos\.zip: .*; unpack it, and name its folder"):
            find_jobs([str(tmp_path / "photos.zip")], tmp_path / "out")

    def test_two_files_for_one_place_are_refused(self, pictures):
        (pictures / "a.jpg").touch()
        with pytest.raises(DataError, match=r"both would be written to a;"):
            find_jobs([str(pictures)], pictures / "out")

    def test_videos_are_told_from_pictures(self, pictures):
        (pictures / "film.MP4").touch()
        assert [job.place for job in find_jobs([str(pictures)], pictures / "out") if job.is_video] == ["film"]

    @pytest.mark.parametrize("given", ["nothing.png", "*.nothing", "empty"])
    def test_an_input_that_names_nothing_is_refused(self, given, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match=r"there is no such|holds no pictures"):
            find_jobs([str(tmp_path / given)], tmp_path / "out")
