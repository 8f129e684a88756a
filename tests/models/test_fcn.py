import math

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torchvision.models.vgg import make_layers

from segue.backbones import VGG16, AlexNet, GoogLeNet
from segue.models.fcn import (
    FCN8s,
    FCN8sAtOnce,
    FCN16s,
    FCN32s,
    GoogLeNetTrunk,
    Upscore,
    VGG16Trunk,
    bilinear_kernel,
    crop,
)

NARROW = (8, 8, 16, 32, 32)  # VGG-16's channels at a width of 1 / 16


def centre(layers, start=0.0, jump=1):
    """The pixel on which cell 0 is centred, by the recurrence: layers are (kernel, stride, padding)."""
    for kernel, stride, padding in layers:
        start += ((kernel - 1) / 2 - padding) * jump
        jump *= stride
    return start


def vgg16_layers(stages):
    layers = [(3, 1, 100)]
    for stage in range(stages):
        convolutions = (2, 2, 3, 3, 3)[stage] - (stage == 0)
        layers += [(3, 1, 1)] * convolutions + [(2, 2, 0)]
    return layers


def test_crop_offsets_put_cells_on_the_same_pixels():
    pool3, pool4 = centre(vgg16_layers(3)), centre(vgg16_layers(4))
    fc6 = centre([*vgg16_layers(5), (7, 1, 0)])
    assert (pool3, pool4, fc6) == (-95.5, -91.5, VGG16Trunk.centre)
    doubled = fc6 - (4 - 1) / 2 * 16
    doubled_twice = doubled - (4 - 1) / 2 * 8
    assert (doubled - pool4) / 16 == 5
    assert (doubled_twice - pool3) / 8 == 9
    assert (32 - 1) / 2 - doubled == 27
    assert (16 - 1) / 2 - doubled_twice == 31


@pytest.mark.parametrize(
    ("backbone", "layers", "kernel", "offset"),
    [
        ("vgg16", [*vgg16_layers(5), (7, 1, 0)], 64, 19),
        (
            "alexnet",
            [(11, 4, 100), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 2, 0), (6, 1, 0)],
            63,
            18,
        ),
        ("googlenet", [(7, 2, 3), (3, 2, 0), (3, 1, 1), (3, 2, 0), (3, 2, 0), (3, 2, 0)], 63, 1),
    ],
)
def test_fcn32s_crops_where_the_picture_begins(backbone, layers, kernel, offset):
    network = FCN32s.build(5, backbone=backbone, width=1 / 16)
    assert network.backbone.centre == centre(layers)
    assert network.upscore32.kernel_size == (kernel, kernel)
    assert network.offset == offset


def test_a_bilinear_kernel_falls_off_in_a_tent():
    even, odd = torch.tensor([0.25, 0.75, 0.75, 0.25]), torch.tensor([0.5, 1.0, 0.5])
    assert torch.equal(bilinear_kernel(4), even[:, None] * even)
    assert torch.equal(bilinear_kernel(3), odd[:, None] * odd)


