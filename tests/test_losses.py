"""The losses of a segmentation map: values done by hand, reference numbers, and one matrix of what all must bear."""

from functools import partial
from math import log

import pytest
import torch

from parity import load
from segue.labels import IGNORE
from segue.losses import binary_focal, cross_entropy, dice, focal, lovasz_softmax, ohem, tversky

LOSSES = {
    "cross_entropy": cross_entropy,
    "weighted cross_entropy": partial(cross_entropy, weight=torch.tensor([1.0, 2.0, 0.5, 1.0])),
    "smoothed cross_entropy": partial(cross_entropy, smoothing=0.1),
    "ohem": partial(ohem, threshold=0.4, min_kept=20),
    "weighted ohem": partial(ohem, threshold=0.4, min_kept=20, weight=torch.tensor([1.0, 2.0, 0.5, 1.0])),
    "focal": focal,
    "weighted focal": partial(focal, weight=torch.tensor([1.0, 2.0, 0.5, 1.0])),
    "gentle focal": partial(focal, gamma=0.5),
    "dice": dice,
    "tversky": tversky,
    "lovasz_softmax": lovasz_softmax,
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def draw(classes=4, dtype=torch.float32):
    """Logits (2, 4, 6, 7) and labels in which the last class never occurs and a corner is ignored."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, 6, 7, generator=generator).to(dtype).requires_grad_()
    target = torch.randint(0, classes - 1, (2, 6, 7), generator=generator)
    target[:, :2, :3] = IGNORE
    return logits, target


def from_probabilities(*pixels):
    """Logits (1, K, 1, W) whose softmax is the given probabilities, a row of them per pixel."""
    return torch.tensor(pixels).log().T[None, :, None]


def row(*labels):
    return torch.tensor([[labels]])


@every_loss
def test_an_ignored_pixel_changes_nothing_and_gets_no_gradient(loss):
    logits, target = draw()
    value = loss(logits, target)
    value.backward()
    assert value > 0
    assert logits.grad.isfinite().all()
    ignored = (target == IGNORE)[:, None].expand_as(logits)
    assert (logits.grad[ignored] == 0).all()
    assert (logits.grad[~ignored] != 0).any()
    with torch.no_grad():
        assert loss(logits.masked_fill(ignored, 50.0), target) == value


@every_loss
def test_a_batch_of_ignored_pixels_costs_nothing(loss):
    logits, target = draw()
    value = loss(logits, torch.full_like(target, IGNORE))
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", [name for name in LOSSES if "smoothed" not in name])
def test_a_class_that_neither_occurs_nor_is_predicted_changes_nothing(name):
    logits, target = draw()
    without = logits.detach()[:, :3]
    absent = torch.full_like(without[:, :1], -200.0)  # its probability is zero in float32
    value = LOSSES[name](torch.cat([without, absent], dim=1), target)
    if "weighted" not in name:
        torch.testing.assert_close(value, LOSSES[name](without, target))
    assert value.isfinite()


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_counted_in_float32(loss, dtype):
    logits, target = draw(dtype=dtype)
    value = loss(logits, target)
    value.backward()
    assert value.dtype == torch.float32
    assert value == loss(logits.detach().float(), target)
    assert logits.grad.dtype == dtype
    assert logits.grad.isfinite().all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_large_logits_stay_finite(loss, dtype):
    logits, target = draw(dtype=dtype)
    logits = (logits.detach() * 4000).requires_grad_()  # near float16's largest
    value = loss(logits, target)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", [name for name in LOSSES if "smoothed" not in name])
def test_certainty_of_the_truth_costs_nothing(name):
    _, target = draw()
    truth = target.where(target != IGNORE, 0)
    logits = 200.0 * torch.nn.functional.one_hot(truth, 4).movedim(-1, 1).float()
    assert LOSSES[name](logits, target) == 0


@every_loss
def test_the_gradient_is_that_of_finite_differences(loss):
    logits, target = draw()
    loss(logits, target).backward()
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        slope = (loss(logits + 1e-3 * direction, target) - loss(logits - 1e-3 * direction, target)) / 2e-3
    torch.testing.assert_close((logits.grad * direction).sum(), slope, rtol=2e-2, atol=1e-3)


def test_cross_entropy_is_the_mean_of_minus_log_probability():
    logits = from_probabilities([1 / 2, 1 / 2], [1 / 4, 3 / 4], [1 / 8, 7 / 8])
    assert cross_entropy(logits, row(0, 0, IGNORE)).item() == pytest.approx((log(2) + log(4)) / 2)


def test_cross_entropy_weights_pixels_by_their_true_class_and_divides_by_the_weights():
    logits = from_probabilities([1 / 2, 1 / 2], [3 / 4, 1 / 4])
    value = cross_entropy(logits, row(0, 1), weight=torch.tensor([1.0, 3.0]))
    assert value.item() == pytest.approx((log(2) + 3 * log(4)) / 4)


def test_smoothing_spreads_a_share_of_the_target_over_all_classes():
    logits = from_probabilities([1 / 2, 1 / 4, 1 / 4])
    expected = 0.9 * log(2) + 0.1 * (log(2) + log(4) + log(4)) / 3
    assert cross_entropy(logits, row(0), smoothing=0.1).item() == pytest.approx(expected)


def test_ohem_keeps_the_hardest_pixels_and_those_as_hard():
    logits = from_probabilities([0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.3, 0.7])
    value = ohem(logits, row(0, 0, 0, 0), threshold=0.1, min_kept=1)  # the third, and the fourth that equals it
    assert value.item() == pytest.approx(-log(0.3))
    value = ohem(logits, row(0, 0, 0, 0), threshold=0.7, min_kept=1)  # all but the first are below 0.7
    assert value.item() == pytest.approx(-(log(0.6) + 2 * log(0.3)) / 3)


def test_ohem_that_has_to_keep_no_pixel_or_more_than_there_are_keeps_all():
    logits, target = draw()
    for min_kept in (0, target.numel()):
        assert torch.equal(ohem(logits, target, threshold=0.0, min_kept=min_kept), cross_entropy(logits, target))


def test_focal_scales_a_pixel_by_its_miss_to_the_power_of_gamma():
    logits = from_probabilities([1 / 2, 1 / 2], [1 / 4, 3 / 4])
    assert focal(logits, row(0, 1)).item() == pytest.approx((log(2) / 4 + log(4 / 3) / 16) / 2)
    assert focal(logits, row(0, 1), gamma=1.0).item() == pytest.approx((log(2) / 2 + log(4 / 3) / 4) / 2)


def test_focal_of_gamma_zero_is_cross_entropy():
    logits, target = draw()
    weight = torch.tensor([1.0, 2.0, 0.5, 1.0])
    torch.testing.assert_close(focal(logits, target, gamma=0.0), cross_entropy(logits, target))
    weighted = focal(logits, target, gamma=0.0, weight=weight)
    torch.testing.assert_close(weighted, cross_entropy(logits, target, weight=weight))


def test_dice_divides_twice_the_hits_by_prediction_and_truth():
    logits = from_probabilities([3 / 4, 1 / 4], [1 / 2, 1 / 2])
    # class 0: hits 3/4, predicted 5/4, true 1; class 1: hits 1/2, predicted 3/4, true 1
    expected = 1 - (2 * (3 / 4) / (9 / 4) + 2 * (1 / 2) / (7 / 4)) / 2
    assert dice(logits, row(0, 1)).item() == pytest.approx(expected)


def test_tversky_weighs_false_alarms_and_misses():
    logits = from_probabilities([3 / 4, 1 / 4], [1 / 2, 1 / 2])
    # class 0: hits 3/4, false alarms 1/2, misses 1/4; class 1: hits 1/2, false alarms 1/4, misses 1/2
    first = (3 / 4) / (3 / 4 + 0.3 * 1 / 2 + 0.7 * 1 / 4)
    second = (1 / 2) / (1 / 2 + 0.3 * 1 / 4 + 0.7 * 1 / 2)
    assert tversky(logits, row(0, 1)).item() == pytest.approx(1 - (first + second) / 2)


def test_a_class_that_the_truth_lacks_is_left_out_of_region_losses():
    logits = from_probabilities([1 / 2, 1 / 4, 1 / 4])
    assert dice(logits, row(0)).item() == pytest.approx(1 - 2 * (1 / 2) / (3 / 2))
    assert lovasz_softmax(logits, row(0)).item() == pytest.approx(1 / 2)


def test_lovasz_softmax_of_certain_predictions_is_one_minus_mean_iou():
    predicted = row(0, 1, 1, 1)
    logits = 100.0 * torch.nn.functional.one_hot(predicted, 2).movedim(-1, 1).float()
    # IoU of class 0: 1 of 2; of class 1: 2 of 3
    assert lovasz_softmax(logits, row(0, 0, 1, 1)).item() == pytest.approx(1 - (1 / 2 + 2 / 3) / 2)


def test_lovasz_softmax_adds_up_sorted_errors_by_what_each_adds_to_the_jaccard_loss():
    logits = from_probabilities([1 / 4, 3 / 4], [1 / 2, 1 / 2])
    # class 0 is true of the first pixel. Errors 3/4 (of the class: 1 - IoU goes from 0 to 1), then 1/2 (adds nothing).
    # class 1 is true of the second. Errors 3/4 (a false alarm: 1 - 1/2), then 1/2 (the other half).
    expected = (3 / 4 + (3 / 4 * 1 / 2 + 1 / 2 * 1 / 2)) / 2
    assert lovasz_softmax(logits, row(0, 1)).item() == pytest.approx(expected)


def test_lovasz_softmax_keeps_its_digits_among_millions_of_pixels():
    pixels = 2_000_000
    target = torch.zeros(1, 1, pixels, dtype=torch.int64)
    target[..., ::2] = 1
    wrong = torch.arange(pixels) % 4 == 0  # half of class 1, spread evenly; sure of it, as of all the rest
    predicted = target.where(~wrong, 1 - target)
    logits = 100.0 * torch.nn.functional.one_hot(predicted, 2).movedim(-1, 1).float()
    # class 0: 1 of 3/2 million is right; class 1: 1/2 of 1 million
    assert lovasz_softmax(logits, target).item() == pytest.approx(1 - (2 / 3 + 1 / 2) / 2, rel=1e-5)


def test_cross_entropy_matches_the_reference():
    fixture = load("losses_dense")
    logits, target = fixture.image(), fixture.target()
    fixture.check("cross_entropy", cross_entropy(logits, target), tolerance=1e-5)
    alone = [
        cross_entropy(logits[b : b + 1, :, y : y + 1, x : x + 1], target[b : b + 1, y : y + 1, x : x + 1])
        for b in range(2)
        for y in range(0, 48, 5)
        for x in range(0, 64, 5)
    ]
    expected, _, step = fixture.expected("cross_entropy_per_pixel")
    assert step == 5
    torch.testing.assert_close(torch.stack(alone).view(2, 10, 13), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("key", "threshold", "min_kept"),
    [
        ("ohem_thresh0.7_kept1000", 0.7, 1000),
        ("ohem_thresh0.1_kept2000", 0.1, 2000),
        ("ohem_thresh0.6_kept0", 0.6, 0),
        ("ohem_thresh0.6_kept_all", 0.6, 10**9),
        ("ohem_thresh0.05_kept256", 0.05, 256),
    ],
)
def test_ohem_matches_the_reference(key, threshold, min_kept):
    fixture = load("losses_dense")
    value = ohem(fixture.image(), fixture.target(), threshold=threshold, min_kept=min_kept)
    fixture.check(key, value, tolerance=1e-5)


@pytest.mark.parametrize(
    ("key", "alpha", "gamma"),
    [
        ("focal_a0.25_g2", 0.25, 2.0),
        ("focal_g2", None, 2.0),
        ("focal_g1", None, 1.0),
        ("focal_g0", None, 0.0),
        ("bce", None, 0.0),
    ],
)
def test_binary_focal_matches_the_reference(key, alpha, gamma):
    fixture = load("losses_border")
    labels = fixture.expected("border_label")[0]
    assert (labels == IGNORE).any()
    fixture.check(key, binary_focal(fixture.image()[:, 0], labels, alpha=alpha, gamma=gamma), tolerance=1e-5)


def test_binary_focal_by_hand():
    p = 0.8
    logit = torch.tensor([log(p / (1 - p))])
    assert binary_focal(logit, torch.tensor([1])).item() == pytest.approx(0.25 * (1 - p) ** 2 * -log(p))
    assert binary_focal(logit, torch.tensor([0])).item() == pytest.approx(0.75 * p**2 * -log(1 - p))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_binary_focal_leaves_out_ignored_pixels_and_bears_sure_ones(dtype):
    logits = torch.tensor([60.0, -60.0, 60.0, -60.0, 1.0], dtype=dtype, requires_grad=True)
    target = torch.tensor([1, 0, 0, 1, IGNORE])
    value = binary_focal(logits, target)
    assert value.item() == pytest.approx((0.75 * 60 + 0.25 * 60) / 4)
    value.backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[4] == 0
    nothing = binary_focal(logits, torch.full((5,), IGNORE))
    assert nothing.item() == 0
    assert (torch.autograd.grad(nothing, logits)[0] == 0).all()
