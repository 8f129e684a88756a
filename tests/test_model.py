import json

import numpy as np
import pytest
import torch
from PIL import Image

import segue
from segue.labels import Labels
from segue.model import Card, Model, ModelError, as_pixels
from segue.models import create
from segue.prediction import Preprocessing

LABELS = Labels(classes=("ground", "box", "disc"), values={10: 0, 20: 1, 30: 2, 0: 255})
OPTIONS = {"channels": (4, 8), "in_channels": 3}


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return Model(create("unet", 3, **OPTIONS), Card("unet", OPTIONS, LABELS, Preprocessing(shrink=0.5)))


def test_a_saved_model_predicts_the_same(model, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    model.save(tmp_path)
    again = segue.load(tmp_path)
    before, after = model.predict(pixels), again.predict(pixels)
    assert np.array_equal(before.labels, after.labels)
    assert np.array_equal(before.probabilities, after.probabilities)
    assert json.dumps(again.card.to_dict()) == json.dumps(model.card.to_dict())


def test_a_prediction_has_labels_probabilities_and_pictures(model):
    prediction = model.predict(np.zeros((20, 30, 3), dtype=np.uint8))
    assert prediction.labels.shape == (20, 30)
    assert prediction.probabilities.shape == (3, 20, 30)
    assert prediction.probabilities.sum(axis=0) == pytest.approx(np.ones((20, 30)), abs=1e-5)
    assert prediction.overlay().size == (30, 20)
    assert set(np.unique(np.asarray(prediction.mask()))) <= {10, 20, 30}


def test_every_form_of_a_picture_gives_the_same(model, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    forms = [tmp_path / "one.png", str(tmp_path / "one.png"), Image.fromarray(pixels), pixels]
    forms.append(torch.from_numpy(pixels).permute(2, 0, 1))
    assert all(np.array_equal(as_pixels(form), pixels) for form in forms)


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), dtype=np.uint8), np.zeros((4, 4, 3))])
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises(ValueError, match="height, width and channels are needed"):
        as_pixels(wrong)


def test_a_picture_of_other_channels_than_the_networks_is_refused(model):
    with pytest.raises(ValueError, match="a picture of 4 channels, where the network takes 3"):
        model.predict(np.zeros((16, 24, 4), dtype=np.uint8))


def test_pretrained_options_are_not_part_of_a_card(model):
    card = Card("unet", {**OPTIONS, "pretrained": True, "weights": "x"}, LABELS, Preprocessing())
    assert "pretrained" not in card.to_dict()["options"]
    assert "weights" not in card.to_dict()["options"]


def test_a_card_of_a_later_format_is_refused(model, tmp_path):
    model.save(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(card | {"format": 2}))
    with pytest.raises(ModelError, match="update segue"):
        segue.load(tmp_path)


def test_an_empty_folder_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="holds no model"):
        segue.load(tmp_path)


def test_weights_that_run_code_are_never_read(model, tmp_path):
    model.save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match="cannot be read"):
        segue.load(tmp_path)


def test_a_model_is_saved_and_loaded_as_the_hub_does(model, tmp_path):
    model.save_pretrained(tmp_path / "hub")
    again = Model.from_pretrained(str(tmp_path / "hub"))
    assert again.labels.classes == LABELS.classes


@pytest.mark.parametrize("device", ["gpu9", "cuda:77"])
def test_a_device_that_is_not_there_is_named(model, device, tmp_path):
    model.save(tmp_path)
    with pytest.raises(ValueError, match=f"device '{device}': is not there; this machine has cpu"):
        segue.load(tmp_path, device)


def test_windows_scales_and_mirror_are_words_of_predict(model):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    plain = model.predict(pixels)
    one_window = model.predict(pixels, window=(64, 64), blend="uniform")
    assert np.array_equal(one_window.probabilities, plain.probabilities)
    for words in ({"window": 16}, {"window": (16, 24), "overlap": 0.0}, {"scales": [0.5, 1.5]}, {"mirror": True}):
        found = model.predict(pixels, **words)
        assert found.probabilities.sum(axis=0) == pytest.approx(np.ones((40, 30)), abs=1e-5)
        assert not np.array_equal(found.probabilities, plain.probabilities)
    with pytest.raises(ValueError, match="window 0"):
        model.predict(pixels, window=0)
