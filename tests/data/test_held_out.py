import numpy as np
import pytest

from segue.data import open_folder
from segue.data.held_out import hold_out, labels_without, values_without
from segue.errors import DataError
from segue.labels import IGNORE, Labels
from tests.toy import toy

LABELS = Labels(("ground", "Square", "other"))


def test_pixels_of_a_held_out_class_are_ignored_and_are_the_anomalies(tmp_path):
    whole = open_folder(toy(tmp_path), "val", LABELS)
    without = hold_out(whole, ["square"])
    assert without.labels.classes == ("ground", "other")
    for index in range(len(whole)):
        classes = whole.target(index)
        assert np.array_equal(without.target(index), np.array([0, IGNORE, 1], dtype=np.uint8)[classes])
        assert np.array_equal(without.anomalies.target(index), classes == 1)
        assert np.array_equal(without.image(index), whole.image(index))
        assert without.name(index) == whole.name(index)
    assert np.array_equal(without.order(3, 1), whole.order(3, 1))


def test_ignored_pixels_are_no_anomalies(tmp_path):
    labels = Labels(("ground", "square"), values={0: 0, 1: 1, 2: IGNORE})
    whole = open_folder(toy(tmp_path), "val", Labels(("a", "b", "c"), values={0: 0, 1: 1, 2: IGNORE}))
    target = hold_out(whole, ["b"]).anomalies.target(0)
    assert np.array_equal(target == IGNORE, whole.target(0) == IGNORE)
    assert labels.num_classes == 2


def test_what_is_kept_of_masks_is_told_apart_by_what_is_held_out(tmp_path):
    whole = open_folder(toy(tmp_path), "val", LABELS)
    stamps = {hold_out(whole, names).stamp(0).mask.version for names in ([], ["square"], ["other"])}
    assert len(stamps) == 3


def test_masks_are_written_with_the_raw_values_of_the_classes_that_stay():
    labels = Labels(("a", "b", "c", "d"), values={10: 0, 20: 1, 30: 2, 40: 3}, mirror=(0, 3, 2, 1))
    without = labels_without(labels, ["b"])
    assert without.write(np.array([[0, 1, 2]], dtype=np.uint8)).tolist() == [[10, 30, 40]]
    assert without.read(np.array([[10, 20, 30, 40]], dtype=np.uint8)).tolist() == [[0, IGNORE, 1, 2]]
    assert without.mirror == (0, 1, 2)  # d has lost its other side
    assert labels_without(labels, []) is labels


def test_a_class_that_there_is_not_is_an_error_that_names_the_nearest():
    with pytest.raises(DataError, match="did you mean Square"):
        labels_without(LABELS, ["squares"])
    with pytest.raises(DataError, match="at least two classes"):
        labels_without(LABELS, ["square", "other"])


def test_weights_of_classes_that_are_held_out_are_left_out_with_them():
    assert values_without((1.0, 2.0, 3.0), LABELS, ["square"]) == (1.0, 3.0)
    assert values_without((1.0, 3.0), LABELS, ["square"]) == (1.0, 3.0)  # a recipe as a run has written it
    assert values_without((1.0, 2.0, 3.0), LABELS, []) == (1.0, 2.0, 3.0)
