"""mmsegmentation's heads that make FCN, PSPNet, UPerNet and OCRNet: number by number, and what their arguments mean."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

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


def conv_module(state, name, maps, dilation=1):
    """mmcv's ConvModule, written with functions: convolution of the same size, BatchNorm, ReLU."""
    weight = state[f"{name}.conv.weight"]
    maps = F.conv2d(maps, weight, padding=dilation * (weight.shape[-1] // 2), dilation=dilation)
    norm = (state[f"{name}.bn.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias"))
    return F.relu(F.batch_norm(maps, *norm))


def enlarge(maps, like, align_corners):
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=align_corners)


def fcn_head(state, stages, dilation):
    maps = stages[-1]
    for index in range(2):
        maps = conv_module(state, f"decode_head.convs.{index}", maps, dilation)
    return conv_module(state, "decode_head.conv_cat", torch.cat([stages[-1], maps], dim=1))


def pooling(state, maps, align_corners):
    pooled = [
        conv_module(state, f"decode_head.psp_modules.{index}.1", F.adaptive_avg_pool2d(maps, side))
        for index, side in enumerate((1, 2, 3, 6))
    ]
    joined = torch.cat([maps, *(enlarge(one, maps, align_corners) for one in pooled)], dim=1)
    return conv_module(state, "decode_head.bottleneck", joined)


def psp_head(state, stages, align_corners):
    return pooling(state, stages[-1], align_corners)


def uper_head(state, stages, align_corners):
    maps = [conv_module(state, f"decode_head.lateral_convs.{index}", stages[index]) for index in range(3)]
    maps.append(pooling(state, stages[-1], align_corners))
    for index in (2, 1, 0):
        maps[index] = maps[index] + enlarge(maps[index + 1], maps[index], align_corners)
    smooth = [conv_module(state, f"decode_head.fpn_convs.{index}", maps[index]) for index in range(3)] + maps[3:]
    joined = torch.cat([smooth[0], *(enlarge(one, smooth[0], align_corners) for one in smooth[1:])], dim=1)
    return conv_module(state, "decode_head.fpn_bottleneck", joined)


@pytest.mark.parametrize(
    ("name", "head", "definition"),
    [
        ("fcn", {"dilation": 6}, partial(fcn_head, dilation=6)),
        ("fcn", {"dilation": 1}, partial(fcn_head, dilation=1)),
        ("pspnet", {"align_corners": True}, partial(psp_head, align_corners=True)),
        ("pspnet", {}, partial(psp_head, align_corners=False)),
        ("upernet", {"align_corners": True}, partial(uper_head, align_corners=True)),
        ("upernet", {}, partial(uper_head, align_corners=False)),
    ],
)
def test_what_the_fixtures_leave_at_its_default_is_mmsegmentations_too(name, head, definition):
    fixture = load(f"{name}_mmseg_resnet50")
    args, state = fixture.spec["args"], fixture.weights()
    network = load_reference(state, fixture.spec["source"], {**args, "head": {**args["head"], **head}})
    images = fixture.image()[..., :65, :90]
    with torch.no_grad():
        scores, stages = network.scores(images).logits, network.backbone(images)[-4:]
        maps = definition(state, stages)
        expected = F.conv2d(maps, state["decode_head.conv_seg.weight"], state["decode_head.conv_seg.bias"])
        torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-4)
        logits = network(images).logits
    torch.testing.assert_close(logits, enlarge(scores, images, head.get("align_corners", False)))


def test_an_auxiliary_head_may_have_more_than_one_convolution():
    fixture = load("fcn_mmseg_resnet50")
    state = fixture.weights()
    for name in [name for name in state if name.startswith("decode_head.conv")]:
        # The decode head's own tensors, on the third stage's 1024 channels.
        tensor = state[name][:, :1024] if name.endswith("convs.0.conv.weight") else state[name]
        state[name.replace("decode_head", "auxiliary_head")] = torch.cat(
            [tensor[:, :1024], tensor[:, 2048:]], dim=1
        ) if name.endswith("conv_cat.conv.weight") else tensor  # fmt: skip
    network = load_reference(state, fixture.spec["source"], fixture.spec["args"])
    with torch.no_grad():
        auxiliary, stages = network.scores(fixture.image()).auxiliary, network.backbone(fixture.image())
        own = {name.replace("auxiliary_head", "decode_head"): state[name] for name in state if "auxiliary" in name}
        expected = F.conv2d(
            fcn_head(own, stages[:-1], dilation=1), own["decode_head.conv_seg.weight"], own["decode_head.conv_seg.bias"]
        )
    torch.testing.assert_close(auxiliary, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["pspnet_mmseg_resnet50", "danet_mmseg_resnet50_v1c"])
@pytest.mark.parametrize(("stage", "channels"), [(0, 256), (3, 2048)])
def test_an_auxiliary_head_reads_the_stage_that_has_its_channels(name, stage, channels):
    fixture = load(name)
    state = fixture.weights()
    state["auxiliary_head.convs.0.conv.weight"] = torch.randn(256, channels, 3, 3) / channels**0.5 / 3
    network = load_reference(state, fixture.spec["source"], fixture.spec["args"])
    with torch.no_grad():
        auxiliary = network.scores(fixture.image()).auxiliary
        maps = conv_module(state, "auxiliary_head.convs.0", network.backbone(fixture.image())[stage - 4])
        expected = F.conv2d(maps, state["auxiliary_head.conv_seg.weight"], state["auxiliary_head.conv_seg.bias"])
    torch.testing.assert_close(auxiliary, expected, rtol=1e-3, atol=1e-4)


def test_one_score_per_pixel_is_the_foregrounds():
    fixture = load("pspnet_mmseg_resnet50")
    state = fixture.weights()
    for name in [name for name in state if "conv_seg" in name]:
        state[name] = state[name][:1]
    network = load_reference(state, fixture.spec["source"], fixture.spec["args"])
    with torch.no_grad():
        scores = network.scores(fixture.image()).logits
    assert not scores[:, 0].any()
    torch.testing.assert_close(scores[:, 1], fixture.expected("logits")[0][:, 0], rtol=1e-3, atol=1e-3)


def test_regions_of_one_score_are_refused():
    state = load("ocrnet_mmseg_resnet50").weights()
    for name in [name for name in state if "conv_seg" in name]:
        state[name] = state[name][:1]
    with pytest.raises(ConversionError, match="OCRHead with one score per pixel"):
        load_reference(state)


def test_the_scale_of_an_ocr_head_sharpens_its_regions():
    fixture = load("ocrnet_mmseg_resnet50")
    args = fixture.spec["args"]
    network = load_reference(fixture.weights(), args={**args, "head": {**args["head"], "scale": 3}})
    assert network.context.scale == 3
    features, regions = torch.randn(1, 512, 3, 4), torch.randn(1, 7, 3, 4)
    sharp = network.context(features, regions)
    network.context.scale = 1
    torch.testing.assert_close(network.context(features, 3 * regions), sharp)
    assert not torch.allclose(network.context(features, regions), sharp)
