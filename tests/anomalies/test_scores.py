import math

import pytest
import torch

from segue.anomalies import (
    FROM_TRAINING,
    LOGIT_SCORES,
    SCORES,
    FeatureMoments,
    LogitMoments,
    Passes,
    Scorer,
    distance_to_rows,
)
from segue.labels import IGNORE
from segue.models import create
from segue.prediction import Predictor, Preprocessing

LOGITS = torch.tensor([2.0, 1.0, -1.0])


def pixel(values: torch.Tensor) -> torch.Tensor:
    """(K,) -> (1, K, 1, 1)."""
    return values[None, :, None, None]


def test_scores_of_one_pixel_are_those_of_their_formulas():
    p = [math.exp(one) for one in LOGITS.tolist()]
    p = [one / sum(p) for one in p]
    expected = {
        "max_softmax": -math.log(max(p)),
        "max_logit": -2.0,
        "entropy": -sum(one * math.log(one) for one in p) / math.log(3),
        "energy": -math.log(sum(math.exp(one) for one in LOGITS.tolist())),
    }
    for name, score in LOGIT_SCORES.items():
        assert score(LOGITS, 0).item() == pytest.approx(expected[name], abs=1e-6), name
        assert score(pixel(LOGITS), 1).shape == (1, 1, 1)


@pytest.mark.parametrize("name", LOGIT_SCORES)
def test_every_score_is_larger_where_no_class_answers(name):
    sure, unsure = torch.tensor([9.0, 0.0, 0.0]), torch.tensor([0.1, 0.0, 0.0])
    assert LOGIT_SCORES[name](unsure, 0) > LOGIT_SCORES[name](sure, 0)


def test_max_softmax_keeps_an_order_where_the_probability_is_one():
    high, higher = torch.tensor([30.0, 0.0]), torch.tensor([60.0, 0.0])
    assert high.softmax(0).max() == higher.softmax(0).max() == 1
    one, other = torch.tensor([14.0, 0.0]), torch.tensor([12.0, 0.0])
    assert LOGIT_SCORES["max_softmax"](one, 0) < LOGIT_SCORES["max_softmax"](other, 0)


def test_an_offset_of_all_logits_matters_to_max_logit_and_energy_alone():
    moved = {name for name, score in LOGIT_SCORES.items() if abs(score(LOGITS + 3, 0) - score(LOGITS, 0)) > 1e-4}
    assert moved == {"max_logit", "energy"}


def test_passes_that_agree_share_no_information_and_those_that_do_not_share_log_2():
    agree, differ = Passes(), Passes()
    for sign in (1, -1):
        agree.add(pixel(LOGITS))
        differ.add(pixel(torch.tensor([40.0 * sign, 0.0])))
    assert agree.mutual_information().item() == pytest.approx(0, abs=1e-6)
    assert differ.mutual_information().item() == pytest.approx(math.log(2), abs=1e-5)
    assert differ.predictive_entropy().item() == pytest.approx(math.log(2), abs=1e-5)


def test_the_highest_logit_is_standardised_by_the_moments_of_its_predicted_class():
    moments = LogitMoments(2)
    training = torch.zeros(1, 2, 2, 2)
    training[0, 0] = torch.tensor([[2.0, 4.0], [-1.0, -1.0]])
    training[0, 1, 1] = torch.tensor([5.0, 5.0])
    for part in training.split(1, dim=2):  # in parts as at once
        moments.add(part)
    asked = torch.tensor([6.0, 0.0])
    assert moments.score(pixel(asked)).item() == pytest.approx(-(6 - 3) / 1)
    never = LogitMoments(3)
    never.add(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2))
    assert never.score(pixel(torch.tensor([0.0, 0.0, 1.0]))).isfinite().all()


