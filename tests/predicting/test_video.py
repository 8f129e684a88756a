"""Videos: every frame gets its mask, and the video its colours."""

import numpy as np
import pytest
from PIL import Image

from segue.model import load
from segue.predicting import Wanted, predict_files
from tests.predicting.conftest import LABELS, picture

av = pytest.importorskip("av", reason="needs segue[video]")


def film(path, frames=7, height=48, width=64, rate=10):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(picture(height, width), 3 * index, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decoded(path):
    with av.open(str(path)) as container:
        return [(frame.to_ndarray(format="rgb24"), float(frame.time)) for frame in container.decode(video=0)]


def blocks(pixels):
    """(48, 64, 3) -> the means of 8 by 8 pixels."""
    return pixels.reshape(6, 8, 8, 8, 3).mean(axis=(1, 3))


def test_every_frame_gets_its_mask_and_the_video_its_colours(run, tmp_path):
    path, out = film(tmp_path / "film.mp4"), tmp_path / "out"
    told = predict_files(run, [str(path)], Wanted(out, confidence=True), batch=3)
    assert (told.done, told.failed) == (1, ())
    frames = decoded(path)
    assert sorted(one.name for one in (out / "film").iterdir()) == [f"{index:06d}.png" for index in range(7)]
    model = load(run)
    for index, (pixels, _) in enumerate(frames):
        with Image.open(out / f"film/{index:06d}.png") as mask:
            assert np.array_equal(LABELS.read(np.asarray(mask)), model.predict(pixels).labels)
    painted = decoded(out / "overlays/film.mp4")
    assert [time for _, time in painted] == pytest.approx([time for _, time in frames])
    wanted = np.asarray(model.predict(frames[4][0]).overlay())
    assert np.abs(blocks(painted[4][0]) - blocks(wanted)).mean() < 8  # it is compressed, colours at half the size
    assert np.abs(blocks(painted[4][0]) - blocks(frames[4][0])).mean() > 16
    assert (out / "confidence/film/000006.png").is_file()


def test_odd_sizes_are_made_even_for_the_video_alone(run, tmp_path):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.height, stream.width, stream.pix_fmt = 37, 41, "bgr0"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(37, 41), format="rgb24")))
        container.mux(stream.encode())
    predict_files(run, [str(path)], Wanted(tmp_path / "out"))
    with Image.open(tmp_path / "out/film/000000.png") as mask:
        assert mask.size == (41, 37)
        assert np.array_equal(LABELS.read(np.asarray(mask)), load(run).predict(picture(37, 41)).labels)
    assert decoded(tmp_path / "out/overlays/film.mp4")[0][0].shape == (38, 42, 3)


def test_a_killed_video_goes_on_with_the_frames_that_are_missing(run, tmp_path, monkeypatch):
    from segue.prediction import Predictor

    path, out = film(tmp_path / "film.mp4"), tmp_path / "out"
    predict_files(run, [str(path)], Wanted(out))
    whole = (out / "overlays/film.mp4").read_bytes()
    for name in ("overlays/film.mp4", "film/000002.png", "film/000005.png"):
        (out / name).unlink()
    predicted, labels = [], Predictor.labels
    monkeypatch.setattr(
        Predictor, "labels", lambda self, images: (predicted.append(len(images)), labels(self, images))[1]
    )
    predict_files(run, [str(path)], Wanted(out), skip_existing=True)
    assert sum(predicted) == 2
    assert (out / "overlays/film.mp4").read_bytes() == whole
    predict_files(run, [str(path)], Wanted(out), skip_existing=True)
    assert sum(predicted) == 2  # nothing was left to do


def test_a_video_that_breaks_off_is_named_and_its_masks_are_kept(run, tmp_path):
    path = film(tmp_path / "film.avi", frames=30)
    content = path.read_bytes()
    (tmp_path / "nothing.mp4").write_bytes(content[-200:])
    told = predict_files(run, [str(tmp_path)], Wanted(tmp_path / "out"))
    assert told.done == 1
    assert "nothing.mp4: cannot be decoded" in told.failed[0]
    assert not list((tmp_path / "out").rglob("*nothing*"))


def test_sound_alone_is_no_video(run, tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    told = predict_files(run, [str(tmp_path / "sound.mp4")], Wanted(tmp_path / "out"))
    assert "sound.mp4: holds no video" in told.failed[0]
