import numpy as np
import pytest
from PIL import Image

from segue.data import open_split
from segue.errors import DataError
from tests.data.miniatures import isbi2012, picture, raw_mask, save


def test_every_page_is_its_own(tmp_path):
    isbi2012(tmp_path)
    data = open_split("isbi2012", str(tmp_path), "val")
    with Image.open(tmp_path / "train-volume.tif") as file:
        file.seek(25)
        page = np.asarray(file)
    assert data.name(1) == "25"
    assert np.array_equal(data.image(1), np.repeat(page[..., None], 3, axis=2))
    assert data.labels.classes == ("membrane", "cell")
    assert np.array_equal(data.target(1), raw_mask((0, 1, 1)))  # 255 is a class here


def test_a_stack_that_ends_early_is_told_of(tmp_path):
    isbi2012(tmp_path)
    save(tmp_path / "train-labels.tif", raw_mask((0, 255)))
    with pytest.raises(DataError, match=r"train-labels\.tif: has no page 25; fetch it again"):
        open_split("isbi2012", str(tmp_path), "val").target(0)


def test_the_copy_as_single_pictures_is_read_and_its_greys_rounded(tmp_path):
    folder = tmp_path / "data" / "membrane" / "train"
    for page in range(30):
        picture(folder / "image" / f"{page}.png")
        save(folder / "label" / f"{page}.png", raw_mask((3, 127, 128, 250)))
    val = open_split("isbi2012", str(tmp_path), "val")
    assert {val.name(index) for index in range(len(val))} == {"24", "25", "26", "27", "28", "29"}
    assert np.array_equal(val.target(0), raw_mask((0, 0, 1, 1)))
    assert len(open_split("isbi2012", str(tmp_path), "train")) == 24
    assert len(open_split("isbi2012", str(tmp_path), "all")) == 30
