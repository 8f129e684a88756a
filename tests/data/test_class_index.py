import os

import numpy as np
import pytest

from segue.data.class_index import index_classes
from segue.data.folder import open_folder
from segue.errors import DataError
from segue.labels import IGNORE, Labels
from tests.data.counting import Counting
from tests.toy import toy

THREE = Labels(classes=("a", "b", "c"))


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    return Counting(open_folder(toy(tmp_path / "toy"), "train", THREE))


def test_the_index_says_how_much_of_a_class_each_picture_holds(data):
    index = index_classes(data)
    targets = [data.target(number) for number in range(15)]
    assert index.pixels.tolist() == [[int((target == k).sum()) for k in range(3)] for target in targets]
    assert index.total.tolist() == index.pixels.sum(axis=0).tolist()
    assert index.share.sum() == pytest.approx(1)
    assert index.present[0] == sum(target.size for target in targets)
    assert index.pictures[0] == 15


def test_ignored_pixels_are_of_no_class(data, tmp_path):
    labels = Labels(classes=("a", "b"), values={0: 0, 1: 1, 2: IGNORE})
    index = index_classes(open_folder(tmp_path / "toy", "train", labels))
    assert index.pixels.shape == (15, 2)
    assert index.total.sum() == sum(int((data.target(number) < 2).sum()) for number in range(15))


def test_masks_are_counted_once_and_known_again_in_the_next_run(data):
    first = index_classes(data)
    assert data.masks_read == 15
    again = index_classes(data)
    assert data.masks_read == 15
    assert np.array_equal(first.pixels, again.pixels)


def test_a_changed_mask_alone_is_counted_again(data):
    index_classes(data)
    changed = data.data.pairs[3].mask
    changed.write_bytes(data.data.pairs[4].mask.read_bytes())
    os.utime(changed, ns=(1, 1))
    index = index_classes(data)
    assert data.masks_read == 15 + 1
    assert index.pixels[3].tolist() == index.pixels[4].tolist()


def test_another_label_map_has_counts_of_its_own(data, tmp_path):
    index_classes(data)
    swapped = Labels(classes=("a", "b", "c"), values={0: 0, 1: 2, 2: 1})
    other = index_classes(open_folder(tmp_path / "toy", "train", swapped))
    assert other.total.tolist() == index_classes(data).total[[0, 2, 1]].tolist()


def test_a_damaged_index_is_made_anew(data, tmp_path):
    expected = index_classes(data)
    for path in (tmp_path / "cache" / "classes").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:-100])
    assert np.array_equal(index_classes(data).pixels, expected.pixels)
    assert data.masks_read == 30


def test_a_folder_that_cannot_be_written_costs_a_count_and_no_more(data, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "file"))
    index_classes(data)
    index_classes(data)
    assert data.masks_read == 30


def test_a_mask_that_cannot_be_read_is_named(data):
    broken = data.data.pairs[7].mask
    broken.write_bytes(b"no picture")
    with pytest.raises(DataError, match=rf"{broken}: cannot be decoded"):
        index_classes(data)
