import numpy as np
import pytest

from segue.data import open_split
from segue.errors import DataError
from segue.labels import IGNORE
from tests.data.miniatures import bdd_anomaly, picture, raw_mask, save


def names(root, name, split):
    data = open_split(name, str(root), split)
    return [data.name(index) for index in range(len(data))]


def test_three_classes_may_be_held_out(tmp_path):
    bdd_anomaly(tmp_path)
    for split, name in (("train", "calm"), ("val", "quiet")):
        picture(tmp_path / "bdd100k" / "images" / "10k" / split / f"{name}.jpg")
        save(tmp_path / "bdd100k" / "labels" / "sem_seg" / "masks" / split / f"{name}.png", raw_mask((0, 12, 255)))
    assert names(tmp_path, "bdd_anomaly", "train") == ["00067cfb-e535423e", "calm"]
    assert names(tmp_path, "bdd_anomaly3", "train") == ["calm"]
    assert names(tmp_path, "bdd_anomaly3", "val") == ["quiet"]
    assert len(names(tmp_path, "bdd_anomaly3", "test")) == 4
    data = open_split("bdd_anomaly3", str(tmp_path), "test")
    assert data.labels.num_classes == 16
    assert np.array_equal(data.target(0), raw_mask((0, IGNORE, IGNORE)))
    assert np.array_equal(data.anomalies.target(0), raw_mask((0, 1, IGNORE)))


def test_the_first_release_is_read_as_well(tmp_path):
    for split, name, values in (("train", "a", (0, 18)), ("train", "b", (0, 16)), ("val", "c", (0, 18))):
        picture(tmp_path / "seg" / "images" / split / f"{name}.jpg")
        save(tmp_path / "seg" / "labels" / split / f"{name}_train_id.png", raw_mask(values))
    assert names(tmp_path, "bdd_anomaly", "train") == ["a"]
    assert names(tmp_path, "bdd_anomaly", "test") == ["b"]
    assert names(tmp_path / "seg", "bdd_anomaly", "val") == ["c"]


def test_masks_without_an_anomaly_make_no_test_split(tmp_path):
    for split in ("train", "val"):
        picture(tmp_path / "seg" / "images" / split / f"{split}.jpg")
        save(tmp_path / "seg" / "labels" / split / f"{split}_train_id.png", raw_mask((0, 18)))
    with pytest.raises(DataError, match="of 2 masks none holds one of the values 16, 17"):
        open_split("bdd_anomaly", str(tmp_path), "test")
