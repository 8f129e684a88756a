"""Checkpoints of segmentation_models.pytorch: networks number by number, and what their arguments mean."""

import re

import pytest
import torch
import torch.nn.functional as F

from parity import load
from segue.convert import ConversionError, load_reference
from segue.convert.smp import build_encoder

SOURCE = "qubvel-org/segmentation_models.pytorch"


def load_fixture(name):
    fixture = load(name)
    return fixture, load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"])


@pytest.mark.parametrize(
    "name", ["unet_smp_resnet34", "deeplabv3_smp_resnet34", "pspnet_smp_resnet50", "upernet_smp_resnet50"]
)
def test_the_whole_network_matches(name):
    fixture, network = load_fixture(name)
    with torch.no_grad():
        fixture.check("logits", network(fixture.image()).logits)


def test_stages_that_pspnet_never_computes_are_listed():
    fixture, network = load_fixture("pspnet_smp_resnet50")
    behind = {name for name in fixture.weights() if name.startswith(("encoder.layer3.", "encoder.layer4."))}
    assert set(network.unused_tensors) == behind
    assert network.backbone.strides == (2, 4, 8)


def test_a_dilated_stage_is_dilated_in_every_convolution():
    encoder = build_encoder(load("deeplabv3_smp_resnet34").weights(), {}, depth=5, output_stride=8)
    for stage, dilation in (("layer2", 1), ("layer3", 2), ("layer4", 4)):
        for block in getattr(encoder.body, stage):
            assert block.conv1.dilation == block.conv2.dilation == (dilation, dilation)


def test_the_output_stride_and_the_rates_come_from_the_arguments():
    fixture = load("deeplabv3_smp_resnet34")
    args = {"encoder_output_stride": 16, "decoder_atrous_rates": (6, 12, 18)}
    network = load_reference(fixture.weights(), fixture.spec["source"], args)
    assert network.backbone.strides[-2:] == (16, 16)
    assert [branch[0].dilation[0] for branch in network.aspp.branches] == [1, 6, 12, 18]


def test_an_output_stride_that_cannot_be_is_an_error_of_the_source():
    state = load("deeplabv3_smp_resnet34").weights()
    with pytest.raises(ConversionError, match=r"pytorch: output_stride = 4: it must be 8, 16 or 32"):
        load_reference(state, SOURCE, {"encoder_output_stride": 4})


def test_one_score_becomes_two_whose_softmax_is_its_sigmoid():
    fixture, network = load_fixture("unet_smp_resnet34")
    state = fixture.weights()
    for name in ("segmentation_head.0.weight", "segmentation_head.0.bias"):
        state[name] = state[name][2:3]
    binary = load_reference(state, SOURCE)
    assert binary.num_classes == 2
    images = fixture.image()[..., :64, :64]
    with torch.no_grad():
        score, probability = network(images).logits[:, 2], binary(images).logits.softmax(dim=1)[:, 1]
    torch.testing.assert_close(probability, score.sigmoid())


def test_what_is_not_known_is_refused_by_name():
    state = load("unet_smp_resnet34").weights()
    with pytest.raises(ConversionError, match="decoder_interpolation = 'bilinear'"):
        load_reference(state, SOURCE, {"decoder_interpolation": "bilinear"})
    attention = {"decoder.blocks.0.attention1.attention.cSE.1.weight": torch.zeros(48, 768, 1, 1)}
    with pytest.raises(ConversionError, match=r"without a place: decoder\.blocks\.0\.attention1"):
        load_reference(state | attention, SOURCE)
    for norm in (False, "instancenorm", {"type": "batchnorm", "eps": 1e-2}):
        with pytest.raises(ConversionError, match=r"decoder_use_norm = .*: only 'batchnorm' is known"):
            load_reference(state, SOURCE, {"decoder_use_norm": norm})
    plain = {name: tensor for name, tensor in state.items() if not re.match(r"decoder\..*\.1\.", name)}
    with pytest.raises(ConversionError, match="the decoder has no BatchNorm"):
        load_reference(plain, SOURCE)
    vgg = {name.replace("encoder.layer1.", "encoder.features."): tensor for name, tensor in state.items()}
    with pytest.raises(ConversionError, match=r"the encoder \(vgg11\) is none of those known here"):
        load_reference(vgg, SOURCE, {"encoder_name": "vgg11"})


def on_timm(name):
    """The fixture with its encoder under the names of smp's `tu-` encoders."""
    fixture = load(name)
    return fixture, {key.replace("encoder.", "encoder.model."): value for key, value in fixture.weights().items()}


