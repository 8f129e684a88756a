import numpy as np
import pytest
from PIL import Image

from segue.data.class_index import ClassIndex, index_classes
from segue.data.folder import open_folder
from segue.data.loading import TrainingSamples
from segue.data.sampling import RareClasses, pixel_of, rare_classes
from segue.data.transforms import Augmentation, augment
from segue.labels import Labels


def test_the_rarer_a_class_the_more_often_it_is_drawn():
    rare = rare_classes(ClassIndex(np.array([[900, 90, 10, 0]])), share=0.5)
    expected = 1 / np.log(1.02 + np.array([0.9, 0.09, 0.01]))
    assert rare.chance[:3] == pytest.approx(expected / expected.sum())
    assert rare.chance[3] == 0  # it never occurs


def test_a_picture_that_holds_the_class_is_drawn():
    index = ClassIndex(np.array([[10, 0], [10, 1], [10, 0], [10, 2]]))
    rare = rare_classes(index, share=1.0)
    rng = np.random.default_rng(0)
    drawn = [rare.draw(rng) for _ in range(200)]
    assert {picture for picture, label in drawn if label == 1} == {1, 3}
    assert {picture for picture, label in drawn if label == 0} == {0, 1, 2, 3}


def test_the_share_of_drawn_crops_is_the_one_asked_for():
    rare = RareClasses(0.25, np.array([0.5, 0.5]), (np.array([0]), np.array([1])))
    rng = np.random.default_rng(0)
    assert np.mean([rare.draw(rng) is not None for _ in range(4000)]) == pytest.approx(0.25, abs=0.02)


def test_a_pixel_is_of_its_class_and_any_of_it():
    target = np.zeros((5, 7), dtype=np.uint8)
    target[1, 6] = target[4, 2] = 3
    rng = np.random.default_rng(0)
    assert {pixel_of(target, 3, rng) for _ in range(50)} == {(1, 6), (4, 2)}
    assert pixel_of(target, 2, rng) is None


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_a_centred_crop_has_its_pixel_in_the_middle(scale):
    target = np.zeros((200, 300), dtype=np.uint8)
    target[98:102, 148:152] = 1
    how = Augmentation((40, 60), scale=(scale, scale), mirror=False)
    _, classes = augment(np.zeros((200, 300, 3), np.uint8), target, np.random.default_rng(0), how, centre=(100, 150))
    rows, columns = np.nonzero(classes)
    assert rows.mean() == pytest.approx(19.5, abs=1.5)
    assert columns.mean() == pytest.approx(29.5, abs=1.5)


def test_a_crop_at_the_edge_stays_in_the_picture():
    target = np.zeros((100, 100), dtype=np.uint8)
    target[0, 99] = 1
    how = Augmentation((30, 30), scale=(1.0, 1.0), mirror=False)
    _, classes = augment(np.zeros((100, 100, 3), np.uint8), target, np.random.default_rng(0), how, centre=(0, 99))
    assert classes[0, 29] == 1
    assert classes.max() < 255  # nothing of it is beyond the picture


@pytest.fixture
def thin(tmp_path):
    """Twenty pictures, of which one holds a dot of class 1."""
    for index in range(20):
        mask = np.zeros((60, 80), dtype=np.uint8)
        if index == 7:
            mask[50:53, 70:73] = 1
        for folder, pixels in (("images", np.stack([mask * 200] * 3, axis=-1)), ("masks", mask)):
            (tmp_path / "train" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "train" / folder / f"{index:02d}.png")
    return open_folder(tmp_path, "train", Labels(classes=("ground", "dot")))


def test_a_rare_class_is_seen_as_often_as_the_table_says(thin):
    rare = rare_classes(index_classes(thin), share=0.5)
    samples = TrainingSamples(thin, Augmentation((20, 20)), seed=3, rare=rare)
    seen = np.mean([(samples[position][1] == 1).any() for position in range(400)])
    plain = TrainingSamples(thin, Augmentation((20, 20)), seed=3)
    assert np.mean([(plain[position][1] == 1).any() for position in range(400)]) < 0.02
    assert seen == pytest.approx(0.5 * rare.chance[1], abs=0.08)


def test_a_position_alone_decides_a_rare_crop_too(thin):
    rare = rare_classes(index_classes(thin), share=0.5)
    one, other = (TrainingSamples(thin, Augmentation((20, 20)), seed=3, rare=rare) for _ in range(2))
    forwards = [one[position] for position in range(30)]
    for position in reversed(range(30)):
        pixels, classes, name = other[position]
        assert name == forwards[position][2]
        assert np.array_equal(pixels, forwards[position][0])
        assert np.array_equal(classes, forwards[position][1])


def test_a_share_of_none_changes_nothing(thin):
    rare = rare_classes(index_classes(thin), share=0.0)
    drawn, plain = (TrainingSamples(thin, Augmentation((20, 20)), seed=3, rare=how) for how in (rare, None))
    assert all(np.array_equal(drawn[position][0], plain[position][0]) for position in range(10))
