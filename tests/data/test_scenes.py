import numpy as np
import pytest
import torch

from segue.data.scenes import LABELS, draw
from segue.labels import IGNORE
from segue.metrics import confusion, iou

SHARES = {  # of the pixels, over many scenes
    "sky": (0.20, 0.40),
    "ground": (0.12, 0.30),
    "water": (0.02, 0.10),
    "road": (0.12, 0.30),
    "building": (0.06, 0.20),
    "tree": (0.03, 0.15),
    "car": (0.02, 0.08),
    "person": (0.01, 0.05),
    "pole": (0.01, 0.04),
}


@pytest.fixture(scope="module")
def scenes():
    drawn = [draw(seed) for seed in range(64)]
    return np.stack([picture for picture, _ in drawn]), np.stack([classes for _, classes in drawn])


def test_a_seed_always_gives_the_same_scene(scenes):
    np.random.seed(7)
    picture, classes = draw(5)
    assert picture.tobytes() == scenes[0][5].tobytes()
    assert classes.tobytes() == scenes[1][5].tobytes()


def test_drawing_leaves_the_global_random_state_alone():
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    draw(0)
    assert (np.random.get_state()[1] == before).all()


def test_other_seeds_give_other_scenes(scenes):
    pictures, classes = scenes
    assert len({picture.tobytes() for picture in pictures}) == 64
    assert len({labels.tobytes() for labels in classes}) == 64


@pytest.mark.parametrize("size", [(120, 160), (97, 131), (16, 16), (17, 200), (200, 17), (240, 320)])
def test_a_scene_has_the_size_that_is_asked_for(size):
    for seed in range(6):
        picture, classes = draw(seed, size)
        assert picture.shape == (*size, 3)
        assert classes.shape == size
        assert picture.dtype == classes.dtype == np.uint8


def test_labels_are_classes_or_ignored_and_never_mixtures_of_them(scenes):
    # Smooth edges of a balloon, 255, before the sky, 0, would hold everything between.
    assert set(np.unique(scenes[1]).tolist()) == {*range(LABELS.num_classes), IGNORE}


def test_every_class_has_its_share(scenes):
    counts = np.bincount(scenes[1].reshape(-1), minlength=256)
    shares = counts / counts.sum()
    assert set(SHARES) == set(LABELS.classes)
    for share, name in zip(shares, LABELS.classes, strict=False):
        low, high = SHARES[name]
        assert low < share < high, name
    assert 0.001 < shares[IGNORE] < 0.02


def test_every_class_is_in_many_scenes(scenes):
    for label, name in enumerate(LABELS.classes):
        assert (scenes[1] == label).any(axis=(1, 2)).mean() > 0.5, name


def test_pictures_are_neither_flat_nor_burnt_out(scenes):
    pictures = scenes[0]
    assert pictures.std(axis=(1, 2)).min() > 5
    assert ((pictures == 0) | (pictures == 255)).mean() < 0.05


def test_colour_alone_does_not_tell_the_class(scenes):
    # The most frequent class of each of 4096 colours in 48 scenes, tried on 16 others.
    pictures, classes = scenes
    colours = (pictures.astype(np.int64) >> 4) @ np.array([256, 16, 1])
    known = classes[:48] != IGNORE
    votes = np.bincount(colours[:48][known] * LABELS.num_classes + classes[:48][known], minlength=4096 * 9)
    guess = votes.reshape(4096, LABELS.num_classes).argmax(axis=1)[colours[48:]]
    table = confusion(torch.from_numpy(guess), torch.from_numpy(classes[48:]), LABELS.num_classes)
    assert iou(table).nanmean() < 0.35


def test_a_negative_seed_and_a_tiny_size_are_refused():
    with pytest.raises(ValueError, match="seed = -1"):
        draw(-1)
    with pytest.raises(ValueError, match="16 rows and columns"):
        draw(0, (15, 100))
