import math

import pytest
import torch

from segue.labels import IGNORE
from segue.metrics import (
    calibration_counts,
    calibration_error,
    fit_temperature,
    largest_gap,
    proper_scores,
    reliability,
)
from segue.metrics.calibration import UNIT


def two_classes(confidences: list[float]) -> torch.Tensor:
    """(2, 1, N) probabilities whose higher one is the first class's."""
    sure = torch.tensor(confidences)
    return torch.stack([sure, 1 - sure])[:, None]


def random_case(seed: int = 0, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    probabilities = (3 * torch.randn(classes, 20, 30, generator=generator)).softmax(dim=0)
    target = torch.randint(0, classes, (20, 30), generator=generator)
    target[torch.rand(20, 30, generator=generator) < 0.1] = IGNORE
    return probabilities, target


def test_the_worked_example():
    probabilities = two_classes([0.95, 0.85, 0.75, 0.65])
    counts = calibration_counts(probabilities, torch.tensor([[0, 0, 1, 0]]))
    assert calibration_error(counts.sum(dim=1)).item() == pytest.approx((0.05 + 0.15 + 0.75 + 0.35) / 4)
    assert largest_gap(counts.sum(dim=1)).item() == pytest.approx(0.75)


def test_a_bins_upper_end_belongs_to_it_and_its_lower_end_to_the_one_below():
    counts = calibration_counts(two_classes([0.75, 0.7500001, 1.0]), torch.zeros(1, 3, dtype=torch.int64), bins=4)
    assert counts[0, 0].tolist() == [0, 0, 1, 2]


def test_the_error_equals_that_of_an_obvious_program_and_of_torchmetrics():
    from torchmetrics.functional.classification import multiclass_calibration_error

    probabilities, target = random_case()
    counts = calibration_counts(probabilities, target)
    sure, guess = probabilities.max(dim=0)
    kept = target != IGNORE
    expected = 0.0
    for place in range(15):
        inside = kept & (sure > place / 15) & (sure <= (place + 1) / 15)
        if inside.any():
            right = (guess == target)[inside].double().mean()
            expected += float((right - sure[inside].double().mean()).abs() * inside.sum() / kept.sum())
    assert calibration_error(counts.sum(dim=1)).item() == pytest.approx(expected)
    theirs = multiclass_calibration_error(probabilities.movedim(0, -1)[kept], target[kept], 5, n_bins=15)
    assert calibration_error(counts.sum(dim=1)).item() == pytest.approx(float(theirs), abs=1e-5)


def test_a_perfect_prediction_errs_by_its_lack_of_confidence():
    probabilities, _ = random_case()
    counts = calibration_counts(probabilities, probabilities.argmax(dim=0))
    expected = 1 - probabilities.amax(dim=0).double().mean()
    assert calibration_error(counts.sum(dim=1)).item() == pytest.approx(float(expected))


def test_reliability_of_each_class_is_of_the_pixels_called_so():
    counts = calibration_counts(two_classes([0.9, 0.9, 0.1]), torch.tensor([[0, 1, 0]]), bins=2)
    accuracy, confidence = reliability(counts)
    assert accuracy[:, 1].tolist() == [0.5, 0.0]
    assert confidence[:, 1].tolist() == pytest.approx([0.9, 0.9])
    assert accuracy[:, 0].isnan().all()


def test_counts_of_parts_add_up_to_those_of_the_whole_to_the_last_bit():
    probabilities, target = random_case()
    rows = [(slice(0, 3)), (slice(3, 20))]
    parts = sum(calibration_counts(probabilities[:, some], target[some]) for some in rows)
    assert torch.equal(parts, calibration_counts(probabilities, target))


def test_ignored_pixels_may_have_any_probabilities():
    probabilities, target = random_case()
    changed = probabilities.clone()
    changed[:, target == IGNORE] = torch.tensor([1.0, 0, 0, 0, 0])[:, None]
    assert torch.equal(calibration_counts(probabilities, target), calibration_counts(changed, target))
    assert torch.equal(proper_scores(probabilities, target), proper_scores(changed, target))


def test_nothing_counted_has_no_error():
    counts = calibration_counts(two_classes([0.9]), torch.tensor([[IGNORE]])).sum(dim=1)
    assert calibration_error(counts).isnan()
    assert largest_gap(counts).isnan()


def test_likelihood_and_brier_score_equal_their_definitions():
    probabilities, target = random_case()
    pixels, loss, brier = proper_scores(probabilities, target).tolist()
    kept = target != IGNORE
    true = target[kept]
    expected = torch.nn.functional.nll_loss(probabilities.log()[:, kept].T, true, reduction="sum")
    assert pixels == int(kept.sum())
    assert loss / UNIT == pytest.approx(float(expected), rel=1e-5)
    hot = torch.nn.functional.one_hot(true, 5)
    assert brier / UNIT == pytest.approx(float((probabilities[:, kept].T - hot).square().sum()), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_spoiled_probabilities_is_found_again(temperature):
    generator = torch.Generator().manual_seed(1)
    honest = 2 * torch.randn(40_000, 4, generator=generator)
    target = torch.multinomial(honest.softmax(dim=1), 1, generator=generator)[:, 0]
    assert fit_temperature(honest * temperature, target) == pytest.approx(temperature, rel=0.03)


def test_the_temperature_is_where_the_likelihood_is_best():
    generator = torch.Generator().manual_seed(2)
    logits, target = torch.randn(500, 3, generator=generator), torch.randint(0, 3, (500,), generator=generator)
    best = fit_temperature(logits + 3 * torch.nn.functional.one_hot(target, 3), target)

    def loss(temperature: float) -> float:
        shifted = logits + 3 * torch.nn.functional.one_hot(target, 3)
        return float(torch.nn.functional.cross_entropy(shifted / temperature, target))

    assert loss(best) <= min(loss(best * 0.98), loss(best * 1.02))


def test_temperatures_stay_within_bounds_and_need_pixels():
    certain = torch.tensor([[5.0, 0.0]])
    assert fit_temperature(certain, torch.tensor([0])) == pytest.approx(0.01)
    assert fit_temperature(certain, torch.tensor([1])) == pytest.approx(100)
    with pytest.raises(ValueError, match="no pixel is counted"):
        fit_temperature(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    assert math.isfinite(fit_temperature(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)))