def test_a_timm_encoder_is_called_by_name():
    fixture, state = on_timm("unet_smp_resnet34")
    with torch.no_grad():
        network = load_reference(state, args={"encoder_name": "tu-resnet34"})
        fixture.check("logits", network(fixture.image()).logits)
    with pytest.raises(ConversionError, match="the encoder is one of timm's: give its name as `encoder_name`"):
        load_reference(state, SOURCE)
    with pytest.raises(ConversionError, match="timm has no encoder 'resnet35'"):
        load_reference(state, SOURCE, {"encoder_name": "tu-resnet35"})
    short = {key: value for key, value in state.items() if not key.startswith("decoder.blocks.4.")}
    with pytest.raises(ConversionError, match="lcnet_050 at encoder_depth = 4: it is known in full only"):
        load_reference(short, SOURCE, {"encoder_name": "tu-lcnet_050"})


def test_a_timm_encoder_is_dilated_as_timm_does():
    _, state = on_timm("deeplabv3_smp_resnet34")
    body = load_reference(state, SOURCE, {"encoder_name": "tu-resnet34"}).backbone.body
    assert [block.conv1.dilation[0] for block in body.layer3] == [1, 2, 2, 2, 2, 2]
    assert [block.conv1.dilation[0] for block in body.layer4] == [2, 4, 4]


def test_a_dilated_shortcut_of_timms_is_pooled_over_2x2_pixels():
    state = {"encoder.model.conv1.0.weight": torch.empty(32, 3, 3, 3)}
    encoder = build_encoder(state, {"encoder_name": "tu-resnet26d"}, depth=4, output_stride=8)
    images = torch.randn(1, 8, 5, 7)
    expected = F.avg_pool2d(F.pad(images, (0, 1, 0, 1)), 2, stride=1)[..., :-1, :-1]
    torch.testing.assert_close(encoder.body.layer3[0].downsample[0](images)[..., :-1, :-1], expected)
    assert encoder.strides == (2, 4, 8, 8)


def test_a_timm_encoder_ends_where_its_depth_says():
    fixture, state = on_timm("pspnet_smp_resnet50")
    state = {
        key: value
        for key, value in state.items()
        if not key.startswith(("encoder.model.layer3", "encoder.model.layer4"))
    }
    with torch.no_grad():
        network = load_reference(state, SOURCE, {"encoder_name": "tu-resnet50"})  # PSPNet's own encoder_depth is 3
        fixture.check("logits", network(fixture.image()).logits)


smp_networks = {
    "Unet": [
        {"encoder_name": "resnet18", "in_channels": 4, "decoder_channels": (64, 48, 32, 16, 8)},
        {"encoder_name": "resnet50", "encoder_depth": 3, "decoder_channels": (64, 32, 16)},
        {"encoder_name": "resnext50_32x4d"},
        {"encoder_name": "tu-resnet18", "encoder_depth": 3, "decoder_channels": (32, 16, 8)},
        {"encoder_name": "tu-lcnet_050"},
        {"encoder_name": "tu-convnext_atto"},
    ],
    "DeepLabV3": [
        {"encoder_name": "resnet50", "encoder_output_stride": 16},
        {"encoder_name": "tu-resnet26d"},
        {"encoder_name": "resnet18", "decoder_aspp_separable": True, "decoder_channels": 64, "in_channels": 1},
    ],
    "PSPNet": [
        {"encoder_name": "resnet18", "psp_out_channels": 64},
        {"encoder_name": "resnet34", "encoder_depth": 5, "in_channels": 2},
    ],
    "UPerNet": [
        {"encoder_name": "resnet18", "decoder_channels": 32},
        {"encoder_name": "resnet34", "encoder_depth": 4, "decoder_channels": 16},
        {"encoder_name": "tu-convnext_atto", "decoder_channels": 16},
    ],
}


@pytest.mark.parametrize(
    ("network", "args"), [(network, args) for network, variants in smp_networks.items() for args in variants]
)
def test_the_installed_networks_are_matched(network, args):
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    upsampling = {"upsampling": 2 ** args["encoder_depth"]} if network == "PSPNet" and "encoder_depth" in args else {}
    reference = getattr(smp, network)(encoder_weights=None, classes=3, **args, **upsampling).eval()
    converted = load_reference(reference.state_dict(), SOURCE, args)
    images = torch.randn(2, args.get("in_channels", 3), 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(converted(images).logits, reference(images), rtol=1e-4, atol=1e-4)
