import numpy as np
import pytest
import torch

from segue.labels import IGNORE
from segue.metrics import accuracy, boundary_f, confusion, dice, iou, summarise

WORKED = torch.tensor([[3, 1, 0], [1, 2, 0], [0, 0, 0]])  # class 2 never occurs


def test_iou_divides_hits_by_hits_misses_and_false_alarms():
    target = torch.tensor([[[0, 0, 1, IGNORE]]])
    predicted = torch.tensor([[[0, 1, 1, 1]]])
    table = confusion(predicted, target, num_classes=2)
    assert table.tolist() == [[1, 1], [0, 1]]
    assert iou(table).tolist() == [1 / 2, 1 / 2]


def test_the_worked_example():
    summary = summarise(WORKED)
    assert summary.pixel_accuracy == pytest.approx(5 / 7)
    assert summary.mean_accuracy == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert summary.miou == pytest.approx(0.55)
    assert summary.fwiou == pytest.approx((4 * 0.6 + 3 * 0.5) / 7)
    assert dice(WORKED)[:2].tolist() == pytest.approx([0.75, 2 / 3])
    assert summary.classes == 2
    assert summary.absent == (2,)


def test_a_class_that_is_only_predicted_counts_as_zero():
    table = torch.tensor([[2, 1], [0, 0]])
    assert iou(table).tolist() == [2 / 3, 0]
    assert accuracy(table)[1].isnan()
    assert summarise(table).classes == 2


def test_dice_is_a_function_of_iou_class_by_class():
    table = torch.randint(0, 50, (6, 6))
    overlap = iou(table)
    torch.testing.assert_close(dice(table), 2 * overlap / (1 + overlap))


def test_adding_tables_of_two_halves_is_the_table_of_the_whole():
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 5, (4, 9, 11), generator=generator)
    predicted = torch.randint(0, 5, (4, 9, 11), generator=generator)
    halves = confusion(predicted[:1], target[:1], 5) + confusion(predicted[1:], target[1:], 5)
    assert torch.equal(halves, confusion(predicted, target, 5))


def test_what_is_predicted_on_ignored_pixels_does_not_matter():
    target = torch.tensor([[[0, 1, IGNORE, IGNORE]]])
    one = confusion(torch.tensor([[[0, 1, 0, 1]]]), target, 2)
    other = confusion(torch.tensor([[[0, 1, 1, 1]]]), target, 2)
    assert torch.equal(one, other)


def test_nothing_counted_gives_undefined_measures_and_no_error():
    table = confusion(torch.zeros(1, 2, 2, dtype=torch.int64), torch.full((1, 2, 2), IGNORE), 3)
    assert table.sum() == 0
    assert np.isnan(summarise(table).miou)


@pytest.mark.parametrize("num_classes", [2, 19, 127, 128, 150, 254])
@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.int64])
def test_counts_equal_those_of_scikit_learn(num_classes, kind):
    from sklearn.metrics import confusion_matrix

    generator = torch.Generator().manual_seed(num_classes)
    target = torch.randint(0, num_classes, (2, 40, 50), generator=generator)
    predicted = torch.randint(0, num_classes, (2, 40, 50), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.1] = IGNORE
    kept = target != IGNORE
    expected = confusion_matrix(target[kept], predicted[kept], labels=range(num_classes))
    assert confusion(predicted.to(kind), target.to(kind), num_classes).tolist() == expected.tolist()


def test_measures_equal_those_of_torchmetrics():
    from torchmetrics.classification import MulticlassJaccardIndex

    generator = torch.Generator().manual_seed(1)
    target = torch.randint(0, 6, (3, 20, 30), generator=generator)
    predicted = torch.randint(0, 6, (3, 20, 30), generator=generator)
    target[0, :3] = IGNORE
    expected = MulticlassJaccardIndex(6, ignore_index=IGNORE)(predicted, target)
    assert summarise(confusion(predicted, target, 6)).miou == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("predicted", "target", "message"),
    [
        ([[[0, 3]]], [[[0, 1]]], "a prediction holds 3"),
        ([[[0, -1]]], [[[0, 1]]], "a prediction holds -1"),
        ([[[0, 1]]], [[[0, 7]]], "a target holds 7"),
        ([[[0, 1]]], [[[0, -1]]], "a target holds -1"),
        ([[[0, 1]]], [[[0, 300]]], "a target holds 300"),
    ],
)
def test_values_outside_the_classes_are_errors(predicted, target, message):
    with pytest.raises(ValueError, match=message):
        confusion(torch.tensor(predicted), torch.tensor(target), 2)


def test_different_sizes_are_an_error():
    with pytest.raises(ValueError, match="must be alike"):
        confusion(torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 2, 3, dtype=torch.int64), 2)


def halves(width: int, border: int) -> torch.Tensor:
    """One picture (1, 4, width): class 0 left of column `border`, class 1 from there."""
    return (torch.arange(width) >= border).long().expand(1, 4, width)


def test_boundaries_within_the_tolerance_agree():
    # The boundary lies in the column before the border: 5 in one, 7 in the other.
    assert boundary_f(halves(12, 8), halves(12, 6), 2, tolerance=2).tolist() == [[1, 1]]
    assert boundary_f(halves(12, 8), halves(12, 6), 2, tolerance=1.9).tolist() == [[0, 0]]


def test_a_boundary_is_one_pixel_thick_and_precision_and_recall_are_shares_of_it():
    target = torch.zeros(1, 6, 6, dtype=torch.int64)
    target[0, 2, 2] = 1  # its boundary: the pixel, and those up, left, and up left of it
    predicted = target.clone()
    predicted[0, 5, 5] = 1  # three more at the picture's corner: (5, 4), (4, 5), (4, 4) and the pixel's own none
    scores = boundary_f(predicted, target, 2, tolerance=0)
    precision = 4 / 7
    assert scores[0].tolist() == pytest.approx([2 * precision / (precision + 1)] * 2)


def test_the_tolerance_is_a_disc_and_by_default_a_share_of_the_diagonal():
    target, predicted = (torch.zeros(1, 20, 20, dtype=torch.int64) for _ in range(2))
    target[0, 19, 19], predicted[0, 16, 15] = 1, 1  # boundaries (18..19, 18..19) less the corner, and (15..16, 14..15)
    assert boundary_f(predicted, target, 2, tolerance=2.9)[0, 1] == 0  # nearest: (16, 15) and (18, 18), 3.6 apart
    assert boundary_f(predicted, target, 2, tolerance=3.7)[0, 1] > 0
    wide = [torch.zeros(1, 480, 640, dtype=torch.int64) for _ in range(2)]
    wide[0][..., 300:], wide[1][..., 306:] = 1, 1  # 6 pixels apart, of a diagonal of 800
    assert boundary_f(*wide, 2).tolist() == [[1, 1]]
    assert boundary_f(wide[0], wide[1].roll(1, -1), 2)[0, 1] < 1


def test_a_class_with_a_boundary_in_one_only_scores_zero_and_in_neither_nothing():
    scores = boundary_f(halves(12, 6), torch.zeros(1, 4, 12, dtype=torch.int64), 3)
    assert scores[0, :2].tolist() == [0, 0]
    assert scores[0, 2].isnan()


def test_borders_to_ignored_pixels_are_no_boundaries():
    target = halves(12, 6).clone()
    target[..., 5:7] = IGNORE
    assert boundary_f(halves(12, 6), target, 2).isnan().all()
    assert boundary_f(halves(12, 2), target, 2, tolerance=1).tolist() == [[0, 0]]
