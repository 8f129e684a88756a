"""What every network must do, whatever its paper: the contract of `segue.models.network`."""

import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from parity import is_statistic, load
from segue.labels import IGNORE
from segue.models import MODELS, Progress, create
from segue.models.kinds import is_kind

CLASSES = 5
SMALL = {"backbone": "resnet18", "width": 0.25}
CASES = {
    "danet": ("danet", {**SMALL, "auxiliary": 0.4}),
    "danet, stride 32": ("danet", {**SMALL, "output_stride": 32}),
    "deeplabv1": ("deeplabv1", {"width": 1 / 16}),
    "deeplabv2": ("deeplabv2", SMALL),
    "deeplabv2, three scales": ("deeplabv2_msc", SMALL),
    "deeplabv3": ("deeplabv3", {**SMALL, "channels": 16, "auxiliary": 0.4}),
    "dfn": ("dfn", {**SMALL, "channels": 16, "border_channels": 4}),
    "dfn, narrow": ("dfn_narrow", SMALL),
    "fcn": ("fcn", SMALL),
    "fcn8s": ("fcn8s", {"width": 1 / 16}),
    "fcn8s, learned upsampling": ("fcn8s", {"width": 1 / 16, "learn_upsampling": True}),
    "fcn8s at once": ("fcn8s_atonce", {"width": 1 / 16}),
    "fcn16s": ("fcn16s", {"width": 1 / 16}),
    "fcn32s": ("fcn32s", {"width": 1 / 16}),
    "fcn32s, AlexNet": ("fcn32s", {"width": 1 / 16, "backbone": "alexnet"}),
    "fcn32s, GoogLeNet": ("fcn32s", {"width": 1 / 8, "backbone": "googlenet"}),
    "deeplabv2, VGG-16": ("deeplabv2", {"width": 1 / 16, "backbone": "vgg16"}),
    "deeplabv2, three scales, corners": ("deeplabv2_msc", {**SMALL, "corners": True}),
    "mcibi": ("mcibi", {"backbone": "resnet18c", "width": 0.25, "channels": 16, "transform_channels": 8}),
    "ocrnet": ("ocrnet", {**SMALL, "channels": 16, "transform_channels": 8}),
    "pspnet": ("pspnet", {**SMALL, "channels": 16}),
    "refinenet": ("refinenet", {**SMALL, "channels": 16}),
    "refinenet, improved pooling": ("refinenet", {**SMALL, "channels": 16, "conv_first": True}),
    "refinenet, two cascades": ("refinenet", {**SMALL, "channels": 16, "cascade": 2}),
    "segnet": ("segnet", {"width": 1 / 16}),
    "segnet, basic": ("segnet_basic", {"width": 1 / 8}),
    "unet": ("unet", {"width": 1 / 16}),
    "unet, bilinear": ("unet", {"width": 1 / 16, "bilinear": True}),
    "unet, encoder": ("unet", {**SMALL, "channels": (32, 16, 16, 8, 8)}),
    "unet, valid": ("unet", {"width": 1 / 16, "valid": True}),
    "upernet": ("upernet", {**SMALL, "channels": 16}),
}
"""Small ones of every network: (its name, options)."""
POOL_THE_WHOLE_IMAGE = {"deeplabv3", "dfn", "mcibi", "pspnet", "upernet"}
"""Those with BatchNorm behind a global average."""
every_network = pytest.mark.parametrize("case", CASES)


def build(case, in_channels=3):
    name, options = CASES[case]
    torch.manual_seed(0)
    network = create(name, num_classes=CLASSES, in_channels=in_channels, **options)
    # Gates that start at zero would hide what is behind them.
    for parameter in network.parameters():
        if (parameter == 0).all():
            nn.init.uniform_(parameter.data, 0.25, 0.5)
    return network


def draw(batch=2, in_channels=3, size=(65, 47)):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(batch, in_channels, *size, generator=generator)
    target = torch.randint(0, CLASSES, (batch, *size), generator=generator)
    target[:, :5] = IGNORE
    return images, target


def check_output(output, images):
    assert isinstance(output, tuple)
    assert output._fields[0] == "logits"
    assert output.logits.shape == (len(images), CLASSES, *images.shape[-2:])
    assert output.logits.dtype == torch.float32
    assert output.logits.isfinite().all()


def training_step(network, images, target):
    """Forward, observe and loss, as the training loop calls them."""
    network.train()
    output = network(images)
    with torch.no_grad():
        network.observe(output, target, Progress(step=0, total_steps=10, epoch=0, lr=0.01, base_lr=0.01))
    return output, network.loss(output, target)


def test_the_cases_cover_every_network():
    assert {name for name, _ in CASES.values()} == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_the_options_that_a_network_tells_are_those_that_it_takes(name):
    options = MODELS[name].options()
    assert {"in_channels", "criterion"} <= options.keys()
    with torch.device("meta"):
        plain, told = create(name, CLASSES), create(name, CLASSES, **options)
    assert repr(told) == repr(plain)
    with pytest.raises(ValueError, match=rf"there is no option of {name} 'in_chanels'; did you mean 'in_channels'\?"):
        create(name, CLASSES, in_chanels=3)


