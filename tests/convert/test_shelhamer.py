import pytest
import torch

import parity
from segue.convert import load_reference
from segue.models.fcn import FCN8s, FCN8sAtOnce, FCN32s
from tests.convert.test_wkentaro import definition, narrow_state


def test_alexnets_numbers_are_the_authors():
    fixture = parity.load("fcn32s_alexnet")
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"])
    with torch.inference_mode():
        output = network(fixture.image())
        pool5 = network.backbone.body(fixture.image())[-1]
    fixture.check("logits", output.logits, 1e-5)
    fixture.check("score_fr", output.score_fr, 1e-5)
    fixture.check("pool5", pool5[:, :16], 1e-5)


@pytest.mark.parametrize("kind", ["32s", "8s", "8s at once"])
def test_the_nets_on_vgg16_convert_too(kind):
    folder = {"32s": "pascalcontext-fcn32s", "8s": "voc-fcn8s", "8s at once": "voc-fcn8s-atonce"}[kind]
    state = narrow_state(kind)
    network = load_reference(state, f"shelhamer/fcn.berkeleyvision.org {folder}/val.prototxt")
    assert type(network) is {"32s": FCN32s, "8s": FCN8s, "8s at once": FCN8sAtOnce}[kind]
    images = torch.randn(1, 2, 33, 50)
    with torch.no_grad():
        torch.testing.assert_close(network(images).logits, definition(state, images, kind), rtol=1e-4, atol=1e-5)


def test_the_scales_of_the_skips_tell_at_once_from_plain():
    state = narrow_state("8s")
    scaled = state | {"scale_pool4.weight": torch.full((10,), 0.02), "scale_pool3.weight": torch.full((8,), 0.0001)}
    network = load_reference(scaled, "shelhamer/fcn.berkeleyvision.org")
    assert type(network) is FCN8sAtOnce
    doubled = state | {"score_pool4.weight": 2 * state["score_pool4.weight"]}
    images = torch.randn(1, 2, 33, 50)
    with torch.no_grad():
        expected = definition(doubled, images, "8s at once")
        torch.testing.assert_close(network(images).logits, expected, rtol=1e-4, atol=1e-5)


def test_a_net_with_depth_has_four_channels():
    state = narrow_state("32s", in_channels=4)
    for leaf in ("weight", "bias"):
        state[f"conv1_1_bgrd.{leaf}"] = state.pop(f"conv1_1.{leaf}")
    network = load_reference(state, "shelhamer/fcn.berkeleyvision.org nyud-fcn32s-color-d/test.prototxt")
    assert network.in_channels == 4
