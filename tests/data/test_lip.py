import numpy as np

from segue.data import open_split
from tests.data.miniatures import lip, raw_mask

PAIRS = {("Left-arm", "Right-arm"), ("Left-leg", "Right-leg"), ("Left-shoe", "Right-shoe")}


def test_a_mirrored_person_has_left_and_right_exchanged(tmp_path):
    lip(tmp_path)
    data = open_split("lip", str(tmp_path), "train")
    labels = data.labels
    swapped = {(labels.classes[one], labels.classes[other]) for one, other in enumerate(labels.mirror) if one < other}
    assert swapped == PAIRS
    mirrored = labels.mirrored(data.target(0))
    assert np.array_equal(mirrored, raw_mask((0, 15, 14, 18))[:, ::-1])
