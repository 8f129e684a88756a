import pytest
import torch
import torch.nn.functional as F

import parity
from segue.convert import load_reference

SOURCE = "jvanvugt/pytorch-unet unet.UNet"


def test_the_padded_forms_numbers_are_the_references():
    fixture = parity.load("unet_padded")
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"])
    with torch.inference_mode():
        fixture.check("logits", network(fixture.image()).logits, 1e-5)


def test_the_valid_forms_numbers_are_the_references():
    fixture = parity.load("unet_valid")
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"])
    with torch.inference_mode():
        fixture.check("logits", network.valid_logits(fixture.image()), 1e-5)
        assert network(fixture.image()).logits.shape[-2:] == (220, 252)


def reference_state(depth, wf, up_mode, batch_norm, num_classes=3, in_channels=2):
    """Random tensors by the reference's names."""
    generator = torch.Generator().manual_seed(0)
    state = {}

    def add(name, *shape, out=0):
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / torch.Size(shape[1:]).numel()) ** 0.5
        state[f"{name}.bias"] = torch.randn(shape[out], generator=generator) * 0.1

    def block(name, before, channels):
        step = 3 if batch_norm else 2
        for index, width in enumerate((before, channels)):
            add(f"{name}.{index * step}", channels, width, 3, 3)
            if batch_norm:
                norm = f"{name}.{index * step + 2}"
                state[f"{norm}.weight"] = torch.rand(channels, generator=generator) + 0.5
                state[f"{norm}.bias"] = torch.randn(channels, generator=generator) * 0.1
                state[f"{norm}.running_mean"] = torch.randn(channels, generator=generator) * 0.1
                state[f"{norm}.running_var"] = torch.rand(channels, generator=generator) + 0.5
                state[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    widths = [2 ** (wf + level) for level in range(depth)]
    before = in_channels
    for level, width in enumerate(widths):
        block(f"down_path.{level}.block", before, width)
        before = width
    for index, width in enumerate(reversed(widths[:-1])):
        if up_mode == "upconv":
            add(f"up_path.{index}.up", before, width, 2, 2, out=1)
        else:
            add(f"up_path.{index}.up.1", width, before, 1, 1)
        block(f"up_path.{index}.conv_block.block", before, width)
        before = width
    add("last", num_classes, before, 1, 1)
    return state


def definition(state, images, depth, padding, up_mode, batch_norm):
    """The reference's forward, written with functions."""

    def block(name, maps):
        step = 3 if batch_norm else 2
        for index in (0, step):
            maps = F.conv2d(maps, state[f"{name}.{index}.weight"], state[f"{name}.{index}.bias"], padding=int(padding))
            maps = F.relu(maps)
            if batch_norm:
                norm = f"{name}.{index + 2}"
                maps = F.batch_norm(
                    maps,
                    state[f"{norm}.running_mean"],
                    state[f"{norm}.running_var"],
                    state[f"{norm}.weight"],
                    state[f"{norm}.bias"],
                )
        return maps

    maps, skips = images, []
    for level in range(depth):
        maps = block(f"down_path.{level}.block", maps)
        if level < depth - 1:
            skips.append(maps)
            maps = F.max_pool2d(maps, 2)
    for index in range(depth - 1):
        name = f"up_path.{index}.up"
        if up_mode == "upconv":
            maps = F.conv_transpose2d(maps, state[f"{name}.weight"], state[f"{name}.bias"], stride=2)
        else:
            maps = F.interpolate(maps, scale_factor=2, mode="bilinear")
            maps = F.conv2d(maps, state[f"{name}.1.weight"], state[f"{name}.1.bias"])
        skip = skips[-1 - index]
        top, left = (skip.shape[2] - maps.shape[2]) // 2, (skip.shape[3] - maps.shape[3]) // 2
        skip = skip[:, :, top : top + maps.shape[2], left : left + maps.shape[3]]
        maps = block(f"up_path.{index}.conv_block.block", torch.cat([maps, skip], dim=1))
    return F.conv2d(maps, state["last.weight"], state["last.bias"])


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("up_mode", ["upconv", "upsample"])
@pytest.mark.parametrize(("depth", "wf"), [(2, 3), (4, 2), (5, 1)])
def test_every_argument_of_the_reference_converts(depth, wf, up_mode, batch_norm):
    state = reference_state(depth, wf, up_mode, batch_norm)
    args = {"depth": depth, "wf": wf, "up_mode": up_mode, "batch_norm": batch_norm}
    smallest, multiple = 12 * 2 ** (depth - 1) - 4, 2 ** (depth - 1)
    images = torch.randn(1, 2, smallest, smallest + multiple)
    with torch.no_grad():
        network = load_reference(state, SOURCE, {**args, "padding": False})
        expected = definition(state, images, depth, False, up_mode, batch_norm)
        torch.testing.assert_close(network.valid_logits(images), expected, rtol=1e-4, atol=1e-5)
        network = load_reference(state, SOURCE, {**args, "padding": True})
        images = images[..., : 2 * multiple, : 3 * multiple]
        expected = definition(state, images, depth, True, up_mode, batch_norm)
        torch.testing.assert_close(network(images).logits, expected, rtol=1e-4, atol=1e-5)


def test_the_reference_is_valid_unless_told_otherwise():
    network = load_reference(reference_state(2, 2, "upconv", False))
    assert network.padding == 0
    assert network.dropout.p == 0
