from pathlib import Path

import numpy as np
import pytest

from segue.data import open_split
from segue.errors import DataError
from segue.labels import IGNORE
from tests.data.miniatures import HEIGHT, WIDTH, picture, raw_mask, save, save_mat, sun_rgbd

FRAMES = ("kv1/NYUdata/NYU0001", "kv2/kinect2data/000065_2014", "xtion/sun3ddata/mit_32_d463/0001")
AUTHORS = "/n/fs/sun3d/data/SUNRGBD/"


def original(root: Path) -> None:
    """The authors' two archives: pictures in folders, masks in one HDF5 file, in the order of a MATLAB structure."""
    import h5py

    for frame in FRAMES:
        picture(root / "SUNRGBD" / frame / "image" / "rgb.jpg")
    toolbox = root / "SUNRGBDtoolbox"
    meta = np.zeros((1, len(FRAMES)), dtype=[("rgbpath", object), ("rgbname", object)])
    for number, frame in enumerate(FRAMES):
        meta[0, number] = (f"{AUTHORS}{frame}/image/rgb.jpg", "rgb.jpg")
    save_mat(toolbox / "Metadata" / "SUNRGBDMeta.mat", {"SUNRGBDMeta": meta})
    training, testing = np.empty((1, 2), dtype=object), np.empty((1, 1), dtype=object)
    training[0, 0], training[0, 1], testing[0, 0] = (AUTHORS + frame for frame in (FRAMES[1], FRAMES[2], FRAMES[0]))
    save_mat(toolbox / "traintestSUNRGBD" / "allsplit.mat", {"alltrain": training, "alltest": testing})
    with h5py.File(toolbox / "Metadata" / "SUNRGBD2Dseg.mat", "w", userblock_size=512) as file:
        references = file.create_dataset("SUNRGBD2Dseg/seglabel", (len(FRAMES), 1), dtype=h5py.ref_dtype)
        for number in range(len(FRAMES)):
            file[f"#refs#/{number}"] = raw_mask((number + 1, 37, 0)).T
            references[number, 0] = file[f"#refs#/{number}"].ref


def test_the_authors_own_files_are_read(tmp_path):
    original(tmp_path)
    train, test = (open_split("sun_rgbd", str(tmp_path), split) for split in ("train", "test"))
    assert [train.name(index) for index in range(len(train))] == list(FRAMES[1:])
    assert [test.name(index) for index in range(len(test))] == [FRAMES[0]]
    assert train.image(0).shape == (HEIGHT, WIDTH, 3)
    for data, index, first in ((train, 0, 1), (train, 1, 2), (test, 0, 0)):
        assert np.array_equal(data.target(index), raw_mask((first, 36, IGNORE)))


def test_training_pictures_may_have_the_numbers_of_their_masks(tmp_path):
    sun_rgbd(tmp_path)
    images = tmp_path / "SUNRGBD-train_images"
    save(tmp_path / "sunrgbd_train_test_labels" / "img-005051.png", raw_mask((2,)))
    own = open_split("sun_rgbd", str(tmp_path), "train")
    for number in (5285, 1):
        (images / f"img-{number:06d}.jpg").rename(images / f"img-{number + 5050:06d}.jpg")
    same = open_split("sun_rgbd", str(tmp_path), "train")
    assert [own.name(0), same.name(0)] == ["000001", "005051"]
    for data in (own, same):
        assert np.array_equal(data.target(0), raw_mask((1,)))


def test_a_training_picture_too_few_is_told_of(tmp_path):
    sun_rgbd(tmp_path)
    (tmp_path / "SUNRGBD-train_images" / "img-005285.jpg").unlink()
    with pytest.raises(DataError, match=r"labels/img-010335\.png: has no picture SUNRGBD-train_images/img-005285\.jpg"):
        open_split("sun_rgbd", str(tmp_path), "train")
