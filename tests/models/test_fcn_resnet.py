"""FCN on a ResNet: its heads, and what the network promises beside the contract."""

import pytest
import torch

from segue.models import create
from segue.models.fcn_resnet import ConvolutionHead


@pytest.mark.parametrize(("convolutions", "join"), [(2, True), (1, False), (0, True), (3, False)])
def test_a_head_has_as_many_convolutions_as_told(convolutions, join):
    head = ConvolutionHead(8, 5, 8 if convolutions == 0 else 6, convolutions=convolutions, join=join)
    weights = [parameter for parameter in head.parameters() if parameter.ndim == 4]
    assert len(weights) == convolutions + join + 1
    assert head(torch.randn(2, 8, 7, 9)).shape == (2, 5, 7, 9)


def test_the_auxiliary_loss_has_its_weight():
    torch.manual_seed(0)
    network = create("fcn", num_classes=5, backbone="resnet18", width=0.25, auxiliary=0.3)
    images, target = torch.randn(2, 3, 33, 49), torch.randint(0, 5, (2, 33, 49))
    output = network(images)
    terms = network.loss(output, target)
    assert terms["auxiliary"].item() == pytest.approx(0.3 * network.criterion(output.auxiliary, target).item())
    assert create("fcn", num_classes=5, backbone="resnet18", width=0.25, auxiliary=0.0).auxiliary is None
