import numpy as np
import pytest

from segue.data.folder import open_folder
from segue.data.loading import TrainingSamples, share, training_loader
from segue.data.transforms import Augmentation
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


def test_a_batch_is_channels_first_with_names(samples):
    images, target, names = next(iter(training_loader(samples, iter([[0, 1, 2]]), workers=0)))
    assert images.shape == (3, 3, 32, 40)
    assert target.shape == (3, 32, 40)
    assert len(set(names)) == 3


def test_several_processes_share_pictures_without_rest():
    parts = [list(share(11, process, 4)) for process in range(4)]
    assert sorted(index for part in parts for index in part) == list(range(11))
