import json

import pytest
import torch

from segue.assessment.calibrating import calibrate
from segue.model import Card, load
from segue.prediction import Predictor, Preprocessing, as_batch
from segue.reading import read_image
from tests.assessment.untrained import LABELS, untrained


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("calibrated"))


def test_the_temperature_is_kept_with_the_model_and_probabilities_are_of_it(run):
    pixels = read_image(run.parent / "toy" / "val" / "images" / "000.png")
    before = load(run, "cpu")
    logits = before.predictor().logits(as_batch([pixels]))
    found = calibrate(run)
    after = load(run, "cpu")
    assert after.card.temperature == pytest.approx(found.temperature)
    assert json.loads((run / "model" / "card.json").read_text())["temperature"] == pytest.approx(found.temperature)
    torch.testing.assert_close(
        after.predictor().probabilities(as_batch([pixels])), (logits / found.temperature).softmax(dim=1)
    )
    assert torch.equal(after.predictor().labels(as_batch([pixels])), before.predictor().labels(as_batch([pixels])))
    assert found.loss[1] <= found.loss[0]


def test_fitting_again_finds_the_same_temperature(run):
    assert calibrate(run).temperature == calibrate(run).temperature


def test_a_choice_of_pixels_gives_nearly_what_all_of_them_give(run):
    assert calibrate(run, most=4000).temperature == pytest.approx(calibrate(run).temperature, rel=0.1)
    assert calibrate(run, most=4000).pixels == 4000


def test_a_temperature_that_is_none_is_refused(run):
    network = load(run, "cpu").network
    with pytest.raises(ValueError, match="temperature = 0"):
        Predictor(network, Preprocessing(), temperature=0)


def test_a_card_of_before_temperatures_has_one():
    content = Card("unet", {}, LABELS, Preprocessing(), temperature=2.0).to_dict()
    del content["temperature"]
    assert Card.from_dict(content).temperature == 1
