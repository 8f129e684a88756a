import math

import pytest
import torch

from segue.metrics import agreement, connected_components, membrane_agreement, thinned

TRUTH = torch.tensor([[1, 1, 1, 1, 0, 2, 2, 2, 2]])


def test_cells_that_run_together():
    found = agreement(torch.ones_like(TRUTH), TRUTH)
    assert (found.rand_merge, found.rand_split) == (0.5, 1)
    assert found.rand == pytest.approx(2 / 3)
    assert (found.info, found.info_merge) == (0, 0)


def test_border_pixels_are_segments_of_their_own():
    found = agreement(torch.tensor([[1, 1, 1, 0, 0, 2, 2, 2, 2]]), TRUTH)
    assert (found.rand_merge, found.rand_split) == (1, 0.8125)
    assert found.rand == pytest.approx(0.8966, abs=5e-5)
    assert found.info_merge == pytest.approx(1)
    assert found.info_split == pytest.approx(math.log(2) / 0.9743, abs=5e-5)
    assert found.info == pytest.approx(0.8314, abs=5e-5)


def test_measures_equal_those_of_scikit_learn_where_the_prediction_has_no_border():
    from sklearn.metrics import normalized_mutual_info_score
    from sklearn.metrics.cluster import pair_confusion_matrix

    generator = torch.Generator().manual_seed(0)
    truth, guess = (torch.randint(1, 5, (12, 15), generator=generator) for _ in range(2))
    found = agreement(guess, truth)
    assert found.info == pytest.approx(normalized_mutual_info_score(truth.flatten(), guess.flatten()))
    (_, _), (_, both) = pair_confusion_matrix(truth.flatten(), guess.flatten())
    n = truth.numel()
    # V-rand counts each pixel as a pair with itself as well.
    ours, theirs = ((one.flatten().bincount() ** 2).sum().item() for one in (truth, guess))
    assert found.rand == pytest.approx((both + n) / ((ours + theirs) / 2))


def test_perfect_cells_score_one_and_a_truth_without_cells_nothing():
    assert agreement(TRUTH, TRUTH).rand == agreement(TRUTH, TRUTH).info == 1
    one = torch.ones(3, 3, dtype=torch.int64)
    assert agreement(one, one).info == 1  # no information on either side: nothing to get wrong
    halves = torch.tensor([[1, 2]])
    assert agreement(halves, torch.ones_like(halves)).info == 0
    assert math.isnan(agreement(one, torch.zeros_like(one)).rand)


def test_thinning_grows_cells_by_distance_and_leaves_a_border_where_fronts_meet():
    row = torch.tensor([[1, 0, 0, 0, 1, 0, 0, 1]]).bool()
    assert thinned(row).tolist() == [[1, 1, 0, 2, 2, 2, 3, 3]]


def test_how_wide_a_membrane_is_drawn_does_not_matter():
    truth = torch.ones(21, 31, dtype=torch.bool)
    truth[10], truth[:, 15] = False, False
    wide = torch.ones(21, 31)
    wide[8:13], wide[:, 13:18] = 0.2, 0.2
    assert membrane_agreement(wide, truth).rand == 1
    plain = [connected_components(one, diagonal=False) for one in (wide > 0.5, truth)]
    assert agreement(*plain).rand < 0.9


def test_a_gap_in_a_membrane_merges_two_cells():
    truth = torch.ones(20, 31, dtype=torch.bool)
    truth[:, 15] = False
    leaky = truth.float()
    leaky[7, 15] = 1
    found = membrane_agreement(leaky, truth)
    assert found.rand_merge == pytest.approx(0.5, abs=0.02)
    assert found.rand_split == 1


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.6, 0.95])
def test_components_equal_those_of_scipy(diagonal, share):
    from scipy.ndimage import label

    generator = torch.Generator().manual_seed(round(100 * share))
    mask = torch.rand(60, 83, generator=generator) < share
    corner = int(diagonal)
    expected, _ = label(mask.numpy(), structure=[[corner, 1, corner], [1, 1, 1], [corner, 1, corner]])
    assert torch.equal(connected_components(mask, diagonal=diagonal), torch.from_numpy(expected).long())


def test_a_spiral_is_one_component_and_an_empty_mask_none():
    spiral = torch.zeros(41, 41, dtype=torch.bool)
    row, column, turn, length = 20, 20, 0, 2
    while 0 <= row < 41 and 0 <= column < 41:
        for _ in range(length):
            if 0 <= row < 41 and 0 <= column < 41:
                spiral[row, column] = True
            row, column = row + (0, 1, 0, -1)[turn], column + (1, 0, -1, 0)[turn]
        turn, length = (turn + 1) % 4, length + 1
    assert connected_components(spiral, diagonal=False).max() == 1
    assert connected_components(torch.zeros(3, 4, dtype=torch.bool), diagonal=True).max() == 0
