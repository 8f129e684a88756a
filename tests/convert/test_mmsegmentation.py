"""Checkpoints of mmsegmentation: networks number by number, and what its configuration means for a ResNet."""

import pytest
import torch

from parity import load
from segue.backbones import TimmBackbone
from segue.convert import ConversionError, load_reference
from segue.convert.mmsegmentation import build_backbone, mean_over_all_pixels, read_config
from segue.labels import IGNORE
from segue.losses import cross_entropy


def load_fixture(name):
    fixture = load(name)
    return fixture, load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"])


def test_danet_matches_mmsegmentation():
    fixture, network = load_fixture("danet_mmseg_resnet50_v1c")
    images, target = fixture.image(), fixture.target()
    with torch.no_grad():
        scores = network.scores(images)
        features = network.features(images)
        terms = network.loss(network(images), target)
    for key, maps in {
        "logits": scores.logits, "pam_logits": scores.pam, "cam_logits": scores.cam, "aux_logits": scores.auxiliary,
    }.items():  # fmt: skip
        fixture.check(key, maps)
    fixture.check("features", features.backbone)
    for key, name in {"fused": "logits", "pam": "pam", "cam": "cam", "aux": "auxiliary"}.items():
        fixture.check(f"loss_{key}", terms[name], tolerance=1e-5)


def test_deeplabv3_matches_mmsegmentation():
    fixture, network = load_fixture("deeplabv3_mmseg_resnet50_os8")
    with torch.no_grad():
        scores = network.scores(fixture.image())
    fixture.check("out", scores.logits)
    fixture.check("aux", scores.auxiliary)


def test_the_aspp_head_alone_matches_mmsegmentation():
    fixture, network = load_fixture("deeplabv3_head_mmseg")
    with torch.no_grad():
        fixture.check("logits", network.scores(fixture.image()).logits)


def test_danets_head_alone_reads_the_backbones_last_map():
    fixture, network = load_fixture("danet_mmseg_resnet50_v1c")
    name = "decode_head."
    state = {key.removeprefix(name): tensor for key, tensor in fixture.weights().items() if key.startswith(name)}
    head = load_reference(state, args={"type": "DAHead", "pam_channels": 64})
    assert head.in_channels == 2048
    with torch.no_grad():
        scores = head.scores(network.backbone(fixture.image())[-1])
    fixture.check("logits", scores.logits)
    fixture.check("pam_logits", scores.pam)
    fixture.check("cam_logits", scores.cam)
    assert scores.auxiliary is None


@pytest.mark.parametrize(("name", "prefix"), [("upernet", "decode_head."), ("ocrnet", "decode_head.1.")])
def test_a_head_of_several_maps_is_refused_alone(name, prefix):
    weights = load(f"{name}_mmseg_resnet50").weights()
    state = {key.removeprefix(prefix): tensor for key, tensor in weights.items() if key.startswith(prefix)}
    with pytest.raises(ConversionError, match=f"a decode head of {name} alone reads several maps"):
        load_reference(state, "open-mmlab/mmsegmentation")


def test_its_cross_entropy_divides_by_all_pixels_unless_told_otherwise():
    logits = torch.zeros(1, 2, 1, 4)
    target = torch.tensor([[[0, 1, 1, IGNORE]]])
    assert mean_over_all_pixels(logits, target).item() == pytest.approx(3 / 4 * torch.log(torch.tensor(2.0)).item())
    fixture, network = load_fixture("deeplabv3_mmseg_resnet50_os8")
    assert network.criterion is mean_over_all_pixels
    args = dict(fixture.spec["args"])
    args["decode_head"] = {**args["decode_head"], "loss_decode": {"avg_non_ignore": True}}
    args["auxiliary_head"] = {**args["auxiliary_head"], "loss_decode": {"loss_weight": 0.4}}
    network = load_reference(fixture.weights(), fixture.spec["source"], {"model": args})
    assert network.criterion is cross_entropy
    assert network.auxiliary_weight == 0.4


