"""timm's encoders: the reference's numbers, strides and shapes, dilation block by block, and weights from files."""

import inspect
import pickle
from dataclasses import fields

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from parity import load
from segue.backbones import TimmBackbone, TimmOptions, load_weights
from segue.backbones.backbone import adapt_first_convolution
from segue.backbones.timm import lay_out
from segue.models.segnet import EncoderOptions

ENCODING = {
    "encoding_resnet50_os8": {"name": "resnet50", "output_stride": 8},
    "encoding_resnet50_os16": {"name": "resnet50", "output_stride": 16},
    "encoding_resnet50s_os8": {"name": "resnet50s", "output_stride": 8},
    "encoding_resnet50s_multigrid": {"name": "resnet50s", "output_stride": 8, "multi_grid": (1, 2, 4)},
    "encoding_resnet50d_os8": {"name": "resnet50d", "output_stride": 8},
}


def dilations(backbone, stage, convolution="conv2"):
    """Of one convolution of each block; the padding has to keep the size."""
    layers = [getattr(block, convolution) for block in getattr(backbone.body, stage)]
    assert all(layer.padding == layer.dilation for layer in layers)
    return [layer.dilation[0] for layer in layers]


@pytest.mark.parametrize("name", ENCODING)
def test_the_stages_match_pytorch_encoding(name):
    fixture = load(name)
    backbone = TimmBackbone(**ENCODING[name]).eval()
    state = fixture.weights()
    backbone.body.load_state_dict(state)  # the names are the same
    with torch.no_grad():
        maps = backbone(fixture.image())[1:]  # the first one is the stem's
    for key, stage in zip(("c1", "c2", "c3", "c4"), maps, strict=True):
        fixture.check(key, stage[:, ::8])


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet18c", "efficientnet_b0", "mobilenetv3_large_100"])
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_maps_have_the_channels_and_strides_that_the_backbone_tells(name, output_stride):
    backbone = TimmBackbone(name, output_stride=output_stride, in_channels=1).eval()
    assert backbone.strides == tuple(min(stride, output_stride) for stride in (2, 4, 8, 16, 32))
    with torch.no_grad():
        maps = backbone(torch.randn(1, 1, 65, 97))
    assert [stage.shape[1] for stage in maps] == list(backbone.channels)
    for stage, stride in zip(maps, backbone.strides, strict=True):
        assert stage.shape[-2:] == (-(-65 // stride), -(-97 // stride))  # odd sizes round up, stage by stage


def test_an_encoder_without_a_stem_map_starts_at_stride_4():
    backbone = TimmBackbone("convnext_atto", output_stride=16).eval()
    assert backbone.strides == (4, 8, 16, 16)
    with torch.no_grad():
        assert [tuple(stage.shape[-2:]) for stage in backbone(torch.randn(1, 3, 64, 96))] == [
            (16, 24), (8, 12), (4, 6), (4, 6),
        ]  # fmt: skip


def test_maps_that_timm_gives_with_their_channels_last_come_with_their_channels_second():
    backbone = TimmBackbone("swin_s3_tiny_224")
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, 224, 224))
    assert tuple(one.shape[1] for one in maps) == backbone.channels
    assert [224 // one.shape[2] for one in maps] == list(backbone.strides)


def test_the_first_block_of_a_dilated_stage_has_half_its_dilation():
    backbone = TimmBackbone("resnet50", output_stride=8)
    assert [dilations(backbone, f"layer{stage}") for stage in (1, 2, 3, 4)] == [
        [1, 1, 1], [1, 1, 1, 1], [1, 2, 2, 2, 2, 2], [2, 4, 4],
    ]  # fmt: skip
    backbone = TimmBackbone("resnet50", output_stride=16)
    assert [dilations(backbone, f"layer{stage}") for stage in (3, 4)] == [[1] * 6, [1, 2, 2]]


def test_a_whole_dilated_stage_has_its_dilation_where_it_is_not_contracted():
    backbone = TimmBackbone("resnet50", output_stride=8, contract_dilation=False)
    assert [dilations(backbone, f"layer{stage}") for stage in (3, 4)] == [[2] * 6, [4] * 3]


def test_multi_grid_multiplies_the_dilation_of_the_last_stage_from_its_first_block_on():
    assert dilations(TimmBackbone("resnet50", output_stride=8, multi_grid=(1, 2, 4)), "layer4") == [4, 8, 16]
    assert dilations(TimmBackbone("resnet50", output_stride=16, multi_grid=(1, 2, 4)), "layer4") == [2, 4, 8]
    assert dilations(TimmBackbone("resnet50", output_stride=8, multi_grid=(1, 2)), "layer4") == [4, 8, 4]  # in turn


def test_a_basic_block_halves_its_first_convolution_only():
    backbone = TimmBackbone("resnet18", output_stride=8)
    assert dilations(backbone, "layer4", "conv1") == [2, 4]
    assert dilations(backbone, "layer4", "conv2") == [4, 4]


def test_lay_out_places_strides_and_dilations_block_by_block():
    backbone = TimmBackbone("resnet50")
    lay_out(backbone, (1, 2, 2, 1), [[1] * 3, [1] * 4, [1] * 6, [2, 3, 5]])
    assert dilations(backbone, "layer4") == [2, 3, 5]
    assert backbone.strides == (2, 4, 8, 16, 16)
    with torch.no_grad():
        assert backbone.eval()(torch.randn(1, 3, 64, 64))[-1].shape[-2:] == (4, 4)


def test_lay_out_wants_one_dilation_per_block():
    with pytest.raises(ValueError, match=r"layer4: stride 1 and dilations \[2, 4\] for 3 blocks"):
        lay_out(TimmBackbone("resnet50"), (1, 2, 2, 1), [[1] * 3, [1] * 4, [1] * 6, [2, 4]])


def test_dilation_changes_no_weight():
    plain, dilated = TimmBackbone("resnet50"), TimmBackbone("resnet50", output_stride=8, multi_grid=(1, 2, 4))
    dilated.load_state_dict(plain.state_dict())


def test_width_multiplies_the_channels_of_a_resnet():
    backbone = TimmBackbone("resnet50", width=0.25)
    assert backbone.channels == (64, 64, 128, 256, 512)
    with torch.no_grad():
        assert [stage.shape[1] for stage in backbone.eval()(torch.randn(1, 3, 32, 32))] == list(backbone.channels)


@pytest.mark.parametrize("in_channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_come_from_a_local_file_with_the_first_convolution_converted(tmp_path, in_channels, suffix):
    source = TimmBackbone("resnet18", width=0.25)
    state = dict(source.body.state_dict()) | {"fc.weight": torch.zeros(10, 128)}  # a classifier has no place here
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    else:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    target = TimmBackbone("resnet18", width=0.25, in_channels=in_channels)
    assert load_weights(target.body, path, in_channels) == ["fc.weight"]
    for name, tensor in target.body.state_dict().items():
        if name != "conv1.weight":
            assert torch.equal(tensor, state[name])
    expected = adapt_first_convolution(state["conv1.weight"], in_channels)
    assert torch.equal(target.body.conv1.weight, expected)


def test_the_constructor_takes_a_file_of_weights(tmp_path):
    source = TimmBackbone("resnet18")
    save_file(source.body.state_dict(), tmp_path / "weights.safetensors")
    loaded = TimmBackbone("resnet18", weights=tmp_path / "weights.safetensors", output_stride=8)
    assert torch.equal(loaded.body.conv1.weight, source.body.conv1.weight)


def test_one_channel_sees_the_sum_of_the_three_and_four_repeat_them_at_the_same_total():
    weight = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1)
    assert adapt_first_convolution(weight, 1).flatten().tolist() == [9.0]
    assert adapt_first_convolution(weight, 4).flatten().tolist() == [0.75, 1.5, 4.5, 0.75]


def test_options_as_data_build_the_backbone_that_the_same_keywords_build():
    keywords = inspect.signature(TimmBackbone).parameters.keys() - {"name", "in_channels"}
    assert {field.name for field in fields(TimmOptions)} - {"backbone"} == keywords
    asked = {"output_stride": 8, "multi_grid": (1, 2), "contract_dilation": False, "width": 0.25, "caffe": True}
    built = TimmOptions("resnet50", **asked).build(in_channels=1)
    assert repr(built) == repr(TimmBackbone("resnet50", in_channels=1, **asked))


class Harmful:
    def __reduce__(self):
        return print, ("code ran",)


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"conv1.weight": Harmful()}))
    with pytest.raises(ValueError, match=r"weights\.pth: not a file of weights that can be read without running code"):
        TimmBackbone("resnet18", weights=path)
    torch.save({"conv1.weight": Harmful()}, path)
    with pytest.raises(ValueError, match="without running code"):
        TimmBackbone("resnet18", weights=path)
    assert "code ran" not in capsys.readouterr().out


