import pytest
import torch
import torch.nn.functional as F

import parity
from segue.convert import ConversionError, load_reference
from segue.models.deeplabv2 import DeepLabV2
from segue.models.deeplabv3 import DeepLabV3
from segue.models.msc import CornerRule, MultiScale


def load(name):
    fixture = parity.load(name)
    return fixture, load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"])


def test_v2s_coarse_scores_are_the_references():
    fixture, network = load("deeplabv2_resnet101")
    assert type(network) is DeepLabV2
    images = fixture.image()
    with torch.inference_mode():
        output = network(images)
        fixture.check("logits", output.coarse, 2e-5)
        coarse, _, _ = fixture.expected("logits")
        enlarged = F.interpolate(coarse, size=images.shape[-2:], mode="bilinear", align_corners=False)
        torch.testing.assert_close(output.logits, enlarged, rtol=1e-3, atol=1e-3 * coarse.abs().max().item())


def test_the_head_alone_reads_features():
    fixture, network = load("deeplabv2_head")
    assert network.in_channels == 64
    with torch.inference_mode():
        fixture.check("logits", network(fixture.image()).logits, 1e-5)


def test_fusion_of_scales_is_the_references_or_the_authors():
    fixture, network = load("deeplabv2_resnet101_msc")
    assert type(network) is MultiScale
    images = fixture.image()
    with torch.inference_mode():
        output = network(images)
        fixture.check("logits_max", output.fused, 2e-5)
        fixture.check("logits_max", network.scores(images).logits, 2e-5)
        fixture.check("logits_1.0", output.full, 2e-5)
        fixture.check("logits_0.5", output.scaled[0], 2e-5)
        fixture.check("logits_0.75", output.scaled[1], 2e-5)
        network.rule = CornerRule()
        output = network(images)
        fixture.check("official_max", output.fused, 2e-5)
        fixture.check("official_0.5", output.scaled[0], 2e-5)
        fixture.check("official_0.75", output.scaled[1], 2e-5)


def test_v3s_coarse_scores_are_the_references():
    fixture, network = load("deeplabv3_resnet101_os16_multigrid")
    assert type(network) is DeepLabV3
    with torch.inference_mode():
        fixture.check("logits", network.scores(fixture.image()).logits, 2e-5)


def v3_state():
    """A narrower fixture's tensors are not to be had: these are its names and shapes, without numbers."""
    spec = parity.load("deeplabv3_resnet101_os16_multigrid").spec
    return {name: torch.empty(shape, device="meta") for name, shape in spec["state"].items()}


@pytest.mark.parametrize(
    ("args", "layer3", "layer4", "rates"),
    [
        ({"output_stride": 16, "multi_grids": [1, 2, 4]}, [1] * 23, [2, 4, 8], [6, 12, 18]),
        ({"output_stride": 8, "multi_grids": [1, 2, 1]}, [2] * 23, [4, 8, 4], [12, 24, 36]),
        ({}, [1] * 23, [2, 4, 8], [6, 12, 18]),
        ({"output_stride": 8, "multi_grids": None}, [2] * 23, [4, 4, 4], [12, 24, 36]),
        ({"output_stride": 8, "multi_grids": [1, 1, 1], "atrous_rates": [6, 12, 18]}, [2] * 23, [4, 4, 4], [6, 12, 18]),
    ],
)
def test_v3s_strides_grids_and_rates_come_from_the_arguments(args, layer3, layer4, rates):
    with torch.device("meta"):
        network = load_reference(v3_state(), "kazuto1011/deeplab-pytorch libs.models.DeepLabV3", args)
        body = network.backbone.body
        assert [block.conv2.dilation[0] for block in body.layer3] == layer3
        assert [block.conv2.dilation[0] for block in body.layer4] == layer4
        assert [branch[0].dilation[0] for branch in network.aspp.branches[1:]] == rates
        side = 20 if args.get("output_stride") == 8 else 10
        network.eval()
        assert network.scores(torch.empty(1, 3, 153, 153)).logits.shape == (1, 7, side, side)


def test_each_block_of_the_last_stage_has_its_grid():
    with torch.device("meta"), pytest.raises(ConversionError, match=r"multi_grids = \(1, 2\) for the 3 blocks"):
        load_reference(v3_state(), args={"multi_grids": [1, 2]})


def test_v3_can_be_fused_over_scales_too():
    with torch.device("meta"):
        state = {f"base.{name}": tensor for name, tensor in v3_state().items()}
        network = load_reference(state, args={"output_stride": 16, "scales": [0.5]})
    assert isinstance(network, MultiScale)
    assert isinstance(network.network, DeepLabV3)
    assert network.scales == (0.5,)


@pytest.mark.parametrize("first", ["aspp.stages.c", "aspp.stages."])
def test_names_of_2018_are_the_same_network(first):
    spec = parity.load("deeplabv2_resnet101_msc")
    state = spec.weights()
    old = {
        name.replace("base.", "scale.").replace(".shortcut.", ".proj.").replace("aspp.c", first): tensor
        for name, tensor in state.items()
    }
    assert not old.keys() & state.keys()
    new, renamed = load_reference(state), load_reference(old, args={"pyramids": [6, 12, 18, 24]})
    assert isinstance(renamed, MultiScale)
    for (name, tensor), same in zip(new.state_dict().items(), renamed.state_dict().values(), strict=True):
        assert torch.equal(tensor, same), name


def test_its_v1_is_v2s_resnet_with_a_1x1_classifier():
    fixture = parity.load("deeplabv2_resnet101")
    state = {name: tensor for name, tensor in fixture.weights().items() if not name.startswith("aspp.")}
    state["fc.weight"], state["fc.bias"] = torch.randn(5, 2048, 1, 1), torch.randn(5)
    network = load_reference(state)
    images = fixture.image()[..., :65, :81]
    with torch.inference_mode():
        features = load_reference(fixture.weights()).backbone(images)[-1]
        expected = F.conv2d(features, state["fc.weight"], state["fc.bias"])
        torch.testing.assert_close(network.scores(images).logits, expected)
    with pytest.raises(ConversionError, match="none of its networks known here"):
        load_reference({**state, "fc.weight": torch.zeros(1000, 2048)}, "kazuto1011/deeplab-pytorch")


def test_rates_must_be_as_many_as_branches():
    state = parity.load("deeplabv2_head").weights()
    with pytest.raises(ConversionError, match="4 branches of ASPP, but 3 rates: give them as `atrous_rates`"):
        load_reference(state, "kazuto1011/deeplab-pytorch", {"rates": [6, 12, 18]})


def test_a_resnet_that_timm_lacks_is_refused_in_a_line():
    state = {name: tensor for name, tensor in v3_state().items() if not name.startswith("layer4.block9.")}
    with pytest.raises(ConversionError, match="no known ResNet has"):
        load_reference(state, "kazuto1011/deeplab-pytorch")
