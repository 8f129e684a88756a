import pytest
import torch
import torch.nn.functional as F

import parity
from segue.convert import ConversionError, load_reference


@pytest.mark.parametrize("name", ["unet", "unet_bilinear"])
def test_numbers_are_the_references(name):
    fixture = parity.load(name)
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"])
    with torch.inference_mode():
        fixture.check("logits", network(fixture.image()).logits, 1e-5)
        fixture.check("bottleneck", network.contract(fixture.image())[-1][:, :16], 1e-5)


def test_the_form_shows_in_the_tensors():
    fixture = parity.load("unet_bilinear")
    assert not list(load_reference(fixture.weights()).upsample.parameters())


def test_the_masks_values_are_no_weights():
    state = parity.load("unet").weights() | {"mask_values": torch.tensor([0, 1])}
    network = load_reference(state)
    assert network.unused_tensors == ("mask_values",)


def test_one_score_becomes_two_whose_softmax_is_its_sigmoid():
    state = parity.load("unet").weights()
    images = parity.load("unet").image()[..., :32, :48]
    several = load_reference(state)
    binary = load_reference(state | {name: state[name][:1] for name in ("outc.conv.weight", "outc.conv.bias")})
    assert binary.num_classes == 2
    with torch.inference_mode():
        score, probability = several(images).logits[:, 0], binary(images).logits.softmax(dim=1)[:, 1]
    torch.testing.assert_close(probability, score.sigmoid())


def test_a_tensor_too_many_is_named():
    state = parity.load("unet").weights() | {"extra.weight": torch.zeros(1)}
    with pytest.raises(ConversionError, match=r"1 tensors without a place: extra\.weight"):
        load_reference(state)


def test_biases_before_batch_norm_as_the_first_version_had_them():
    fixture = parity.load("unet_bilinear")
    state, shifted = fixture.weights(), fixture.weights()
    for name, tensor in state.items():
        if name.endswith("running_mean"):
            before, index, _ = name.rsplit(".", 2)
            bias = torch.randn(len(tensor))
            shifted[name] = tensor + bias
            shifted[f"{before}.{int(index) - 1}.bias"] = bias
    images = fixture.image()[..., :33, :40]
    with torch.no_grad():
        expected, logits = (load_reference(one, "milesial/Pytorch-UNet")(images).logits for one in (state, shifted))
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)


def first_release(name):
    """What the releases of 2018 call a tensor."""
    name = name.replace("inc.double_conv.", "inc.conv.conv.").replace("maxpool_conv.1.double_conv.", "mpconv.1.conv.")
    return name.replace("conv.double_conv.", "conv.conv.")


def test_the_names_of_the_first_release_are_known():
    fixture = parity.load("unet")
    state = {first_release(name): tensor for name, tensor in fixture.weights().items()}
    with torch.no_grad():
        fixture.check("logits", load_reference(state)(fixture.image()).logits, 1e-5)


def test_the_first_release_narrows_at_once_behind_a_bilinear_enlargement():
    generator = torch.Generator().manual_seed(0)
    state = {}

    def double(name, before, after):
        for index, width in ((0, before), (3, after)):
            state[f"{name}.{index}.weight"] = torch.randn(after, width, 3, 3, generator=generator) * 0.1
            state[f"{name}.{index}.bias"] = torch.randn(after, generator=generator)
            for leaf in ("weight", "bias", "running_mean", "running_var"):
                state[f"{name}.{index + 1}.{leaf}"] = torch.rand(after, generator=generator) + 0.5

    def apply(name, maps):
        for index in (0, 3):
            maps = F.conv2d(maps, state[f"{name}.{index}.weight"], state[f"{name}.{index}.bias"], padding=1)
            norm = [state[f"{name}.{index + 1}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")]
            maps = F.relu(F.batch_norm(maps, *norm))
        return maps

    contracting = {"inc.conv.conv": (3, 4), "down1.mpconv.1.conv": (4, 8), "down2.mpconv.1.conv": (8, 8)}
    for name, widths in {**contracting, "up1.conv.conv": (16, 4), "up2.conv.conv": (8, 4)}.items():
        double(name, *widths)
    state["outc.conv.weight"], state["outc.conv.bias"] = torch.randn(3, 4, 1, 1, generator=generator), torch.ones(3)
    images = torch.randn(1, 3, 16, 24, generator=generator)
    maps = []
    for level, name in enumerate(contracting):
        maps.append(apply(name, F.max_pool2d(maps[-1], 2) if level else images))
    last = maps.pop()
    for name in ("up1.conv.conv", "up2.conv.conv"):
        enlarged = F.interpolate(last, scale_factor=2, mode="bilinear", align_corners=True)
        last = apply(name, torch.cat([maps.pop(), enlarged], dim=1))
    expected = F.conv2d(last, state["outc.conv.weight"], state["outc.conv.bias"])
    with torch.no_grad():
        torch.testing.assert_close(load_reference(state)(images).logits, expected, rtol=1e-4, atol=1e-4)


def test_the_form_before_batch_norm_is_not_taken_for_it():
    state = {f"inc.conv.conv.{index}.weight": torch.zeros(4, 4, 3, 3) for index in (0, 2)}
    with pytest.raises(ConversionError, match="none of its networks known here"):
        load_reference({**state, "outc.conv.weight": torch.zeros(2, 4, 1, 1)}, "milesial/Pytorch-UNet")
