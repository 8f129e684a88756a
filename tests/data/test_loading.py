import numpy as np
import pytest

from segue.data.folder import open_folder
from segue.data.loading import TrainingSamples, share, training_loader
from segue.data.transforms import Augmentation
from segue.data.weights import ClassCounts, count_classes, inverse_log_frequency, median_frequency
from segue.labels import Labels
from tests.toy import toy

THREE = Labels(classes=("a", "b", "c"))


@pytest.fixture
def samples(tmp_path):
    return TrainingSamples(open_folder(toy(tmp_path), "train", THREE), Augmentation((32, 40)), seed=1)


def test_every_epoch_shows_each_picture_once(samples):
    for epoch in range(3):
        shown = [samples.picture_at(epoch * 15 + place) for place in range(15)]
        assert sorted(shown) == list(range(15))
    assert [samples.picture_at(p) for p in range(15)] != [samples.picture_at(p) for p in range(15, 30)]


def test_a_position_alone_decides_its_pixels(samples):
    later = [samples[position] for position in (20, 3)]
    assert np.array_equal(later[1][0], samples[3][0])
    assert not np.array_equal(samples[3][0], samples[18][0])  # the same place of the next epoch differs


def test_cached_pictures_are_the_same(samples):
    cached = TrainingSamples(samples.data, samples.augmentation, seed=1, cache=True)
    for position in (0, 15, 0):
        assert np.array_equal(cached[position][0], samples[position][0])


def test_a_batch_is_channels_first_with_names(samples):
    images, target, names = next(iter(training_loader(samples, iter([[0, 1, 2]]), workers=0)))
    assert images.shape == (3, 3, 32, 40)
    assert target.shape == (3, 32, 40)
    assert len(set(names)) == 3


def test_several_processes_share_pictures_without_rest():
    parts = [list(share(11, process, 4)) for process in range(4)]
    assert sorted(index for part in parts for index in part) == list(range(11))


def test_median_frequency_weighs_by_the_pictures_that_hold_the_class():
    # 100 pixels of class 0 in pictures of 200 pixels, 50 of class 1 in 100, 10 of class 2 in 100: 0.5, 0.5, 0.1.
    counts = ClassCounts(np.array([100, 50, 10, 0]), np.array([200, 100, 100, 0]))
    assert median_frequency(counts) == pytest.approx((1.0, 1.0, 5.0, 0.0))


def test_inverse_log_frequency_is_enets():
    counts = ClassCounts(np.array([75, 25]), np.array([100, 100]))
    common, rare = 1 / np.log(1.77), 1 / np.log(1.27)
    mean = (common + rare) / 2
    assert inverse_log_frequency(counts) == pytest.approx((common / mean, rare / mean))


def test_classes_are_counted_over_all_masks(samples):
    counts = count_classes(samples.data)
    targets = [samples.data.target(index) for index in range(15)]
    assert counts.pixels.sum() == sum(target.size for target in targets)
    assert counts.pixels[1] == sum(int((target == 1).sum()) for target in targets)
    assert counts.present[0] == counts.pixels.sum()
