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
