import numpy as np
import pytest
import torch

from segue.labels import IGNORE
from segue.metrics import anomaly_counts, component_scores, detection, detection_curves, summarise_components
from segue.metrics.anomaly import lowest_of_bin, score_bins


def of(scores, labels):
    return detection(anomaly_counts(torch.as_tensor(scores, dtype=torch.float32), torch.as_tensor(labels)))


WORKED = [0.9, 0.8, 0.8, 0.3, 0.2, 0.1], [1, 1, 0, 0, 1, 0]


def test_the_worked_example():
    found = of(*WORKED)
    assert found.auroc.value == pytest.approx(6.5 / 9)
    assert found.ap.value == pytest.approx(1 / 3 + 2 / 9 + 1 / 5)
    assert found.fpr95.value == pytest.approx(2 / 3)
    assert (found.positives, found.negatives) == (3, 3)


def test_scores_turned_round_turn_the_area_round():
    assert of([-one for one in WORKED[0]], WORKED[1]).auroc.value == pytest.approx(1 - 6.5 / 9)


def test_anomalies_above_all_others_are_found_without_fault():
    found = of([3.0, 2.0, -1.0, -5.0], [1, 1, 0, 0])
    assert (found.auroc.value, found.ap.value, found.fpr95.value, found.best_f1) == (1, 1, 0, 1)