def test_upscore_starts_as_bilinear_interpolation_of_each_class():
    ramp = torch.arange(5.0).expand(1, 1, 5, 5)
    scores = torch.cat([ramp, -ramp], dim=1)
    with torch.no_grad():
        enlarged = Upscore(2, kernel=4, stride=2, learn=False)(scores)
    expected = F.interpolate(scores, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(crop(enlarged, 1, like=expected)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


@pytest.mark.parametrize("network", [FCN32s, FCN16s, FCN8s, FCN8sAtOnce])
def test_upsampling_learns_only_when_told(network):
    names = {
        name for name, parameter in network.build(5, width=1 / 16).named_parameters() if not parameter.requires_grad
    }
    assert names
    assert all(name.startswith("upscore") for name in names)
    assert all(
        parameter.requires_grad for parameter in network.build(5, width=1 / 16, learn_upsampling=True).parameters()
    )


@pytest.mark.parametrize("network", [FCN32s, FCN16s, FCN8s, FCN8sAtOnce])
def test_scores_start_at_zero_so_the_first_loss_is_ln_k(network):
    built = network.build(5, width=1 / 16)
    target = torch.randint(0, 5, (2, 33, 45))
    terms = built.loss(built(torch.randn(2, 3, 33, 45)), target)
    assert terms["logits"].item() == pytest.approx(math.log(5))


@pytest.mark.parametrize(
    ("network", "backbone"),
    [
        (FCN32s, "vgg16"),
        (FCN32s, "alexnet"),
        (FCN32s, "googlenet"),
        (FCN16s, "vgg16"),
        (FCN8s, "vgg16"),
    ],
)
def test_every_size_from_one_pixel_on_is_covered(network, backbone):
    with torch.device("meta"):  # shapes alone
        built = network.build(5, backbone=backbone, width=1 / 16).eval()
        for side in (1, 2, 3, 15, 16, 17, 30, 31, 32, 33, 64, 66, 95, 96, 97, 98, 127):
            images = torch.empty(1, 3, side, 131 - side)
            assert built(images).logits.shape == (1, 5, side, 131 - side)


@pytest.mark.parametrize(
    ("network", "millions"), [(FCN32s, 134.35), (FCN16s, 134.36), (FCN8s, 134.36), (FCN8sAtOnce, 134.36)]
)
def test_parameters_beside_the_transposed_convolutions_are_those_of_the_paper(network, millions):
    with torch.device("meta"):
        named = network.build(21).named_parameters()
    others = sum(tensor.numel() for name, tensor in named if not name.startswith("upscore"))
    assert others / 1e6 == pytest.approx(millions, abs=0.005)


def test_at_once_differs_by_the_scale_of_the_skips():
    torch.manual_seed(0)
    once, plain = FCN8sAtOnce.build(5, width=1 / 16).eval(), FCN8s.build(5, width=1 / 16).eval()
    for layer in (once.score_fr, once.score_pool4, once.score_pool3):
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    plain.load_state_dict(once.state_dict())
    with torch.no_grad():
        plain.score_pool4.weight *= 0.01
        plain.score_pool3.weight *= 0.0001
        images = torch.randn(1, 3, 40, 50)
        torch.testing.assert_close(once(images).logits, plain(images).logits)


def test_the_coarse_scores_come_back_as_well():
    output = FCN8s.build(5, width=1 / 16)(torch.randn(1, 3, 97, 129))
    assert output.score_fr.shape == (1, 5, 4, 5)


def test_skips_need_a_trunk_that_has_them():
    with pytest.raises(ValueError, match="FCN-16s and FCN-8s are defined on vgg16"):
        FCN16s.build(5, backbone="googlenet", width=1 / 16)
    with pytest.raises(ValueError, match="known: vgg16, alexnet, googlenet"):
        FCN32s.build(5, backbone="resnet50")


class Classifier(nn.Module):
    """torchvision's VGG-16, narrow."""

    def __init__(self, norm=False, fc=256):
        super().__init__()
        one, two, three, four, five = NARROW
        self.features = make_layers(
            [one] * 2 + ["M"] + [two] * 2 + ["M"] + [three] * 3 + ["M"] + [four] * 3 + ["M"] + [five] * 3 + ["M"], norm
        )
        self.classifier = nn.Sequential(
            nn.Linear(five * 49, fc),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(fc, fc),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(fc, 10),
        )


def write(state, path):
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


def check_classifier(trunk, classifier):
    """On a map of 7x7, fc6 and fc7 compute what the fully connected layers do."""
    trunk.eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        features = classifier.features(images)
        for pool in trunk.body.pools:
            assert pool.ceil_mode
        trunk.body.stages["1"][0].padding = (1, 1)
        pooled = trunk.body(images)[-1]
        torch.testing.assert_close(pooled, features, rtol=1e-4, atol=1e-5)
        expected = classifier.classifier[:5].eval()(features.flatten(1))
        torch.testing.assert_close(trunk.classifier(pooled)[..., 0, 0], expected, rtol=1e-4, atol=1e-5)


def test_the_fully_connected_layers_are_carried_over_from_torchvision(tmp_path):
    classifier = Classifier()
    path = write(classifier.state_dict(), tmp_path / "vgg16.safetensors")
    check_classifier(FCN8s.build(5, width=1 / 16, weights=path).backbone, classifier)


def test_the_fully_connected_layers_are_carried_over_from_timm(tmp_path):
    classifier = Classifier()
    state = classifier.state_dict()
    for index, name in ((0, "fc1"), (3, "fc2")):
        weight = state.pop(f"classifier.{index}.weight")
        side = 7 if name == "fc1" else 1
        state[f"pre_logits.{name}.weight"] = weight.reshape(len(weight), -1, side, side)
        state[f"pre_logits.{name}.bias"] = state.pop(f"classifier.{index}.bias")
    torch.save(state, tmp_path / "vgg16.pth")
    check_classifier(FCN32s.build(5, width=1 / 16, weights=tmp_path / "vgg16.pth").backbone, classifier)


def test_the_fully_connected_layers_are_carried_over_from_caffe(tmp_path):
    classifier = Classifier()
    trunk = FCN32s.build(5, width=1 / 16, weights=write(classifier.state_dict(), tmp_path / "a.safetensors")).backbone
    caffe = {".".join(name.split(".")[-2:]): tensor for name, tensor in trunk.state_dict().items()}
    caffe["fc6.weight"], caffe["fc7.weight"] = caffe["fc6.weight"].flatten(1), caffe["fc7.weight"].flatten(1)
    path = write(caffe, tmp_path / "b.safetensors")
    check_classifier(FCN16s.build(5, width=1 / 16, weights=path).backbone, classifier)


def test_weights_are_converted_to_other_channels(tmp_path):
    classifier = Classifier()
    path = write(classifier.state_dict(), tmp_path / "vgg16.safetensors")
    trunk = FCN32s.build(5, width=1 / 16, in_channels=1, weights=path).backbone
    first = trunk.body.stages["1"].conv1_1.weight
    torch.testing.assert_close(first, classifier.features[0].weight.sum(dim=1, keepdim=True))


def test_pretrained_asks_timm_for_vgg16_and_finds_every_tensor(monkeypatch):
    asked = []
    create_model = timm.create_model

    def fetch(name, pretrained):
        asked.append((name, pretrained))
        return create_model(name, pretrained=False)

    monkeypatch.setattr(timm, "create_model", fetch)
    with torch.device("meta"):
        network = FCN32s.build(21, pretrained=True)
    assert asked == [("vgg16", True)]
    assert network.backbone.classifier.fc6.weight.shape == (4096, 512, 7, 7)


def test_weights_that_do_not_fit_are_refused_in_a_line(tmp_path):
    path = write(Classifier(fc=64).state_dict(), tmp_path / "small.safetensors")
    with pytest.raises(
        ValueError, match=r"small.safetensors: does not fit this backbone: 0 tensors absent, 4 of another"
    ):
        FCN32s.build(5, width=1 / 16, weights=path)
    other = write({"stem.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not a VGG-16 of torchvision, timm or Caffe"):
        FCN32s.build(5, width=1 / 16, weights=other)
    with pytest.raises(ValueError, match="pretrained weights exist for width 1 only"):
        FCN32s.build(5, width=1 / 16, pretrained=True)
    with pytest.raises(ValueError, match="drop one"):
        FCN32s.build(5, pretrained=True, weights=path)
    with pytest.raises(ValueError, match="nothing to fetch"):
        FCN32s.build(5, backbone="alexnet", pretrained=True)


def test_alexnet_reads_caffes_tensors(tmp_path):
    source = FCN32s.build(5, backbone="alexnet", width=1 / 16)
    state = {".".join(name.split(".")[-2:]): tensor for name, tensor in source.backbone.state_dict().items()}
    state["fc6.weight"] = state["fc6.weight"].flatten(1)  # as CaffeNet's classifier has it
    path = write(state, tmp_path / "caffenet.safetensors")
    read = FCN32s.build(5, backbone="alexnet", width=1 / 16, weights=path)
    for name, tensor in source.backbone.state_dict().items():
        assert torch.equal(read.backbone.state_dict()[name], tensor), name


def test_googlenet_reads_caffes_tensors(tmp_path):
    source = GoogLeNetTrunk(width=1 / 16)
    own = source.state_dict()
    caffe = {
        "conv1.": "conv1/7x7_s2.",
        "conv2_reduce.": "conv2/3x3_reduce.",
        "conv2.": "conv2/3x3.",
        "inception3.1.conv1x1.": "inception_3b/1x1.",
        "inception3.1.reduce5x5.": "inception_3b/5x5_reduce.",
        "inception4.4.conv3x3.": "inception_4e/3x3.",
        "inception5.0.project.": "inception_5a/pool_proj.",
    }
    state = {}
    for name, tensor in own.items():
        name = name.removeprefix("body.")
        for ours, theirs in caffe.items():
            if name.startswith(ours):
                name = name.replace(ours, theirs)
                break
        state[name] = tensor
    read = FCN32s.build(
        5, backbone="googlenet", width=1 / 16, weights=write(state, tmp_path / "googlenet.safetensors")
    ).backbone
    for name, tensor in own.items():
        assert torch.equal(read.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("backbone", "shapes"),
    [
        (AlexNet, [(96, 27), (256, 13), (256, 6)]),
        (GoogLeNet, [(192, 56), (480, 28), (832, 14), (1024, 7)]),
        (
            lambda: VGG16([nn.MaxPool2d(2, 2) for _ in range(5)]),
            [(64, 112), (128, 56), (256, 28), (512, 14), (512, 7)],
        ),
    ],
)
def test_classifiers_have_the_maps_of_their_papers(backbone, shapes):
    with torch.device("meta"):
        built = backbone()
        side = 227 if isinstance(built, AlexNet) else 224
        maps = built(torch.empty(1, 3, side, side))
    assert [(m.shape[1], m.shape[2]) for m in maps] == shapes
    assert built.channels == tuple(channels for channels, _ in shapes)


def test_googlenet_has_the_parameters_of_its_table():  # with Caffe's biases and 1000 classes
    with torch.device("meta"):
        assert sum(p.numel() for p in GoogLeNet().parameters()) == 6_998_552 - 1_025_000
