import numpy as np
import pytest

from segue.data import open_split
from segue.data.pascal_context import CONTEXT59, CONTEXT60, NAMED, TABLE
from segue.labels import IGNORE
from tests.data.miniatures import lines, picture, raw_mask, save_mat


def original(root):
    """VOC 2010 as it is, and the authors' own archive beside it."""
    voc = root / "VOCdevkit" / "VOC2010"
    for split, name in (("train", "2008_000002"), ("val", "2008_000007")):
        lines(voc / "ImageSets" / "Main" / f"{split}.txt", name)
        picture(voc / "JPEGImages" / f"{name}.jpg")
        save_mat(root / "trainval" / f"{name}.mat", {"LabelMap": raw_mask((2, 9, 458, 1, 459), np.uint16)})


@pytest.mark.parametrize(("name", "expected"), [("59", (0, 1, 58, IGNORE, IGNORE)), ("60", (1, 2, 59, 0, 0))])
def test_the_459_ids_of_the_authors_become_classes(tmp_path, name, expected):
    original(tmp_path)
    data = open_split(f"pascal_context{name}", str(tmp_path), "train")
    assert np.array_equal(data.target(0), raw_mask(expected))
    assert data.labels.write(data.target(0))[0, :5].tolist() == [1, 2, 59, 0, 0]


def test_background_is_all_that_the_two_differ_in():
    assert CONTEXT60.labels.classes == ("background", *CONTEXT59.labels.classes)
    assert CONTEXT60.labels.palette[1:] == CONTEXT59.labels.palette
    assert len(set(NAMED)) == 60
    assert [raw for raw, value in enumerate(TABLE) if value] == sorted(NAMED)[1:]