def test_the_mahalanobis_distance_equals_that_of_its_definition():
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 2, (4, 9, 9), generator=generator)
    target[0, 0] = IGNORE
    features = torch.randn(4, 3, 9, 9, generator=generator, dtype=torch.float64)
    features = torch.einsum("ij,bjhw->bihw", mix, features)
    features[:, 0] += 5 * (target == 1)
    moments = FeatureMoments(2)
    for index in range(4):
        moments.add(features[index : index + 1].float(), target[index : index + 1])
    flat, classes = features.movedim(1, -1).reshape(-1, 3), target.reshape(-1)
    means = torch.stack([flat[classes == label].mean(dim=0) for label in range(2)])
    kept = classes != IGNORE
    within = flat[kept] - means[classes[kept]]
    covariance = within.T @ within / kept.sum()
    covariance += 1e-3 * covariance.diagonal().mean() * torch.eye(3)
    offsets = flat[:, None] - means
    expected = torch.einsum("nki,ij,nkj->nk", offsets, covariance.inverse(), offsets).amin(dim=1).view(4, 9, 9)
    torch.testing.assert_close(moments.score(features.float(), (9, 9)).double(), expected, rtol=1e-3, atol=1e-3)


def test_the_distance_to_rows_is_to_the_nearest_one_that_has_been_seen():
    rows = torch.tensor([[1.0, 0.0], [0.0, 3.0], [0.0, 0.0]])
    found = distance_to_rows(pixel(torch.tensor([0.1, 0.1])), rows, (1, 1))
    assert found.item() == pytest.approx(0.81 + 0.01)
    with pytest.raises(ValueError, match="not seen any class"):
        distance_to_rows(pixel(torch.tensor([0.1, 0.1])), torch.zeros(2, 2), (1, 1))


IMAGES = torch.randint(0, 256, (2, 3, 40, 36), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def predictor(name: str = "unet", **options) -> Predictor:
    torch.manual_seed(0)
    return Predictor(create(name, 3, **options).eval(), Preprocessing(), precision="float32")


def test_all_scores_come_at_the_pictures_size_with_the_networks_own_classes():
    names = (*LOGIT_SCORES, *FROM_TRAINING)
    ready = predictor(channels=[4, 8])
    scorer = Scorer(ready, names, IMAGES)
    scorer.learn([(IMAGES, torch.randint(0, 3, (2, 40, 36)))])
    predicted, scores = scorer.scores(IMAGES)
    assert torch.equal(predicted, ready.labels(IMAGES))
    assert list(scores) == list(names)
    for name, score in scores.items():
        assert score.shape == (2, 40, 36), name
        assert score.isfinite().all(), name


def test_dropout_gives_the_same_passes_twice_and_is_off_afterwards():
    ready = predictor("deeplabv3", backbone="resnet18", width=0.25, channels=16, dropout=0.5)
    before = ready.logits(IMAGES)
    scorer = Scorer(ready, ["dropout", "dropout_entropy"], IMAGES, passes=3)
    state = torch.get_rng_state()
    first, second = (scorer.scores(IMAGES)[1]["dropout"] for _ in range(2))
    assert torch.equal(first, second)
    assert (first > 0).any()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(ready.logits(IMAGES), before)


def test_the_dropout_of_a_picture_does_not_depend_on_what_is_beside_it():
    ready = predictor("deeplabv3", backbone="resnet18", width=0.25, channels=16, dropout=0.5)
    scorer = Scorer(ready, ["dropout"], IMAGES, passes=2)
    together = scorer.scores(IMAGES)[1]["dropout"]
    torch.testing.assert_close(scorer.scores(IMAGES[1:])[1]["dropout"], together[1:])


def test_scores_that_a_network_cannot_give_are_refused():
    for name, words in (("dropout", "no dropout"), ("memory", "no memory"), ("maxlogit", "there are max_softmax")):
        with pytest.raises(ValueError, match=words):
            Scorer(predictor(channels=[4, 8]), [name], IMAGES)
    assert len(SCORES) == len(set(SCORES))


def test_a_network_with_a_memory_is_compared_with_its_rows():
    ready = predictor("mcibi", backbone="resnet18", width=0.25, channels=16, transform_channels=8)
    with torch.no_grad():
        ready.network.memory.rows.normal_(generator=torch.Generator().manual_seed(1))
    score = Scorer(ready, ["memory"], IMAGES).scores(IMAGES)[1]["memory"]
    assert score.shape == (2, 40, 36)
    assert (score > 0).all()
