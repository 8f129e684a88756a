"""Checkpoints of DANet's authors: the whole network number by number, and the meaning of their arguments."""

import pytest
import torch

from parity import load
from segue.backbones import TimmBackbone
from segue.convert import ConversionError, load_reference
from segue.convert.danet import build_backbone

SOURCE = "junfu1115/DANet @ b0a0fa0 (the paper's authors): DANet"


@pytest.mark.parametrize("name", ["danet_resnet50", "danet_resnet50_deepstem"])
def test_the_whole_network_matches_the_authors(name):
    fixture = load(name)
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"]).double()
    images, target = fixture.image().double(), fixture.target()  # the order of additions moves float32 by 1e-4
    with torch.no_grad():
        output = network(images)
        features = network.features(images)
        middle = features.backbone.shape[-2] * features.backbone.shape[-1] // 2
        row = network.position_attention(images, [middle])[0].flatten()
        channel_row = network.channel_attention(images, [5])[0, 0]
        terms = network.loss(output, target)
    for key, maps in {"logits": output.logits, "pam_logits": output.pam, "cam_logits": output.cam}.items():
        fixture.check(key, maps)
    fixture.check("features", features.backbone)
    fixture.check("pam_features", features.pam)
    fixture.check("cam_features", features.cam)
    fixture.check("pam_attention_row", row)
    fixture.check("cam_attention_row", channel_row, 2e-4)  # as recorded in float32, it is 1.5e-4 from float64
    fixture.check("loss_fused", terms["logits"], tolerance=1e-5)
    fixture.check("loss_pam", terms["pam"], tolerance=1e-5)
    fixture.check("loss_cam", terms["cam"], tolerance=1e-5)
    fixture.check("loss", sum(terms.values()), tolerance=1e-5)


def test_a_checkpoint_is_recognised_and_its_unused_tensors_listed():
    fixture = load("danet_resnet50")
    state = fixture.weights()
    state |= {"pretrained.fc.weight": torch.zeros(1000, 2048), "auxlayer.conv5.4.bias": torch.zeros(7)}
    network = load_reference(state, args=fixture.spec["args"])
    assert network.unused_tensors == ("pretrained.fc.weight", "auxlayer.conv5.4.bias")


def layer4(args):
    backbone = build_backbone(TimmBackbone("resnet50").body.state_dict(), args)
    return [block.conv2.dilation[0] for block in backbone.body.layer4], backbone.strides[-1]


@pytest.mark.parametrize(
    ("args", "dilations", "stride"),
    [
        ({}, [1, 1, 1], 32),
        ({"os": 16}, [1, 2, 2], 16),
        ({"os": 8}, [2, 4, 4], 8),
        ({"dilation": 2}, [1, 2, 2], 16),
        ({"dilation": 4}, [2, 4, 4], 8),
        ({"os": 8, "dilation": 2}, [2, 4, 4], 8),  # os sets the dilation
        ({"dilated": True, "os": 16}, [2, 4, 4], 8),  # and dilated wins over both
        ({"os": 8, "multi_grid": True, "multi_dilation": [4, 8, 16]}, [4, 8, 16], 8),
        ({"os": 8, "multi_grid": True, "multi_dilation": [2, 4, 8]}, [2, 4, 8], 8),
        ({"dilated": True, "multi_grid": True, "multi_dilation": [3, 5]}, [3, 5, 3], 8),
        ({"dilated": True, "multi_grid": False, "multi_dilation": [4, 8, 16]}, [2, 4, 4], 8),
    ],
)
def test_dilation_follows_their_arguments(args, dilations, stride):
    assert layer4(args) == (dilations, stride)


def test_a_basic_blocks_second_convolution_has_its_stages_dilation():
    args = {"dilated": True, "multi_grid": True, "multi_dilation": [4, 8, 16]}
    body = build_backbone(TimmBackbone("resnet34s").body.state_dict(), args).body
    assert [[block.conv1.dilation[0] for block in body[stage]] for stage in ("layer3", "layer4")] == [
        [1, 2, 2, 2, 2, 2],
        [4, 8, 16],
    ]
    assert [{block.conv2.dilation[0] for block in body[stage]} for stage in ("layer3", "layer4")] == [{2}, {4}]


@pytest.mark.parametrize("args", [{"os": 16, "multi_grid": True, "multi_dilation": [4]}, {"os": 8, "multi_grid": True}])
def test_multi_grid_needs_output_stride_8_and_its_dilations(args):
    with pytest.raises(ConversionError, match="multi_grid needs output stride 8 and multi_dilation"):
        layer4(args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"os": "8"}, "os = '8': it has to be 8, 16 or 32"),
        ({"dilation": 8}, "dilation = 8: it has to be 1, 2 or 4"),
        ({"dilated": True, "multi_grid": True, "multi_dilation": 4}, "multi_dilation = 4: it has to be a list"),
        ({"dilated": True, "multi_grid": True, "multi_dilation": ["4"]}, r"multi_dilation = \['4'\]: it has to be a"),
    ],
)
def test_an_argument_that_cannot_be_is_refused(args, message):
    with pytest.raises(ConversionError, match=message):
        layer4(args)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "resnet18d",
        "resnet18s",
        "resnet34c",
        "resnet50s",
        "resnet101c",
    ],
)
def test_depth_stem_and_shortcut_are_read_from_the_tensors(name):
    with torch.device("meta"):
        state = TimmBackbone(name, in_channels=4).body.state_dict()
    backbone = build_backbone(state, {})
    assert (backbone.name, backbone.in_channels) == (name, 4)
    assert {key: value.shape for key, value in backbone.body.state_dict().items()} == {
        key: value.shape for key, value in state.items()
    }


def test_a_resnet_that_timm_lacks_is_refused():
    state = TimmBackbone("resnet18").body.state_dict()
    with pytest.raises(ConversionError, match=r"no known ResNet has \(2, 2, 2, 1\) basic blocks"):
        build_backbone({name: tensor for name, tensor in state.items() if not name.startswith("layer4.1")}, {})
    with pytest.raises(ConversionError, match="a plain stem of 8 channels and plain shortcuts"):
        build_backbone(state | {"conv1.weight": torch.zeros(8, 3, 7, 7)}, {})


def test_a_tensor_without_a_place_is_named():
    state = load("danet_resnet50").weights() | {"head.conv9.weight": torch.zeros(1)}
    with pytest.raises(ConversionError, match=r"1 tensors without a place: head\.conv9\.weight"):
        load_reference(state, SOURCE, {})