def dilations(backbone, convolution="conv2"):
    return [
        [getattr(block, convolution).dilation[0] for block in getattr(backbone.body, f"layer{stage}")]
        for stage in (1, 2, 3, 4)
    ]


def build(name, config, **options):
    with torch.device("meta"):
        state = TimmBackbone(name, **options).state_dict()
    return build_backbone({f"backbone.{key}": tensor for key, tensor in state.items()}, config)


D8 = {"strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4)}


def test_a_stages_first_block_has_the_full_dilation_unless_it_is_contracted():
    backbone = build("resnet50", D8)
    assert dilations(backbone) == [[1] * 3, [1] * 4, [2] * 6, [4] * 3]
    assert backbone.strides == (2, 4, 8, 8, 8)
    contracted = build("resnet50c", {**D8, "contract_dilation": True})
    assert dilations(contracted) == [[1] * 3, [1] * 4, [1, 2, 2, 2, 2, 2], [2, 4, 4]]


def test_multi_grid_is_absolute():
    backbone = build("resnet101c", {**D8, "contract_dilation": True, "multi_grid": [1, 2, 4]})
    assert dilations(backbone)[3] == [1, 2, 4]
    sixteen = build("resnet50", {"strides": (1, 2, 2, 1), "dilations": (1, 1, 1, 2), "multi_grid": (2, 4, 8)})
    assert dilations(sixteen)[2:] == [[1] * 6, [2, 4, 8]]
    assert sixteen.strides[-2:] == (16, 16)


def test_a_basic_block_dilates_its_first_convolution_only():
    backbone = build("resnet18c", {**D8, "contract_dilation": True})
    assert dilations(backbone, "conv1")[2:] == [[1, 2], [2, 4]]
    assert dilations(backbone, "conv2")[2:] == [[1, 1], [1, 1]]


def test_nothing_is_dilated_by_default():
    backbone = build("resnet34", {})
    assert backbone.strides == (2, 4, 8, 16, 32)
    assert dilations(backbone, "conv1") == [[1] * 3, [1] * 4, [1] * 6, [1] * 3]


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet34c", "resnet50", "resnet50c", "resnet50s", "resnet50d", "resnet152c"]
)
def test_stem_depth_and_width_are_read_from_the_tensors(name):
    backbone = build(name, D8, in_channels=4, width=0.5)
    assert (backbone.name, backbone.in_channels) == (name, 4)
    assert backbone.body.layer1[0].conv1.out_channels == 32


@pytest.mark.parametrize("name", ["resnext50_32x4d", "resnext101_32x8d"])
def test_groups_are_read_from_the_tensors(name):
    backbone = build(name, {**D8, "contract_dilation": True})
    assert backbone.name == name
    assert backbone.body.layer1[0].conv2.groups == 32
    assert dilations(backbone)[3] == [2, 4, 4]


def test_caffe_style_moves_the_stride_and_leaves_the_pooling():
    body = build("resnet50", {"style": "caffe"}).body
    assert (body.layer2[0].conv1.stride, body.layer2[0].conv2.stride) == ((2, 2), (1, 1))
    assert not body.maxpool.ceil_mode


def test_the_short_form_has_the_dilations_of_mmsegmentations_files():
    backbone, heads, auxiliary = read_config({"pam_channels": 64, "align_corners": True})
    assert dilations(build("resnet50c", backbone))[2:] == [[1, 2, 2, 2, 2, 2], [2, 4, 4]]
    assert heads[0]["align_corners"]
    assert auxiliary["loss_decode"]["loss_weight"] == 0.4
    args = {"head": {"type": "ASPPHead"}, "depth": 50, "dilations": [1, 1, 1, 1], "strides": [1, 2, 2, 2]}
    backbone, heads, _ = read_config(args)  # what it names holds
    assert build("resnet50c", backbone).strides[-1] == 32
    assert heads[0]["type"] == "ASPPHead"
    assert build("resnet50c", read_config({}, dilated=False)[0]).strides[-1] == 32  # UPerHead's file


