"""Checkpoints of DrSleep/refinenet-pytorch: RefineNet with the authors' own weights."""

import pytest
import torch

from parity import load
from segue.convert import ConversionError, load_reference
from segue.models.refinenet import RefineNet

NAME = "refinenet_drsleep_resnet101"


def test_scores_and_every_block_match_the_port():
    fixture = load(NAME)
    # float64: the recorded numbers, made in float32, are 1.5e-4 from it behind the first block and 6e-5 after.
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"]).double()
    with torch.no_grad():
        images = fixture.image().double()
        fixture.check("logits", network.scores(images).logits)
        for key, maps in zip(("refine4", "refine3", "refine2", "refine1"), network.refined(images), strict=True):
            fixture.check(key, maps[:, ::4], tolerance=2e-4)


def test_a_checkpoint_is_recognised_and_imagenets_classifier_listed():
    state = load(NAME).weights() | {"fc.weight": torch.zeros(1000, 2048)}
    network = load_reference(state)
    assert isinstance(network, RefineNet)
    assert network.unused_tensors == ("fc.weight",)


def shallower(state, blocks):
    """The same checkpoint with fewer blocks per stage: a ResNet-50 within the ResNet-101."""

    def kept(name):
        stage, _, rest = name.removeprefix("layer").partition(".")
        return not name.startswith("layer") or int(rest.split(".")[0]) < blocks[int(stage) - 1]

    return {name: tensor for name, tensor in state.items() if kept(name)}


def test_depth_and_classes_are_read_from_the_tensors():
    state = shallower(load(NAME).weights(), (3, 4, 6, 3))
    state["clf_conv.weight"], state["clf_conv.bias"] = state["clf_conv.weight"][:4], state["clf_conv.bias"][:4]
    network = load_reference(state, "DrSleep/refinenet-pytorch")
    assert (network.backbone.name, network.num_classes) == ("resnet50", 4)
    with torch.inference_mode():
        assert network(torch.randn(1, 3, 65, 47)).logits.shape == (1, 4, 65, 47)


def test_a_tensor_without_a_place_is_named():
    state = load(NAME).weights() | {"mflow_conv_g1_b.0.4_conv.weight": torch.zeros(1)}
    with pytest.raises(ConversionError, match=r"1 tensors without a place: mflow_conv_g1_b\.0\.4_conv\.weight"):
        load_reference(state)


def test_light_weight_refinenet_under_the_same_names_is_refused():
    state = {
        name: tensor[..., :1, :1] if name.endswith("dimred.weight") else tensor
        for name, tensor in load(NAME).weights().items()
        if "_b.0." not in name
    }
    with pytest.raises(ConversionError, match="light-weight RefineNet's tensors"):
        load_reference(state)
