"""What every network must do, whatever its paper: the contract of `segue.models.network`."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from segue.labels import IGNORE
from segue.models import MODELS, Progress, create

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
    "refinenet, improved": ("refinenet_improved", {**SMALL, "channels": 16}),
    "refinenet, two cascades": ("refinenet", {**SMALL, "channels": 16, "cascade": 2}),
    "segnet": ("segnet", {"width": 1 / 16}),
    "segnet, basic": ("segnet_basic", {"width": 1 / 8}),
    "unet": ("unet", {"width": 1 / 16}),
    "unet, bilinear": ("unet", {"width": 1 / 16, "bilinear": True}),
    "unet, encoder": ("unet", {**SMALL, "channels": (32, 16, 16, 8, 8)}),
    "unet, valid": ("unet", {"width": 1 / 16, "valid": True}),
    "upernet": ("upernet", {**SMALL, "channels": 16}),
}
"""Small ones of every network: (its name, options of its `build`)."""
CASES = {case: (name, options) for case, (name, options) in CASES.items() if name in MODELS}
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
def test_one_image_trains_or_is_refused_in_a_line(case):
    network = build(case)
    images, target = draw(batch=1)
    try:
        output, terms = training_step(network, images, target)
    except ValueError as error:
        refusal = str(error)
    else:
        check_output(output, images)
        assert sum(terms.values()).isfinite()
        return
    assert "\n" not in refusal
    assert "train with 2 or more pictures at a time" in refusal


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
