import numpy as np
import pytest
import torch

from segue.metrics import confusion, iou, marginals, miou_difference, miou_interval, summarise
from segue.metrics.bootstrap import _drawings


def tables(seed: int, pictures: int = 30, classes: int = 4, wrong: float = 0.3) -> torch.Tensor:
    """(N, K, K) tables of pictures whose pixels are wrong with chances of about `wrong`."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, classes, (pictures, 12, 12), generator=torch.Generator().manual_seed(99))
    chance = wrong * (0.5 + torch.rand(pictures, 1, 1, generator=generator))
    other = torch.randint(0, classes, target.shape, generator=generator)
    predicted = torch.where(torch.rand(target.shape, generator=generator) < chance, other, target)
    return torch.stack([confusion(g[None], t[None], classes) for g, t in zip(predicted, target, strict=True)])


def counts(of: torch.Tensor) -> torch.Tensor:
    return torch.stack([marginals(table) for table in of])


def test_the_value_is_the_mean_iou_of_all_pictures_together():
    some = tables(0)
    assert miou_interval(counts(some)).value == pytest.approx(summarise(some.sum(dim=0)).miou)


def test_the_interval_equals_that_of_an_obvious_program():
    some = tables(1, pictures=9)
    interval = miou_interval(counts(some), rounds=60, seed=5)
    weights = torch.cat(list(_drawings(9, 60, 5)))
    assert weights.sum(dim=1).tolist() == [9] * 60
    values = [float(iou((w[:, None, None] * some).sum(dim=0)).nanmean()) for w in weights]
    assert [interval.low, interval.high] == pytest.approx(np.quantile(values, [0.025, 0.975]).tolist())


def test_intervals_hold_the_value_and_shrink_with_more_pictures():
    few, many = (miou_interval(counts(tables(2, pictures=n))) for n in (10, 160))
    assert few.low < few.value < few.high
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_the_same_seed_draws_the_same_pictures():
    some = counts(tables(3))
    assert miou_interval(some) == miou_interval(some)
    assert miou_interval(some, seed=1) != miou_interval(some)


def test_classes_that_a_drawing_lacks_are_left_out_of_its_mean():
    some = counts(torch.tensor([[[9, 0, 0], [0, 4, 0], [0, 0, 0]], [[9, 0, 0], [0, 0, 0], [0, 0, 5]]]))
    assert miou_interval(some, rounds=50) == pytest.approx(miou_interval(some, rounds=50))
    assert miou_interval(some, rounds=50).low == 1


def test_a_network_is_not_different_from_itself():
    some = counts(tables(4))
    difference = miou_difference(some, some)
    assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)


def test_a_small_but_steady_difference_is_told_from_chance_only_by_pairs():
    worse = tables(5, pictures=40, wrong=0.4)
    better = worse.clone()
    better[:, 0, 0] += better[:, 0, 1] // 2  # in each picture, half of one kind of error is mended
    better[:, 0, 1] -= worse[:, 0, 1] // 2
    difference = miou_difference(counts(worse), counts(better))
    assert difference.low > 0
    assert difference.p < 0.01
    ours, theirs = miou_interval(counts(worse)), miou_interval(counts(better))
    assert ours.high > theirs.low  # the intervals of the two overlap all the same


def test_differences_turn_round_with_the_networks():
    first, second = counts(tables(6)), counts(tables(7))
    there, back = miou_difference(first, second), miou_difference(second, first)
    assert there.value == pytest.approx(-back.value)
    assert there.p == pytest.approx(back.p)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_other_pictures_cannot_be_compared_and_one_tells_nothing():
    with pytest.raises(ValueError, match="must be of the same pictures"):
        miou_difference(counts(tables(0, pictures=3)), counts(tables(0, pictures=4)))
    assert np.isnan(miou_interval(counts(tables(0, pictures=1))).low)
    one = counts(tables(0, pictures=1))
    assert np.isnan(miou_difference(one, one).p)
