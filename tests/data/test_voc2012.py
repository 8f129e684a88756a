import builtins

import numpy as np
import pytest

from segue.data import open_split
from segue.errors import DataError
from tests.data.miniatures import VOC_VALUES, lines, raw_mask, save, sbd_mask, voc2012


def test_masks_of_both_kinds_are_read_and_those_of_voc_go_first(tmp_path):
    voc2012(tmp_path)
    data = open_split("voc2012", str(tmp_path), "trainaug")
    masks = {data.name(index): data.target(index) for index in range(len(data))}
    assert np.array_equal(masks["2007_000032"], raw_mask(VOC_VALUES))  # SBD has one of it as well, without a border
    assert np.array_equal(masks["2008_000002"], raw_mask((0, 1, 20)))


def test_no_validation_picture_is_in_trainaug(tmp_path):
    voc2012(tmp_path)
    trained, validated = (open_split("voc2012", str(tmp_path), split) for split in ("trainaug", "val"))
    names = [{data.name(index) for index in range(len(data))} for data in (trained, validated)]
    assert names[1] == {"2007_000033"}  # which SBD's training list names
    assert not names[0] & names[1]


def test_trainaug_as_others_convert_it_is_read(tmp_path):
    voc2012(tmp_path)
    (tmp_path / "benchmark_RELEASE").rename(tmp_path / "elsewhere")
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    with pytest.raises(DataError, match=r"trainaug\.txt"):
        open_split("voc2012", str(tmp_path), "trainaug")
    lines(voc / "ImageSets" / "Segmentation" / "trainaug.txt", "2007_000039", "2008_000003")
    save(voc / "SegmentationClassAug" / "2007_000039.png", raw_mask((0,)))
    save(voc / "SegmentationClassAug" / "2008_000003.png", raw_mask((0, 20)))
    data = open_split("voc2012", str(tmp_path), "trainaug")
    assert [data.name(index) for index in range(len(data))] == ["2007_000039", "2008_000003"]
    assert np.array_equal(data.target(0), raw_mask(VOC_VALUES))
    assert np.array_equal(data.target(1), raw_mask((0, 20)))


def test_a_mat_file_of_something_else_is_told_of(tmp_path):
    voc2012(tmp_path)
    path = tmp_path / "benchmark_RELEASE" / "dataset" / "cls" / "2008_000002.mat"
    data = open_split("voc2012", str(tmp_path), "trainaug")
    from scipy.io import savemat

    savemat(path, {"GTinst": {"Segmentation": raw_mask((0,))}})
    with pytest.raises(DataError, match=r"2008_000002\.mat: holds no GTcls\.Segmentation"):
        data.target(2)
    path.write_bytes(b"half a file")
    with pytest.raises(DataError, match=r"2008_000002\.mat: cannot be decoded"):
        data.target(2)
    sbd_mask(path, raw_mask((0, 21)))
    with pytest.raises(DataError, match=r"2008_000002\.mat: pixel \(0, 1\) has label 21"):
        data.target(2)


def test_without_scipy_the_command_that_installs_it_is_said(tmp_path, monkeypatch):
    voc2012(tmp_path)
    data = open_split("voc2012", str(tmp_path), "trainaug")
    really = builtins.__import__

    def without_scipy(name: str, *arguments: object, **options: object) -> object:
        if name.startswith("scipy"):
            raise ImportError(name)
        return really(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(DataError, match=r"2008_000002\.mat: .* needs scipy: pip install 'segue\[mat\]'"):
        data.target(2)
    assert data.target(0).shape == (11, 13)  # a PNG needs none
