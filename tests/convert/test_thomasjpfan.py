"""Checkpoints of thomasjpfan/pytorch_refinenet, which departs from RefineNet's paper in two places."""

import torch

from parity import load
from segue.convert import load_reference
from segue.models.refinenet import RCU, RefineNet

NAME = "refinenet_thomasjpfan_resnet101"


def test_scores_match_the_reference():
    fixture = load(NAME)
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"]).double()
    with torch.no_grad():
        fixture.check("logits", network.scores(fixture.image().double()).logits)


def test_a_checkpoint_is_recognised_with_what_it_departs_in():
    network = load_reference(load(NAME).weights())
    assert isinstance(network, RefineNet)
    assert [len(block.pool.convolutions) for block in network.cascade.blocks] == [3, 3, 3, 3]
    assert all(unit.rectified_shortcut for unit in network.modules() if isinstance(unit, RCU))


def test_one_score_per_pixel_becomes_two_classes():
    state = load(NAME).weights()
    images = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        all_scores = load_reference(state).scores(images).logits
        for name in ("output_conv.2.weight", "output_conv.2.bias"):
            state[name] = state[name][:1]
        network = load_reference(state)
        scores = network.scores(images).logits
    assert network.num_classes == 2
    assert not scores[:, 0].any()
    torch.testing.assert_close(scores[:, 1], all_scores[:, 0])
