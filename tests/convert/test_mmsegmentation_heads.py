"""mmsegmentation's heads that make FCN, PSPNet, UPerNet and OCRNet: number by number, and what they refuse."""

import pytest
import torch

from parity import load
from segue.convert import ConversionError, load_reference


def load_fixture(name, args=None):
    fixture = load(name)
    return fixture, load_reference(fixture.weights(), fixture.spec["source"], args or fixture.spec["args"])


def whole(fixture, *heads, **auxiliary):
    """The fixture's short arguments as a configuration with every part named."""
    args = fixture.spec["args"]
    return {
        "backbone": {
            "type": "ResNetV1c",
            "depth": args["depth"],
            "strides": args["strides"],
            "dilations": args["dilations"],
            "contract_dilation": True,
        },
        "decode_head": [*heads, args["head"]] if heads else args["head"],
        "auxiliary_head": {"type": "FCNHead", "loss_decode": {"loss_weight": 0.4}, **auxiliary},
    }


@pytest.mark.parametrize("name", ["fcn", "pspnet", "upernet", "ocrnet"])
def test_the_whole_network_matches_mmsegmentation(name):
    fixture, network = load_fixture(f"{name}_mmseg_resnet50")
    with torch.no_grad():
        scores = network.scores(fixture.image())
    fixture.check("logits", scores[0])
    fixture.check("aux_logits", scores[1])


@pytest.mark.parametrize("name", ["fcn", "pspnet", "upernet", "ocrnet"])
def test_a_whole_configuration_says_the_same(name):
    heads = [{"type": "FCNHead", "loss_decode": {"loss_weight": 0.3}}] if name == "ocrnet" else []
    fixture = load(f"{name}_mmseg_resnet50")
    network = load_reference(fixture.weights(), args=whole(fixture, *heads))  # recognised by its tensors
    assert network.auxiliary_weight == (0.3 if heads else 0.4)
    with torch.no_grad():
        fixture.check("logits", network.scores(fixture.image()).logits)


def test_the_backbone_of_upernet_is_not_dilated_unless_told():
    fixture = load("upernet_mmseg_resnet50")
    network = load_reference(fixture.weights(), fixture.spec["source"])
    assert network.backbone.strides == (2, 4, 8, 16, 32)


def test_an_fcn_head_is_read_from_its_tensors():
    fixture = load("fcn_mmseg_resnet50")
    state = fixture.weights()
    for name in [name for name in state if name.startswith(("decode_head.conv_cat", "decode_head.convs.1."))]:
        del state[name]
    network = load_reference(state, fixture.spec["source"], fixture.spec["args"])
    assert network.head.join is None
    assert len(network.head.convolutions) == 1


def test_the_grids_of_the_pyramid_come_from_the_configuration():
    fixture = load("pspnet_mmseg_resnet50")
    args = {**fixture.spec["args"], "head": {"pool_scales": (1, 2, 4, 8)}}
    assert load_reference(fixture.weights(), fixture.spec["source"], args).ppm.bins == (1, 2, 4, 8)


@pytest.mark.parametrize(
    ("name", "head", "message"),
    [
        ("fcn", {"dilation": 6}, "dilation 6"),
        ("pspnet", {"align_corners": True}, "align_corners=True"),
        ("upernet", {"align_corners": True}, "align_corners=True"),
        ("ocrnet", {"scale": 2}, "scale 2"),
    ],
)
def test_what_is_not_known_is_refused_by_name(name, head, message):
    fixture = load(f"{name}_mmseg_resnet50")
    args = fixture.spec["args"]
    with pytest.raises(ConversionError, match=message):
        load_reference(fixture.weights(), fixture.spec["source"], {**args, "head": {**args["head"], **head}})
