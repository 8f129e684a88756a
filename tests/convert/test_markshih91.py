"""Checkpoints of the RefineNet that a tutorial walks through: classes by sigmoids, and depth."""

import pytest
import torch

from parity import load
from segue.convert import load_reference
from segue.models.refinenet import DepthRefineNet

BOTH = pytest.mark.parametrize(
    ("name", "conv_first"),
    [("refinenet_markshih91_resnet101", False), ("refinenet_markshih91_improved_resnet50", True)],
)


@BOTH
def test_classes_depth_blocks_and_loss_match_the_reference(name, conv_first):
    fixture = load(name)
    # float64: the recorded numbers, made in float32, are 1.5e-4 from it behind the first block and 8e-5 after.
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"]).double()
    images = fixture.image().double()
    with torch.no_grad():
        output = network(images)
        terms = network.loss_with_depth(output, fixture.target(), images.mean(dim=1, keepdim=True))
        fixture.check("seg", output.probabilities)
        fixture.check("depth", output.depth)
        fixture.check("loss", sum(terms.values()), tolerance=5e-5)
        for key, maps in zip(("refine4", "refine3", "refine2", "refine1"), network.refined(images), strict=True):
            fixture.check(key, maps[:, ::4], tolerance=2e-4)


@BOTH
def test_the_order_of_pooling_shows_in_the_tensors(name, conv_first):
    network = load_reference(load(name).weights())
    assert isinstance(network, DepthRefineNet)
    assert {block.pool.conv_first for block in network.cascade.blocks} == {conv_first}


def test_any_size_and_any_number_of_classes_will_do():
    state = load("refinenet_markshih91_improved_resnet50").weights()
    for leaf in ("weight", "bias"):
        state[f"segBranch.2.{leaf}"] = state[f"segBranch.2.{leaf}"][:3]
    network = load_reference(state, "markshih91/refinenet_pytorch")
    with torch.inference_mode():
        output = network(torch.randn(1, 3, 50, 71))
    assert (output.logits.shape, output.depth.shape) == ((1, 3, 50, 71), (1, 1, 50, 71))