def test_the_dilations_of_aspp_come_from_the_configuration():
    fixture = load("deeplabv3_mmseg_resnet50_os8")
    args = dict(fixture.spec["args"])
    args["decode_head"] = {**args["decode_head"], "dilations": [1, 6, 12, 18]}
    network = load_reference(fixture.weights(), fixture.spec["source"], args)
    assert [branch[0].dilation[0] for branch in network.aspp.branches] == [1, 6, 12, 18]
    args["decode_head"]["dilations"] = [6, 12, 18, 24]
    with pytest.raises(ConversionError, match=r"the first one, and no other, has to be 1"):
        load_reference(fixture.weights(), fixture.spec["source"], args)


def test_a_checkpoint_without_an_auxiliary_head_makes_a_network_without():
    fixture = load("deeplabv3_mmseg_resnet50_os8")
    state = {name: tensor for name, tensor in fixture.weights().items() if not name.startswith("auxiliary")}
    network = load_reference(state, args=fixture.spec["args"])  # recognised by its tensors
    assert network.auxiliary is None


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"norm_cfg": {"type": "SyncBN", "eps": 1e-3}}, r"norm_cfg = .*: only BatchNorm with eps = 1e-5"),
        ({"norm_cfg": {"type": "GN"}}, r"norm_cfg = .*: only BatchNorm"),
        ({"act_cfg": {"type": "LeakyReLU"}}, r"act_cfg = .*: only ReLU is known"),
    ],
)
@pytest.mark.parametrize("part", ["backbone", "decode_head", "auxiliary_head"])
def test_layers_that_tensors_do_not_tell_are_refused(part, layer, message):
    fixture = load("deeplabv3_mmseg_resnet50_os8")
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in fixture.spec["state"].items()}
    args = fixture.spec["args"]
    with pytest.raises(ConversionError, match=message):
        load_reference(state, fixture.spec["source"], {**args, part: {**args[part], **layer}})


def test_layers_of_a_head_alone_are_checked_too():
    fixture = load("deeplabv3_head_mmseg")
    with pytest.raises(ConversionError, match="only ReLU is known"):
        load_reference(fixture.weights(), args={**fixture.spec["args"], "act_cfg": {"type": "GELU"}})


def test_what_is_not_known_is_refused_by_name():
    fixture = load("deeplabv3_mmseg_resnet50_os8")
    source, args, state = fixture.spec["source"], fixture.spec["args"], fixture.weights()
    extra = {"auxiliary_head.psp.conv.weight": torch.zeros(256, 256, 3, 3)}
    with pytest.raises(ConversionError, match=r"without a place: auxiliary_head\.psp\.conv\.weight"):
        load_reference(state | extra, source, args)
    with pytest.raises(ConversionError, match="reads stage 2 by its tensors, but in_index = 1"):
        load_reference(state, source, {**args, "auxiliary_head": {**args["auxiliary_head"], "in_index": 1}})
    with pytest.raises(ConversionError, match="the auxiliary head reads 300 channels"):
        load_reference(state | {"auxiliary_head.convs.0.conv.weight": torch.zeros(256, 300, 3, 3)}, source, args)
    with pytest.raises(ConversionError, match=r"the decode head reads stage 2 \(in_index\); 3 is known"):
        load_reference(state, source, {**args, "decode_head": {**args["decode_head"], "in_index": 2}})
    with pytest.raises(ConversionError, match=r"strides = \(1, 2\) and dilations = .*: each of the four stages"):
        load_reference(state, source, {**args, "backbone": {"strides": (1, 2)}})
    with pytest.raises(ConversionError, match=r"layer2: stride 3 and dilations .*; strides are 1 or 2"):
        load_reference(state, source, {**args, "backbone": {"strides": (1, 3, 1, 1)}})
    with pytest.raises(ConversionError, match="2 auxiliary heads; one is known"):
        load_reference(state, source, {**args, "auxiliary_head": [{}, {}]})
