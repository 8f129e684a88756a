"""PSPNet: pyramid pooling by hand, and what the network promises beside the contract."""

import pytest
import torch
from torch import nn

from segue.layers import PPM
from segue.models import create
from segue.models.pspnet import LightPPM


def plain(block):
    """BatchNorm and ReLU away, and every 1x1 convolution the identity: only pooling, enlarging and order are left."""
    for part in block.project:
        nn.init.ones_(part[0].weight)
        if part[0].bias is not None:
            nn.init.zeros_(part[0].bias)
    return block.eval()


def test_each_grid_holds_the_means_of_its_cells():
    features = torch.arange(16.0).view(1, 1, 4, 4)
    ppm = plain(PPM(1, 1, bins=(1, 4)))
    joined = []
    ppm.fuse.register_forward_pre_hook(lambda module, inputs: joined.append(inputs[0][0]))
    ppm(features)
    whole, mean, same = joined[0]  # the input first
    assert torch.equal(whole, features[0, 0])
    torch.testing.assert_close(mean, torch.full((4, 4), 7.5), rtol=1e-4, atol=0)
    torch.testing.assert_close(same, features[0, 0], rtol=1e-4, atol=0)


def test_the_light_pyramid_puts_the_input_last_and_aligns_corners():
    features = torch.tensor([[[[0.0, 0.0, 6.0, 6.0]]]]).expand(1, 2, 4, 4)
    ppm = plain(LightPPM(2, 4, bins=(1, 2)))
    joined = []
    ppm.fuse.register_forward_pre_hook(lambda module, inputs: joined.append(inputs[0][0, :, 0]))
    ppm(features / 2)  # each convolution adds two channels up
    expected = torch.tensor([[3.0, 3, 3, 3], [0, 2, 4, 6], [0, 0, 3, 3], [0, 0, 3, 3]])
    torch.testing.assert_close(joined[0], expected, rtol=1e-4, atol=1e-4)


def test_one_picture_is_refused_in_training_but_not_by_the_light_pyramid():
    features = torch.randn(1, 8, 6, 6)
    with pytest.raises(ValueError, match="train with 2 or more pictures at a time"):
        PPM(8, 4).train()(features)
    assert PPM(8, 4).eval()(features).shape == (1, 4, 6, 6)
    assert LightPPM(8, 4).train()(features).shape == (1, 4, 6, 6)


def test_the_auxiliary_head_can_be_left_out():
    options = {"num_classes": 5, "backbone": "resnet18", "width": 0.25, "channels": 16}
    assert create("pspnet", auxiliary=0.0, **options).auxiliary is None
    network = create("pspnet", **options)
    images, target = torch.randn(2, 3, 48, 48), torch.randint(0, 5, (2, 48, 48))
    output = network(images)
    terms = network.loss(output, target)
    full = network.criterion(output.auxiliary, target)
    assert terms["auxiliary"].item() == pytest.approx(0.4 * full.item())
    assert network.eval()(images).auxiliary is None
