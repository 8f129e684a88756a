import numpy as np
import pytest

from segue.labels import IGNORE, LabelError, Labels, distinct_colours

CAMVID_LIKE = Labels(classes=("sky", "road"), values={0: 0, 1: 1, 11: IGNORE}, palette=((1, 2, 3), (4, 5, 6)))


def test_a_mask_is_read_by_the_map_and_written_by_its_inverse():
    raw = np.array([[0, 1, 11]], dtype=np.uint8)
    classes = CAMVID_LIKE.read(raw)
    assert classes.tolist() == [[0, 1, IGNORE]]
    assert CAMVID_LIKE.write(classes).tolist() == raw.tolist()


def test_an_unknown_value_is_an_error_that_names_value_and_pixel():
    with pytest.raises(LabelError, match=r"pixel \(1, 0\) has label 7"):
        CAMVID_LIKE.read(np.array([[0, 1], [7, 9]], dtype=np.uint8))


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.int64])
def test_wider_integers_are_read_alike(kind):
    labels = Labels(classes=("a", "b"), values={300: 0, 65535: 1, 5: IGNORE})
    assert labels.read(np.array([[300, 65535, 5]], dtype=kind)).tolist() == [[0, 1, IGNORE]]
    with pytest.raises(LabelError, match="label 6"):
        labels.read(np.array([[300, 6]], dtype=kind))


def test_values_above_255_are_written_as_16_bits():
    labels = Labels(classes=("a", "b"), values={300: 0, 7: 1})
    written = labels.write(np.array([[0, 1]], dtype=np.uint8))
    assert written.dtype == np.uint16
    assert written.tolist() == [[300, 7]]


def test_where_many_values_make_one_class_the_written_one_must_be_declared():
    with pytest.raises(ValueError, match=r"values \[1, 2\] all mean class 1"):
        Labels(classes=("a", "b"), values={0: 0, 1: 1, 2: 1})
    labels = Labels(classes=("a", "b"), values={0: 0, 1: 1, 2: 1}, written={1: 2})
    assert labels.write(np.array([1], dtype=np.uint8)).tolist() == [2]


def test_a_class_index_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="class 2, but there are 2 classes"):
        Labels(classes=("a", "b"), values={0: 0, 1: 2})


def test_one_class_is_too_few():
    with pytest.raises(ValueError, match="at least 2 classes"):
        Labels(classes=("only",))


def test_labels_survive_json():
    again = Labels.from_dict(CAMVID_LIKE.to_dict())
    assert again.to_dict() == CAMVID_LIKE.to_dict()


def test_the_png_palette_stands_at_the_raw_values():
    palette = Labels(classes=("a", "b"), values={10: 0, 20: 1}, palette=((1, 2, 3), (4, 5, 6))).png_palette()
    assert palette[30:33] == [1, 2, 3]
    assert palette[60:63] == [4, 5, 6]


@pytest.mark.parametrize("count", [2, 21, 150])
def test_made_up_colours_are_distinct(count):
    assert len(set(distinct_colours(count))) == count


COLOURED = Labels(
    classes=("sky", "road"),
    values={3: 0, 500: 1, 0: IGNORE},
    colour_key={(128, 128, 128): 3, (128, 64, 128): 500, (0, 0, 0): 0, (255, 255, 255): 77},
)


def test_masks_of_colours_are_read_by_the_colour_key_and_written_by_its_inverse():
    raw = np.array([[[128, 64, 128], [128, 128, 128], [0, 0, 0]]], dtype=np.uint8)
    classes = COLOURED.read(raw)
    assert classes.tolist() == [[1, 0, IGNORE]]
    assert np.array_equal(COLOURED.write(classes), raw)
    assert Labels.from_dict(COLOURED.to_dict()) == COLOURED


def test_a_colour_without_a_value_is_an_error_that_names_it():
    raw = np.array([[[128, 64, 128], [128, 64, 129]]], dtype=np.uint8)
    with pytest.raises(LabelError, match=r"pixel \(0, 1\) has colour \(128, 64, 129\)"):
        COLOURED.read(raw)
    with pytest.raises(LabelError, match="label 77"):
        COLOURED.read(np.full((1, 1, 3), 255, dtype=np.uint8))


SIDES = Labels(classes=("body", "left arm", "right arm"), mirror=(0, 2, 1))


def test_a_mirrored_mask_exchanges_left_and_right():
    classes = np.array([[0, 1, IGNORE], [2, 2, 0]], dtype=np.uint8)
    assert SIDES.mirrored(classes).tolist() == [[IGNORE, 2, 0], [0, 1, 1]]
    assert SIDES.mirrored(SIDES.mirrored(classes)).tolist() == classes.tolist()
    assert CAMVID_LIKE.mirrored(np.array([[0, 1]], dtype=np.uint8)).tolist() == [[1, 0]]


def test_classes_that_change_sides_survive_json():
    assert Labels.from_dict(SIDES.to_dict()).mirror == (0, 2, 1)
    assert Labels.from_dict({"classes": ["a", "b"]}).mirror == ()  # a model's card from before there were sides


@pytest.mark.parametrize("mirror", [(0, 1), (0, 1, 1), (1, 2, 0)])
def test_sides_must_come_in_pairs(mirror):
    with pytest.raises(ValueError, match="must pair the classes"):
        Labels(classes=("a", "b", "c"), mirror=mirror)


def test_labels_are_read_from_a_table():
    labels = Labels.from_table(" 7  128  64 128  road\n11   70  70  70  traffic light\n", ignored=(0, 255))
    assert labels.classes == ("road", "traffic light")
    assert labels.values == {7: 0, 11: 1, 0: IGNORE, 255: IGNORE}
    assert labels.palette == ((128, 64, 128), (70, 70, 70))
    assert Labels.from_table("1 0 0 0 a\n3 0 0 0 b", shift=-1).values == {0: 0, 2: 1}


def test_what_is_written_for_ignored_pixels_can_be_said():
    values = {0: 0, 2: 1, 1: IGNORE, 255: IGNORE}
    ignored = np.array([[IGNORE, 1]], dtype=np.uint8)
    assert Labels(classes=("a", "b"), values=values).write(ignored).tolist() == [[1, 2]]
    labels = Labels(classes=("a", "b"), values=values, written={IGNORE: 255})
    assert labels.write(ignored).tolist() == [[255, 2]]
    assert labels.png_palette()[-3:] == [0, 0, 0]
    assert Labels.from_dict(labels.to_dict()) == labels
