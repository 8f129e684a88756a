import numpy as np
import pytest

from segue.labels import IGNORE, Labels
from segue.pictures import MISS, borders, errors, fitted, overlay, resized, thinned

LABELS = Labels(classes=("a", "b"), palette=((200, 0, 0), (0, 0, 100)))


def test_an_overlay_mixes_picture_and_colour_by_the_opacity():
    image = np.full((5, 5, 3), 100, dtype=np.uint8)
    painted = overlay(image, np.zeros((5, 5), dtype=np.uint8), LABELS, opacity=0.25)
    assert painted.dtype == np.uint8
    assert painted[2, 2].tolist() == [125, 75, 75]  # 0.75 * 100 + 0.25 * (200, 0, 0)


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_an_overlay_of_no_opacity_is_the_picture_and_of_full_opacity_the_colours(level):
    image = np.full((3, 4, 3), level, dtype=np.uint8)
    classes = np.ones((3, 4), dtype=np.uint8)
    assert np.array_equal(overlay(image, classes, LABELS, opacity=0), image)
    assert np.array_equal(overlay(image, classes, LABELS, opacity=1), LABELS.colours(classes))


def test_an_overlay_draws_borders_in_the_full_colour_of_each_side():
    classes = np.array([[0, 0, 1, 1]] * 3, dtype=np.uint8)
    painted = overlay(np.zeros((3, 4, 3), dtype=np.uint8), classes, LABELS, opacity=0.5)
    assert painted[1].tolist() == [[100, 0, 0], [200, 0, 0], [0, 0, 100], [0, 0, 50]]


def test_an_overlay_leaves_ignored_pixels_as_they_are():
    image = np.full((2, 3, 3), 77, dtype=np.uint8)
    classes = np.array([[IGNORE, 0, 0]] * 2, dtype=np.uint8)
    assert overlay(image, classes, LABELS)[:, 0].tolist() == [[77] * 3] * 2


def test_an_overlay_changes_neither_of_its_inputs():
    image, classes = np.full((4, 4, 3), 9, dtype=np.uint8), np.eye(4, dtype=np.uint8)
    image.flags.writeable = classes.flags.writeable = False
    overlay(image, classes, LABELS)


def test_an_overlay_of_two_sizes_or_a_strange_opacity_is_refused():
    image, classes = np.zeros((4, 5, 3), dtype=np.uint8), np.zeros((5, 4), dtype=np.uint8)
    with pytest.raises(ValueError, match="must be one size"):
        overlay(image, classes, LABELS)
    with pytest.raises(ValueError, match=r"opacity = 1\.5"):
        overlay(image, classes.T, LABELS, opacity=1.5)


def test_borders_are_as_wide_on_each_side_as_asked():
    row = np.array([[0, 0, 0, 0, 1, 1, 1, 1]])
    assert borders(row, width=1).astype(int).tolist() == [[0, 0, 0, 1, 1, 0, 0, 0]]
    assert borders(row, width=2).astype(int).tolist() == [[0, 0, 1, 1, 1, 1, 0, 0]]
    assert borders(row.T, width=2).T.astype(int).tolist() == [[0, 0, 1, 1, 1, 1, 0, 0]]
    assert not borders(np.zeros((1, 1)), width=5).any()


def test_errors_show_misses_and_nothing_else_in_colour():
    image = np.random.default_rng(0).integers(0, 256, (1, 4, 3), dtype=np.uint8)
    truth = np.array([[0, 1, IGNORE, 1]], dtype=np.uint8)
    picture = errors(image, truth, np.array([[0, 0, 0, 1]], dtype=np.uint8))
    assert picture[0, 1].tolist() == list(MISS)
    others = picture[0, [0, 2, 3]]
    assert (others == others[:, :1]).all()  # grey
    assert others.min() >= 150  # and pale


def test_a_size_is_fitted_into_a_box_by_its_tighter_side():
    assert fitted((100, 200), (50, 50)) == (25, 50)
    assert fitted((200, 100), (50, 50)) == (50, 25)
    assert fitted((10, 10), (30, 50)) == (30, 30)
    assert fitted((1, 5000), (50, 50)) == (1, 50)


def test_thinning_keeps_at_least_twice_the_wanted_size():
    assert thinned(np.zeros((100, 1000, 3)), (10, 10)).shape == (20, 20, 3)
    assert thinned(np.zeros((15, 15)), (10, 10)).shape == (15, 15)


def test_resizing_classes_repeats_pixels_and_shrinking_averages():
    picture = np.array([[[0] * 3, [200] * 3]], dtype=np.uint8)
    assert np.asarray(resized(picture, (1, 4), smooth=False))[0, :, 0].tolist() == [0, 0, 200, 200]
    assert np.asarray(resized(picture, (1, 1)))[0, 0].tolist() == [100] * 3
