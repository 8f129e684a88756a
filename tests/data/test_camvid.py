import os
from pathlib import Path

import numpy as np
import pytest

from segue.data import open_split
from segue.data.camvid import split_of
from segue.labels import IGNORE
from tests.data.miniatures import CAMVID32_COLOURS, HEIGHT, WIDTH, camvid32, picture, raw_mask, save

SHARED = Path(os.environ.get("SEGUE_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "camvid"


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("inside", ["", "CamVid"])
def test_pictures_may_be_png_or_jpeg_and_the_root_its_folder(tmp_path, suffix, inside):
    picture(tmp_path / inside / "train" / f"0001TP_006690.{suffix}")
    save(tmp_path / inside / "trainannot" / "0001TP_006690.png", raw_mask((0, 10, 11)))
    data = open_split("camvid", str(tmp_path), "train")
    assert len(data) == 1
    assert set(np.unique(data.target(0)).tolist()) == {0, 10, IGNORE}
    assert data.labels.classes[8] == "Car"


@pytest.mark.skipif(not SHARED.is_dir(), reason="SEGUE_SHARED names no folder with CamVid")
@pytest.mark.parametrize(("split", "pictures"), [("train", 367), ("val", 101), ("test", 233)])
def test_the_frames_of_all_classes_are_split_as_those_of_eleven(split, pictures):
    data = open_split("camvid", str(SHARED), split)
    assert len(data) == pictures
    assert {split_of(data.name(index)) for index in range(pictures)} == {split}


def test_what_is_no_frame_is_in_no_split(tmp_path):
    assert split_of("thumbnail") == split_of("0016E5_last") == ""
    camvid32(tmp_path)
    picture(tmp_path / "701_StillsRaw_full" / "thumbnail.png")
    assert len(open_split("camvid32", str(tmp_path), "test")) == 2


def test_colours_are_read_and_written_exactly(tmp_path):
    camvid32(tmp_path)
    data = open_split("camvid32", str(tmp_path), "val")
    colours = np.array(list(CAMVID32_COLOURS), dtype=np.uint8)[raw_mask((0, 1, 2, 3))]
    assert np.array_equal(data.labels.write(data.target(0)), colours)
    assert data.labels.classes[data.target(0)[0, 1]] == "Pedestrian"


def test_a_colour_that_no_class_has_is_told_of(tmp_path):
    camvid32(tmp_path)
    misprint = np.full((HEIGHT, WIDTH, 3), (0, 128, 92), dtype=np.uint8)  # Bicyclist is (0, 128, 192)
    save(tmp_path / "LabeledApproved_full" / "0016E5_07959_L.png", misprint)
    data = open_split("camvid32", str(tmp_path), "val")
    with pytest.raises(ValueError, match=r"0016E5_07959_L\.png: pixel \(0, 0\).*\(0, 128, 92\)"):
        data.target(0)


def test_the_copy_with_numbers_is_read_alike(tmp_path):
    camvid32(tmp_path / "colours")
    for name in ("0016E5_07959", "Seq05VD_f00000"):
        picture(tmp_path / "camvid" / "images" / f"{name}.png")
        save(tmp_path / "camvid" / "labels" / f"{name}_P.png", raw_mask((0, 16, 31, 30)))
    ours, theirs = (open_split("camvid32", str(root), "val") for root in (tmp_path, tmp_path / "colours"))
    assert [ours.name(index) for index in range(len(ours))] == ["0016E5_07959"]
    assert np.array_equal(ours.target(0), theirs.target(0))
