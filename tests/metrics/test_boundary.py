import pytest
import torch

from segue.labels import IGNORE
from segue.metrics import boundary_f


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
