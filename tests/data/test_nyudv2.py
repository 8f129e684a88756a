import numpy as np
import pytest

from segue.data import open_split
from segue.data.nyudv2 import LABELS, TABLE, TESTING, TRAINING
from segue.errors import DataError
from segue.labels import IGNORE
from tests.data.miniatures import nyudv2, raw_mask


def test_the_original_labels_become_forty(tmp_path):
    nyudv2(tmp_path)
    data = open_split("nyudv2", str(tmp_path), "train")
    # wall, book, no label, a structure, a piece of furniture
    assert np.array_equal(data.target(0), raw_mask((0, 39, IGNORE, 37, 38)))
    assert LABELS.classes[37:] == ("otherstructure", "otherfurniture", "otherprop")
    assert [TABLE[1:].count(raw) for raw in (38, 39, 40)] == [68, 82, 707]


def test_the_two_splits_are_those_of_the_authors(tmp_path):
    assert len(TRAINING) == 795
    assert len(TESTING) == 654
    assert not set(TRAINING) & set(TESTING)
    assert TESTING[:4] == (1, 2, 9, 14)
    assert TESTING[-1] == 1449
    nyudv2(tmp_path)
    data = open_split("nyudv2", str(tmp_path), "val")
    assert [data.name(0), data.name(653)] == ["0001", "1449"]


def test_rows_and_columns_are_not_exchanged(tmp_path):
    import h5py

    nyudv2(tmp_path)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "r+") as file:
        file["images"][0] = 0
        file["images"][0, 2, 12, 3] = 200  # blue, column 12, row 3
    image = open_split("nyudv2", str(tmp_path), "val").image(0)
    assert np.argwhere(image).tolist() == [[3, 12, 2]]


def test_a_label_beyond_the_last_one_is_told_of(tmp_path):
    import h5py

    nyudv2(tmp_path)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "r+") as file:
        file["labels"][0, 12, 3] = 895
    with pytest.raises(DataError, match=r"labeled\.mat: pixel \(3, 12\) has the value 895; the highest is 894"):
        open_split("nyudv2", str(tmp_path), "val").target(0)


def test_a_file_that_is_none_is_told_of(tmp_path):
    (tmp_path / "nyu_depth_v2_labeled.mat").write_bytes(b"half")
    with pytest.raises(DataError, match=r"labeled\.mat: cannot be decoded"):
        open_split("nyudv2", str(tmp_path), "val").target(0)