@pytest.mark.parametrize("name", MODELS)
def test_a_value_of_another_kind_is_refused(name):
    assert MODELS[name].kinds().keys() == MODELS[name].options().keys()
    for key, default in MODELS[name].options().items():
        wrong = object() if key != "backbone" else 50
        with pytest.raises(ValueError, match=rf"^{key} = {re.escape(repr(wrong))}: it must be \w"):
            create(name, CLASSES, **{key: wrong})
        assert is_kind(default, MODELS[name].kinds()[key]) or default is None


@pytest.mark.parametrize(
    ("value", "kind", "fits"),
    [
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        (1, float, True),
        (True, float, False),
        (1, bool, False),
        ((1, 2), Sequence[int], True),
        ([1, 2.5], Sequence[int], False),
        ([1, 2.5], Sequence[float], True),
        ("12", Sequence[str], False),
        (None, float | None, True),
        ("x", float | None, False),
        (Path("x"), str | Path | None, True),
    ],
)
def test_kinds_of_values(value, kind, fits):
    assert is_kind(value, kind) == fits


REFERENCES = [
    ("danet", {"backbone": "resnet50"}, "danet_resnet50", 0),
    ("danet", {"backbone": "resnet50c", "auxiliary": 0.4}, "danet_mmseg_resnet50_v1c", 0),
    ("deeplabv1", {}, "deeplabv1_largefov_vgg16", 0),
    ("deeplabv2", {}, "deeplabv2_resnet101", 0),
    ("deeplabv2", {"backbone": "vgg16"}, "deeplabv2_aspp_vgg16", 0),
    ("deeplabv2_msc", {}, "deeplabv2_resnet101_msc", 0),
    ("deeplabv3", {}, "deeplabv3_resnet101_os16_multigrid", 0),
    ("dfn", {}, "dfn_resnet101", 21 * 21 * 19 + 2 * 21),  # an RRB that nothing reads
    ("dfn_narrow", {}, "dfn_seed_resnet101", -(64 * 64 * 9 + 2 * 64)),  # a stem of two convolutions there, three here
    ("fcn", {}, "fcn_torchvision_resnet50", 0),
    ("fcn16s", {}, "fcn16s_vgg16", 0),
    ("fcn32s", {}, "fcn32s_vgg16", 0),
    ("fcn32s", {"backbone": "alexnet"}, "fcn32s_alexnet", 0),
    ("fcn8s", {}, "fcn8s_vgg16", 0),
    ("fcn8s_atonce", {}, "fcn8s_atonce_vgg16", 0),
    *(
        ("mcibi", {"context": context}, f"mcibi_{context}_resnet50", 7 * 512)  # the memory, which is no parameter here
        for context in ("none", "ppm", "aspp", "ocr", "upernet")
    ),
    ("ocrnet", {"backbone": "resnet50c"}, "ocrnet_mmseg_resnet50", 0),
    ("pspnet", {"backbone": "resnet50c"}, "pspnet_mmseg_resnet50", 0),
    ("refinenet", {}, "refinenet_drsleep_resnet101", 0),
    ("segnet", {}, "segnet_vgg16", 0),
    ("segnet_basic", {}, "segnet_basic", 0),
    ("unet", {}, "unet", 0),
    ("unet", {"bilinear": True}, "unet_bilinear", 0),
    ("unet", {"valid": True}, "unet_valid", 0),
    ("unet", {"backbone": "resnet34"}, "unet_smp_resnet34", 0),
    ("upernet", {"backbone": "resnet50c"}, "upernet_mmseg_resnet50", 0),
]
"""A network, the options with which it is that of a reference, and how many parameters more the reference has."""


def parameters(name, num_classes, options):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in create(name, num_classes, **options).parameters())


@pytest.mark.parametrize(("name", "options", "fixture", "more"), REFERENCES)
def test_it_has_as_many_parameters_as_the_reference(name, options, fixture, more):
    reference = load(fixture)
    tensors = {tensor: shape for tensor, shape in reference.spec["state"].items() if not is_statistic(tensor)}
    wanted = sum(math.prod(shape) for shape in tensors.values())
    assert parameters(name, reference.num_classes, options) == wanted - more


def test_every_network_has_a_reference_for_its_parameters():
    assert {name for name, *_ in REFERENCES} == set(MODELS)