def test_weights_of_another_encoder_are_refused_with_the_tensors_names(tmp_path):
    save_file(TimmBackbone("resnet34").body.state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"does not fit this backbone: .* tensors absent.*layer1\.0\.conv3\.weight"):
        TimmBackbone("resnet50", weights=tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet5"}, r"timm has no encoder 'resnet5'; near: resnet50"),
        ({"name": "resnet18", "output_stride": 4}, "output_stride = 4: it must be 8, 16 or 32"),
        ({"name": "resnet18", "width": 0.5, "pretrained": True}, "pretrained weights exist for width 1 only"),
        ({"name": "resnet18c", "pretrained": True}, "resnet18c: timm has no weights for it"),
        ({"name": "efficientnet_b0", "multi_grid": (1, 2)}, "efficientnet_b0 is not a ResNet"),
        ({"name": "efficientnet_b0", "width": 0.5}, "timm cannot take feature maps from it"),
        ({"name": "swin_tiny_patch4_window7_224", "output_stride": 8}, "cannot be dilated to output stride 8; use 32"),
        ({"name": "resnet18", "weights": "nowhere.pth"}, r"nowhere\.pth: there is no such file of weights"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_refused_in_a_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        TimmBackbone(**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("resnet18", lambda: TimmBackbone("resnet18", pretrained=True)),
        ("vgg16_bn", lambda: EncoderOptions(pretrained=True).build(3)),
    ],
)
def test_weights_that_cannot_be_fetched_are_a_line(name, build, monkeypatch):
    def offline(*_, **__):
        raise FileNotFoundError("An error happened while trying to locate the file on the Hub.\nPlease check.")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(ValueError, match=rf"^{name}: .* could not be fetched \(FileNotFoundError\)") as error:
        build()
    assert "\n" not in str(error.value)


def test_the_caffe_layout_strides_in_the_first_1x1_and_rounds_the_stem_up():
    backbone = TimmBackbone("resnet50", caffe=True).eval()
    first = backbone.body.layer2[0]
    assert (first.conv1.stride, first.conv2.stride) == ((2, 2), (1, 1))
    with torch.no_grad():
        assert backbone(torch.randn(1, 3, 62, 62))[1].shape[-2:] == (16, 16)  # 31 pooled, rounding up
    assert all(isinstance(layer, nn.Conv2d) for layer in (first.conv1, first.conv2))
