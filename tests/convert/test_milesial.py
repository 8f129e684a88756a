import pytest
import torch

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