@pytest.mark.parametrize(
    ("name", "num_classes", "options", "published"),
    [
        ("deeplabv1", 21, {}, 20.5),
        ("deeplabv2", 21, {}, 44.0),
        ("deeplabv3", 21, {}, 58.0),
        ("deeplabv3", 21, {"backbone": "resnet50", "extra_convolution": True}, 39.6),  # torchvision's
        ("deeplabv3", 21, {"backbone": "resnet50", "extra_convolution": True, "auxiliary": 0.5}, 42.0),
        ("deeplabv3", 21, {"extra_convolution": True}, 58.6),
        ("deeplabv3", 21, {"backbone": "resnet34", "extra_convolution": True}, 26.0),  # segmentation_models.pytorch's
        ("fcn32s", 21, {}, 136.15),
        ("fcn16s", 21, {}, 134.82),
        ("fcn8s", 21, {}, 134.49),
        ("fcn8s_atonce", 21, {}, 134.49),
        ("segnet", 11, {}, 29.45),
        ("segnet_basic", 11, {}, 1.417),
        ("unet", 2, {"valid": True, "in_channels": 1}, 31.030658),
        ("unet", 2, {}, 31.037698),
        ("unet", 2, {"bilinear": True}, 17.263042),
    ],
)
def test_it_has_as_many_million_parameters_as_published(name, num_classes, options, published):
    digits = len(str(published).partition(".")[2])
    assert round(parameters(name, num_classes, options) / 1e6, digits) == published


@every_network
@pytest.mark.parametrize("size", [(64, 64), (65, 47), (33, 70)])
def test_logits_have_the_images_size_for_one_image_too(case, size):
    network = build(case).eval()
    images, _ = draw(batch=1, size=size)
    with torch.inference_mode():
        check_output(network(images), images)


@every_network
def test_training_and_evaluation_give_the_same_type(case):
    network = build(case)
    images, _ = draw()
    trained = network.train()(images)
    check_output(trained, images)
    with torch.no_grad():
        evaluated = network.eval()(images)
    assert type(trained) is type(evaluated)
    network.all_outputs = True
    with torch.no_grad():
        every = network(images)
    assert [field is None for field in every] == [field is None for field in trained]
    torch.testing.assert_close(every.logits, evaluated.logits)


@every_network
def test_one_image_trains_or_is_refused_in_a_line_where_batchnorm_meets_a_map_of_one_pixel(case):
    network = build(case)
    images, target = draw(batch=1)
    if CASES[case][0] in POOL_THE_WHOLE_IMAGE:
        with pytest.raises(ValueError, match="train with 2 or more pictures at a time") as refusal:
            training_step(network, images, target)
        assert "\n" not in str(refusal.value)
        return
    output, terms = training_step(network, images, target)
    check_output(output, images)
    assert sum(terms.values()).isfinite()


@every_network
def test_gradients_reach_every_parameter(case):
    network = build(case)
    training_step(network, *draw())  # a memory has nothing to give before it has seen anything
    _, terms = training_step(network, *draw())
    assert all(term.shape == () and term > 0 for term in terms.values())
    sum(terms.values()).backward()
    missed = [
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not (parameter.grad != 0).any())
    ]
    assert not missed
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in network.parameters())


@every_network
def test_the_criterion_that_is_asked_for_judges_the_logits(case):
    name, options = CASES[case]
    network = create(name, CLASSES, criterion=lambda logits, target: 0 * logits.sum() + 7, **options)
    _, terms = training_step(network, *draw())
    assert terms["logits"] == 7


@every_network
def test_a_target_of_ignored_pixels_costs_nothing(case):
    network = build(case)
    images, target = draw()
    _, terms = training_step(network, images, torch.full_like(target, IGNORE))
    assert {name: term.item() for name, term in terms.items()} == dict.fromkeys(terms, 0.0)
    sum(terms.values()).backward()
    assert all(parameter.grad is None or (parameter.grad == 0).all() for parameter in network.parameters())


@every_network
@pytest.mark.parametrize("in_channels", [1, 4])
def test_images_may_have_other_channels(case, in_channels):
    network = build(case, in_channels).eval()
    assert network.in_channels == in_channels
    images, _ = draw(batch=1, in_channels=in_channels)
    with torch.inference_mode():
        check_output(network(images), images)


@every_network
def test_a_saved_network_gives_the_same_logits(case, tmp_path):
    network = build(case).eval()
    images, _ = draw()
    path = tmp_path / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    again = build(case).eval()
    for parameter in again.parameters():
        parameter.data.zero_()
    again.load_state_dict(load_file(path))
    with torch.inference_mode():
        assert torch.equal(again(images).logits, network(images).logits)


@every_network
def test_torch_export_accepts_it(case):
    network = build(case).eval()
    images, _ = draw(batch=1)
    exported = torch.export.export(network, (images,), strict=False).module()
    others = images.flip(-1)
    with torch.no_grad():
        torch.testing.assert_close(exported(others).logits, network(others).logits)


@every_network
def test_torch_compile_accepts_it(case):
    network = build(case).eval()
    images, target = draw()
    torch._dynamo.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(images).logits, network(images).logits, rtol=1e-3, atol=1e-3)
    network.train()
    sum(network.loss(compiled(images), target).values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("case", ["danet", "unet"])
def test_inductor_computes_the_same(case):
    network = build(case).eval()
    images, _ = draw()
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(network)(images).logits
        torch.testing.assert_close(compiled, network(images).logits, rtol=1e-3, atol=1e-4)
