import math

import numpy as np
import pytest
import torch

from segue.labels import IGNORE
from segue.metrics import boundary_f, boundary_iou_counts, iou_of, segnet_boundary_f, trimap_counts
from segue.metrics.boundary import squared_distance
from segue.metrics.matching import matched


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


def blobs(seed: int, height: int = 24, width: int = 30, classes: int = 4, ignored: float = 0.05) -> torch.Tensor:
    """(H, W) uint8: coarse patches of classes, with some ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, classes, (1, 1, height // 5, width // 5), generator=generator).float()
    picture = torch.nn.functional.interpolate(coarse, (height, width))[0, 0].to(torch.uint8)
    picture[torch.rand(height, width, generator=generator) < ignored] = IGNORE
    return picture


def guesses(seed: int, **shape) -> torch.Tensor:
    """`blobs` without ignored pixels, as a prediction is."""
    return blobs(seed, ignored=0, **shape)


def boundary_pixels(inside: np.ndarray, counted: np.ndarray) -> list[tuple[int, int]]:
    """Pixel by pixel, as the definition says it."""
    height, width = inside.shape
    found = []
    for row, column in np.ndindex(height, width):
        for down, right in ((0, 1), (1, 0), (1, 1)):
            there = row + down, column + right
            known = there[0] < height and there[1] < width and counted[row, column] and counted[there]
            if known and inside[row, column] != inside[there]:
                found.append((row, column))
                break
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_boundary_f_measure_equals_that_of_an_obvious_program(seed):
    target, predicted, tolerance = blobs(seed), guesses(seed + 10), 2.3
    scores = boundary_f(predicted[None], target[None], 5, tolerance)[0]
    counted = target.numpy() != IGNORE
    for label in range(5):
        ours = boundary_pixels(predicted.numpy() == label, counted)
        true = boundary_pixels(target.numpy() == label, counted)
        if not ours and not true:
            assert scores[label].isnan()
            continue
        precision, recall = (
            np.mean([any(math.dist(one, other) <= tolerance for other in others) for one in some]) if some else 0
            for some, others in ((ours, true), (true, ours))
        )
        expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
        assert scores[label].item() == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_segnets_boundary_f_measure_equals_a_matching_by_an_obvious_program(seed):
    target, predicted, tolerance = blobs(seed, ignored=0.01), guesses(seed + 10), 2.3
    scores = segnet_boundary_f(predicted[None], target[None], 5, tolerance)[0]
    everywhere = np.ones(target.shape, dtype=bool)  # a void is nothing special to SegNet's program
    for label in range(5):
        ours = boundary_pixels(predicted.numpy() == label, everywhere)
        true = boundary_pixels(target.numpy() == label, everywhere)
        if not ours and not true:
            assert scores[label].isnan()
            continue
        pairs = largest_matching([[math.dist(one, other) <= tolerance for other in true] for one in ours], len(true))
        assert scores[label].item() == pytest.approx(2 * pairs / (len(ours) + len(true)))


def largest_matching(allowed: list[list[bool]], others: int) -> int:
    """The most pairs, by one alternating path after another."""
    mates = [-1] * others

    def placed(one: int, seen: set[int]) -> bool:
        for other in range(others):
            if allowed[one][other] and other not in seen:
                seen.add(other)
                if mates[other] < 0 or placed(mates[other], seen):
                    mates[other] = one
                    return True
        return False

    return sum(placed(one, set()) for one in range(len(allowed)))


@pytest.mark.parametrize("radius", [0, 1, 2.9, 4.5])
def test_matchings_are_as_large_as_those_of_scipy(radius):
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    generator = torch.Generator().manual_seed(round(radius * 10))
    ours, theirs = (torch.rand(3, 40, 50, generator=generator) < share for share in (0.08, 0.06))
    expected = []
    for one, other in zip(ours, theirs, strict=True):
        near = torch.cdist(one.nonzero().double(), other.nonzero().double()) <= radius
        expected.append(int((maximum_bipartite_matching(csr_matrix(near.numpy())) >= 0).sum()))
    assert matched(ours, theirs, radius).tolist() == expected


def test_one_to_one_matching_lets_no_two_pixels_agree_with_the_same_one():
    predicted = torch.zeros(1, 40, 40, dtype=torch.int64)
    predicted[0, 10:30, 10:30] = 1
    target = predicted.clone()
    predicted[0, 12:28:2] = 0  # stripes: many more boundary pixels, all of them near the true ones
    assert segnet_boundary_f(predicted, target, 2, 3)[0, 1] < boundary_f(predicted, target, 2, 3)[0, 1]


def test_boundary_iou_of_the_worked_example():
    target, predicted = (torch.zeros(10, 10, dtype=torch.int64) for _ in range(2))
    target[2:8, 2:8] = 1
    predicted[2:8, 3:9] = 1
    common, true, guessed = boundary_iou_counts(predicted, target, 2, width=1)[:, 1].tolist()
    assert (common, true, guessed) == (10, 20, 20)
    assert iou_of(*boundary_iou_counts(predicted, target, 2, width=1))[1].item() == pytest.approx(1 / 3)
    assert iou_of(*boundary_iou_counts(predicted, target, 2, width=10))[1].item() == pytest.approx(30 / 42)


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("ignored", [0, 0.03])
def test_boundary_iou_equals_that_of_an_obvious_program(width, ignored):
    target, predicted = blobs(width, ignored=ignored), guesses(width + 10)
    counts = boundary_iou_counts(predicted, target, 5, width)
    counted = target.numpy() != IGNORE
    for label in range(5):
        bands = []
        for picture in (target.numpy(), predicted.numpy()):
            inside = (picture == label) & counted
            band = np.zeros_like(inside)
            for row, column in np.argwhere(inside):
                for other in np.ndindex(2 * width + 1, 2 * width + 1):
                    place = row + other[0] - width, column + other[1] - width
                    beyond = not (0 <= place[0] < 24 and 0 <= place[1] < 30)
                    band[row, column] |= beyond or (counted[place] and not inside[place])
            bands.append(band)
        assert counts[:, label].tolist() == [(bands[0] & bands[1]).sum(), bands[0].sum(), bands[1].sum()]


@pytest.mark.parametrize("seed", range(3))
def test_the_trimaps_counts_equal_those_of_an_obvious_program(seed):
    target, predicted, widths = blobs(seed), guesses(seed + 10), (1, 2, 5)
    counts = trimap_counts(predicted, target, 5, widths)
    true, guess = target.numpy(), predicted.numpy()
    counted = true != IGNORE
    beside = [
        (row, column)
        for row, column in np.argwhere(counted).tolist()
        for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0))
        if 0 <= row + down < 24
        and 0 <= column + right < 30
        and counted[row + down, column + right]
        and true[row + down, column + right] != true[row, column]
    ]
    for place, width in enumerate(widths):
        band = np.zeros_like(counted)
        for row, column in np.argwhere(counted).tolist():
            band[row, column] = any(math.dist((row, column), other) < width for other in beside)
        for label in range(5):
            ours, theirs = band & (guess == label), band & (true == label)
            assert counts[place, :, label].tolist() == [(ours & theirs).sum(), theirs.sum(), ours.sum()]


def test_distances_are_exact_up_to_the_most_that_is_asked_for():
    from scipy.ndimage import distance_transform_edt

    generator = torch.Generator().manual_seed(3)
    maps = torch.rand(2, 33, 21, generator=generator) < 0.02
    for most in (0, 3.7, 200):
        squared = squared_distance(maps, most)
        expected = (
            torch.stack([torch.from_numpy(distance_transform_edt(~one.numpy())) for one in maps]).square().round()
        )
        near = expected <= most**2
        assert torch.equal(squared <= most**2, near)
        assert torch.equal(squared[near].long(), expected[near].long())


def test_the_order_of_classes_does_not_matter_to_boundaries():
    target, predicted = blobs(5), guesses(6)
    order = torch.tensor([2, 0, 3, 1, *range(4, 256)], dtype=torch.uint8)
    for measure in (
        lambda guess, true: boundary_f(guess[None], true[None], 4)[0],
        lambda guess, true: segnet_boundary_f(guess[None], true[None], 4)[0],
        lambda guess, true: boundary_iou_counts(guess, true, 4).movedim(1, 0),
        lambda guess, true: trimap_counts(guess, true, 4).movedim(2, 0),
    ):
        plain, turned = measure(predicted, target), measure(order[predicted.long()], order[target.long()])
        assert torch.equal(plain, turned[order[:4].long()])
