import pytest
import torch
import torch.nn.functional as F

import parity
from segue.convert import ConversionError, load_reference
from segue.models.fcn import FCN8s, FCN8sAtOnce, FCN16s, FCN32s, Upscore

NAMES = {
    "fcn32s_vgg16": (FCN32s, {"upscore": (64, 32)}),
    "fcn16s_vgg16": (FCN16s, {"upscore2": (4, 2), "upscore16": (32, 16)}),
    "fcn8s_vgg16": (FCN8s, {"upscore2": (4, 2), "upscore_pool4": (4, 2), "upscore8": (16, 8)}),
    "fcn8s_atonce_vgg16": (FCN8sAtOnce, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_the_references(name):
    fixture = parity.load(name)
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"])
    assert type(network) is NAMES[name][0]
    with torch.inference_mode():
        output = network(fixture.image())
    fixture.check("logits", output.logits, 1e-5)
    fixture.check("score_fr", output.score_fr, 1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_transposed_convolutions_start_where_the_reference_does(name):
    fixture = parity.load(name)
    for upscore, (kernel, stride) in NAMES[name][1].items():
        weight = Upscore(2, kernel, stride, learn=False).weight
        fixture.check(f"init_{upscore}", weight.reshape(4 * kernel, kernel), 1e-6)


SHAPES = {"upscore2": 4, "upscore_pool4": 4, "upscore8": 16, "upscore16": 32, "upscore": 64}


def narrow_state(kind, num_classes=4, in_channels=2):
    """Random tensors by the reference's names; channels 4, 6, 8, 10, 12, fully connected 14."""
    generator = torch.Generator().manual_seed(0)
    state = {}

    def add(name, *shape, bias=True):
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / torch.Size(shape[1:]).numel()) ** 0.5
        if bias:
            state[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.1

    before = in_channels
    for stage, (channels, depth) in enumerate(zip((4, 6, 8, 10, 12), (2, 2, 3, 3, 3), strict=True), start=1):
        for index in range(1, depth + 1):
            add(f"conv{stage}_{index}", channels, before, 3, 3)
            before = channels
    add("fc6", 14, 12, 7, 7)
    add("fc7", 14, 14, 1, 1)
    add("score_fr", num_classes, 14, 1, 1)
    if kind != "32s":
        add("score_pool4", num_classes, 10, 1, 1)
    if kind.startswith("8s"):
        add("score_pool3", num_classes, 8, 1, 1)
    upscores = {"32s": ["upscore"], "16s": ["upscore2", "upscore16"]}
    for name in upscores.get(kind, ["upscore2", "upscore_pool4", "upscore8"]):
        add(name, num_classes, num_classes, SHAPES[name], SHAPES[name], bias=False)
    return state


def definition(state, images, kind):
    """The authors' definition, layer by layer."""

    def conv(name, maps, padding=0):
        return F.conv2d(maps, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    def up(name, maps, stride):
        return F.conv_transpose2d(maps, state[f"{name}.weight"], stride=stride)

    def cut(maps, offset, like):
        return maps[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]

    maps, pooled = images, {}
    for stage, depth in enumerate((2, 2, 3, 3, 3), start=1):
        for index in range(1, depth + 1):
            maps = F.relu(conv(f"conv{stage}_{index}", maps, 100 if (stage, index) == (1, 1) else 1))
        maps = F.max_pool2d(maps, 2, stride=2, ceil_mode=True)
        pooled[stage] = maps
    scores = conv("score_fr", F.relu(conv("fc7", F.relu(conv("fc6", maps)))))
    if kind == "32s":
        return cut(up("upscore", scores, 32), 19, images)
    four, three = (0.01, 0.0001) if kind == "8s at once" else (1, 1)
    scores = up("upscore2", scores, 2)
    scores = scores + cut(conv("score_pool4", four * pooled[4]), 5, scores)
    if kind == "16s":
        return cut(up("upscore16", scores, 16), 27, images)
    scores = up("upscore_pool4", scores, 2)
    scores = scores + cut(conv("score_pool3", three * pooled[3]), 9, scores)
    return cut(up("upscore8", scores, 8), 31, images)


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("32s", "wkentaro/pytorch-fcn torchfcn.models.FCN32s"),
        ("16s", "wkentaro/pytorch-fcn torchfcn.models.FCN16s"),
        ("8s", "wkentaro/pytorch-fcn torchfcn.models.FCN8s"),
        ("8s at once", "wkentaro/pytorch-fcn torchfcn.models.FCN8sAtOnce"),
    ],
)
@pytest.mark.parametrize("size", [(30, 47), (64, 1)])
def test_any_width_class_count_and_channels_convert(kind, source, size):
    state = narrow_state(kind)
    network = load_reference(state, source, {"n_class": 4})
    images = torch.randn(2, 2, *size)
    with torch.no_grad():
        torch.testing.assert_close(network(images).logits, definition(state, images, kind), rtol=1e-4, atol=1e-5)


def test_without_a_name_fcn8s_is_the_plain_one():
    assert type(load_reference(narrow_state("8s"))) is FCN8s


def test_a_missing_tensor_is_named():
    state = narrow_state("16s")
    del state["conv4_2.bias"]
    with pytest.raises(ConversionError, match=r"1 places without a tensor: backbone\.body\.stages\.4\.conv4_2\.bias"):
        load_reference(state, "wkentaro/pytorch-fcn")
