"""Checkpoints of the DFN that a tutorial prints: as many channels as classes everywhere."""

import pytest
import torch

from parity import load
from segue.convert import ConversionError, load_reference
from segue.models.dfn import NarrowDFN


def test_both_maps_match_the_reference():
    fixture = load("dfn_seed_resnet101")
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"]).double()
    with torch.no_grad():
        scores = network.scores(fixture.image().double())
    fixture.check("smooth", scores.logits)
    fixture.check("border", scores.border)


def test_logits_are_the_enlarged_map():
    fixture = load("dfn_seed_resnet101")
    network = load_reference(fixture.weights())
    assert isinstance(network, NarrowDFN)
    images = fixture.image()
    with torch.inference_mode():
        scores, output = network.scores(images), network(images)
    expected = torch.nn.functional.interpolate(scores.logits, size=images.shape[-2:], mode="bilinear")
    torch.testing.assert_close(output.logits, expected)
    assert output.border.shape == output.logits.shape


def test_the_resnet_under_its_second_name_is_listed_as_unused():
    state = load("dfn_seed_resnet101").weights()
    again = {
        "resnet_features.layer1.0.conv1.weight": torch.zeros(64, 128, 1, 1),
        "resnet_features.fc.bias": torch.ones(1),
    }
    assert load_reference(state | again).unused_tensors == tuple(again)


def test_a_tensor_that_is_absent_is_named():
    state = load("dfn_seed_resnet101").weights()
    del state["rrb_u_2.conv3.bias"]
    with pytest.raises(ConversionError, match=r"1 places without a tensor: smooth\.after\.1\.residual\.3\.bias"):
        load_reference(state)
