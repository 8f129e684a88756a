import numpy as np
import pytest
import torch

from segue.labels import IGNORE
from segue.metrics import accuracy, confusion, dice, iou, summarise

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