def exact(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    false_rate, recall, _ = roc_curve(labels, scores, drop_intermediate=False)
    at_95 = false_rate[np.argmax(recall >= 0.95)]
    return roc_auc_score(labels, scores), average_precision_score(labels, scores), at_95


CASES = {
    "apart": lambda rng, labels: rng.normal(size=len(labels)) + 2 * labels,
    "chance": lambda rng, labels: rng.normal(size=len(labels)),
    "far from zero": lambda rng, labels: 1000 + rng.normal(size=len(labels)) + labels,
    "negative": lambda rng, labels: -20 + rng.normal(size=len(labels)) + labels,
    "many ties": lambda rng, labels: rng.integers(0, 6, len(labels)) + labels,
    "huge and tiny": lambda rng, labels: np.exp(20 * rng.normal(size=len(labels))) * (1 + labels),
    "all equal": lambda rng, labels: np.ones(len(labels)),
    "infinite": lambda rng, labels: np.where(rng.random(len(labels)) < 0.1, np.inf, rng.normal(size=len(labels))),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("share", [0.002, 0.3])
def test_measures_equal_those_of_scikit_learn_within_their_bounds(case, share):
    rng = np.random.default_rng(3)
    labels = (rng.random(20_000) < share).astype(np.int64)
    scores = CASES[case](rng, labels).astype(np.float32)
    found = of(scores, labels)
    finite = np.nan_to_num(scores, posinf=1e30)  # scikit-learn takes no infinity
    for ours, theirs in zip((found.auroc, found.ap, found.fpr95), exact(finite, labels), strict=True):
        assert ours.low - 1e-9 <= theirs <= ours.high + 1e-9
        assert ours.low <= ours.value <= ours.high + 1e-12
    if case != "far from zero":  # where 11 bits are a coarse scale, and the bounds say so
        assert found.auroc.value == pytest.approx(exact(finite, labels)[0], abs=2e-4)
    # Scores as coarse as the bins are ranked exactly.
    coarse = np.array([lowest_of_bin(int(one)) for one in score_bins(torch.from_numpy(scores))[:3000]])
    if labels[:3000].any():
        ours = of(coarse, labels[:3000])
        expected = exact(np.nan_to_num(coarse, posinf=1e30), labels[:3000])
        assert [ours.auroc.value, ours.ap.value, ours.fpr95.value] == pytest.approx(expected)


def test_the_bounds_are_narrow_for_the_scores_that_networks_give():
    rng = np.random.default_rng(0)
    labels = (rng.random(200_000) < 0.01).astype(np.int64)
    for scores in (rng.gamma(2, 1, 200_000) * (1 + labels), -rng.normal(12, 3, 200_000) + 4 * labels):
        found = of(scores, labels)
        assert found.auroc.high - found.auroc.low < 2e-3
        assert found.ap.high - found.ap.low < 0.02


def test_bins_keep_the_order_of_all_numbers():
    numbers = torch.tensor([-torch.inf, -3e38, -1.0, -1e-30, -0.0, 0.0, 1e-30, 0.5, 0.75, 1.0, 3e38, torch.inf])
    bins = score_bins(numbers)
    assert (bins.diff() >= 0).all()
    assert bins[4] == bins[5]
    assert len(bins.unique()) == len(numbers) - 1
    assert all(lowest_of_bin(int(b)) <= float(n) for b, n in zip(bins, numbers, strict=True))
    assert lowest_of_bin(int(score_bins(torch.tensor([0.5])))) == 0.5


def test_ignored_pixels_may_have_any_score():
    target = torch.tensor([[1, 0, IGNORE, IGNORE]])
    one = anomaly_counts(torch.tensor([[2.0, 1.0, 9.0, -9.0]]), target)
    other = anomaly_counts(torch.tensor([[2.0, 1.0, torch.nan, 0.0]]), target)
    assert torch.equal(one, other)


def test_counts_of_parts_add_up():
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=1000), (rng.random(1000) < 0.2).astype(np.int64)
    both = sum(
        anomaly_counts(torch.tensor(scores[part]).float(), torch.tensor(labels[part]))
        for part in (slice(0, 300), slice(300, None))
    )
    assert detection(both) == of(scores, labels)


def test_an_increasing_map_of_the_scores_changes_nothing_beyond_the_bounds():
    rng = np.random.default_rng(2)
    labels = (rng.random(5000) < 0.1).astype(np.int64)
    scores = rng.normal(size=5000) + labels
    plain, mapped = of(scores, labels), of(np.exp(scores), labels)
    assert plain.auroc.low <= mapped.auroc.high
    assert mapped.auroc.low <= plain.auroc.high


def test_no_anomalies_or_nothing_else_is_undefined():
    for labels in ([0, 0], [1, 1], [IGNORE, IGNORE]):
        assert np.isnan(of([1.0, 2.0], labels).auroc.value)


def test_scores_and_targets_that_cannot_be_counted_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        of([torch.nan, 1.0], [0, 1])
    with pytest.raises(ValueError, match="target holds 7"):
        of([0.0, 1.0], [0, 7])


def test_the_best_threshold_is_that_of_the_best_f1():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(5)
    labels = (rng.random(2000) < 0.2).astype(np.int64)
    scores = (rng.normal(size=2000) + 1.5 * labels).astype(np.float32)
    found = of(scores, labels)
    assert found.best_f1 == pytest.approx(f1_score(labels, scores >= found.threshold))
    assert (
        found.best_f1
        >= max(f1_score(labels, scores >= t) for t in np.quantile(scores, np.linspace(0, 0.99, 60))) - 0.005
    )


def test_curves_begin_and_end_where_they_must():
    roc, precision = detection_curves(anomaly_counts(torch.tensor(WORKED[0]), torch.tensor(WORKED[1])))
    assert roc[0].tolist() == [0, 0]
    assert roc[-1].tolist() == [1, 1]
    assert precision[0].tolist() == pytest.approx([1 / 3, 1])
    assert precision[-1].tolist() == pytest.approx([1, 0.5])


def canvas(*boxes: tuple[int, int, int, int], value: int = 1) -> torch.Tensor:
    """(30, 40) with `value` in boxes of (top, left, bottom, right)."""
    picture = torch.zeros(30, 40, dtype=torch.int64)
    for top, left, bottom, right in boxes:
        picture[top:bottom, left:right] = value
    return picture


def scores_of(predicted: torch.Tensor, target: torch.Tensor):
    return component_scores(predicted.bool(), target, least_predicted=1, least_true=1)


def test_overlap_of_one_thing_is_its_iou():
    found = scores_of(canvas((2, 3, 8, 9)), canvas((2, 2, 8, 8)))
    assert found.siou == pytest.approx([30 / 42])
    assert found.ppv == pytest.approx([30 / 36])


def test_a_prediction_that_covers_two_things_is_not_punished_at_each_for_the_other():
    target = canvas((0, 0, 10, 10), (0, 12, 10, 22))
    found = scores_of(canvas((0, 0, 10, 22)), target)
    assert found.siou == pytest.approx([100 / 120] * 2)
    assert found.ppv == pytest.approx([200 / 220])


def test_fragments_of_one_thing_are_joined():
    found = scores_of(canvas((0, 0, 10, 4), (0, 6, 10, 10)), canvas((0, 0, 10, 10)))
    assert found.siou == pytest.approx([0.8])
    assert found.ppv == (1, 1)


def test_things_that_touch_at_a_corner_are_one():
    assert len(scores_of(canvas(), canvas((0, 0, 5, 5), (5, 5, 9, 9))).siou) == 1


def test_small_things_are_not_counted_and_ignored_pixels_not_predicted():
    target = canvas((0, 0, 10, 10), (20, 20, 22, 22))
    target[:, 30:] = IGNORE
    predicted = canvas((0, 0, 10, 10), (20, 20, 22, 22), (0, 30, 20, 40), (15, 0, 17, 2))
    found = component_scores(predicted.bool(), target, least_predicted=5, least_true=5)
    assert found.siou == (1,)
    assert found.ppv == (1,)


def test_f1_star_counts_hits_misses_and_false_alarms_at_each_level():
    one = scores_of(canvas((0, 0, 10, 5), (20, 20, 25, 25)), canvas((0, 0, 10, 10)))  # sIoU 0.5, PPV 1 and 0
    summary = summarise_components([one])
    assert summary.siou == pytest.approx(0.5)
    assert summary.ppv == pytest.approx(0.5)
    # Up to 0.50 (six levels) a hit and a false alarm, 2/3; above, a miss and a false alarm, 0.
    assert summary.f1 == pytest.approx(6 * (2 / 3) / 11)
    assert (summary.true, summary.predicted) == (1, 2)


@pytest.mark.parametrize("seed", range(5))
def test_overlaps_equal_those_of_an_obvious_program(seed):
    from scipy.ndimage import label

    rng = np.random.default_rng(seed)
    target, guess = (torch.from_numpy((rng.random((30, 40)) < 0.45).astype(np.int64)) for _ in range(2))
    found = scores_of(guess, target)
    true, count_true = label(target.numpy(), np.ones((3, 3)))
    ours, count_ours = label(guess.numpy(), np.ones((3, 3)))
    siou = []
    for one in range(1, count_true + 1):
        thing = true == one
        touching = np.isin(ours, [h for h in np.unique(ours[thing]) if h])
        elsewhere = touching & (true > 0) & ~thing
        siou.append((thing & touching).sum() / ((thing | touching) & ~elsewhere).sum())
    assert found.siou == pytest.approx(siou)
    assert found.ppv == pytest.approx([(true[ours == one] > 0).mean() for one in range(1, count_ours + 1)])
