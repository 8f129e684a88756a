import numpy as np
import pytest
import torch

from segue.evaluation import PictureScore, evaluate, same_size, worst_first
from segue.labels import IGNORE, Labels


class Threshold:
    """Predicts class 1 where the picture's first channel is bright."""

    def labels(self, images: torch.Tensor) -> torch.Tensor:
        return (images[:, 0] > 100).long()


def picture(height: int, width: int, wrong: int, name: str):
    """Half of the pixels bright and of class 1; the first `wrong` pixels of the truth are turned round."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, width // 2 :] = 200
    target = (pixels[..., 0] > 100).astype(np.uint8)
    target.reshape(-1)[:wrong] ^= 1
    return pixels, target, name


PICTURES = [picture(4, 6, 0, "a"), picture(3, 8, 6, "b"), picture(4, 6, 12, "c"), picture(3, 8, 0, "d")]


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_every_picture_is_counted_once_at_its_own_size(batch):
    evaluation = evaluate(Threshold(), PICTURES, 2, batch=batch)
    assert int(evaluation.table.sum()) == 4 * 24
    assert int(evaluation.table.diagonal().sum()) == 4 * 24 - 18
    assert sorted(one.name for one in evaluation.pictures) == ["a", "b", "c", "d"]
    assert evaluation.summary().pixel_accuracy == pytest.approx(78 / 96)


def test_a_pictures_score_does_not_depend_on_its_batch():
    one, other = (evaluate(Threshold(), PICTURES, 2, batch=batch) for batch in (1, 8))
    assert sorted(map(str, one.pictures)) == sorted(map(str, other.pictures))


def test_the_worst_pictures_come_first():
    evaluation = evaluate(Threshold(), PICTURES, 2)
    assert [one.name for one in worst_first(evaluation.pictures)][:2] == ["c", "b"]


def test_a_picture_without_counted_pixels_has_no_score():
    pixels, target, name = picture(4, 6, 0, "void")
    evaluation = evaluate(Threshold(), [(pixels, np.full_like(target, IGNORE), name)], 2)
    assert np.isnan(evaluation.pictures[0].miou)
    assert worst_first([*evaluation.pictures, PictureScore("x", 0.5, 0.5)])[0].name == "x"


def test_groups_hold_one_size_and_no_more_than_a_batch():
    groups = list(same_size(PICTURES * 3, 4))
    assert sum(len(group) for group in groups) == 12
    assert all(len({pixels.shape for pixels, _, _ in group}) == 1 and len(group) <= 4 for group in groups)


def test_pictures_of_many_sizes_do_not_pile_up():
    waiting = [picture(2, 2 + 2 * index, 0, str(index)) for index in range(40)]
    taken = 0

    def count():
        nonlocal taken
        for one in waiting:
            taken += 1
            yield one

    first = next(same_size(count(), 8))
    assert len(first) == 1
    assert taken < 12


def test_rows_name_each_class():
    evaluation = evaluate(Threshold(), PICTURES, 2)
    rows = evaluation.class_rows(Labels(classes=("dark", "bright")))
    assert [row["class"] for row in rows] == ["dark", "bright"]
    assert rows[0]["pixels"] + rows[1]["pixels"] == 96
