"""DeepLabv3: what its options mean, and how many parameters the published networks have."""

import pytest
import torch

from segue.layers import ASPP
from segue.layers.aspp import SeparableConvBNReLU
from segue.models import create
from segue.models.deeplabv3 import DeepLabV3


def rates(network):
    return [branch[0].dilation[0] for branch in network.aspp.branches]


def test_rates_are_doubled_at_output_stride_8():
    options = {"num_classes": 5, "backbone": "resnet18", "width": 0.25, "channels": 16}
    assert rates(create("deeplabv3", output_stride=16, **options)) == [1, 6, 12, 18]
    assert rates(create("deeplabv3", output_stride=8, **options)) == [1, 12, 24, 36]
    assert rates(create("deeplabv3", rates=(2, 4), **options)) == [1, 2, 4]


def test_one_picture_is_refused_in_training():
    with pytest.raises(ValueError, match="train with 2 or more pictures at a time"):
        ASPP(8, 4, (1,)).train()(torch.randn(1, 8, 6, 6))


@pytest.mark.parametrize(
    ("options", "millions"),
    [
        ({"backbone": "resnet101"}, 58.0),  # the paper's head
        ({"backbone": "resnet50", "extra_convolution": True}, 39.6),  # torchvision's
        ({"backbone": "resnet101", "extra_convolution": True}, 58.6),
        ({"backbone": "resnet50", "extra_convolution": True, "auxiliary": 0.5}, 42.0),
        ({"backbone": "resnet34", "extra_convolution": True}, 26.0),  # segmentation_models.pytorch's
    ],
)
def test_it_has_as_many_parameters_as_published(options, millions):  # with 21 classes
    with torch.device("meta"):
        network = create("deeplabv3", num_classes=21, **options)
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_separable_branches_are_depthwise_but_for_the_first():
    network = create("deeplabv3", num_classes=5, backbone="resnet18", width=0.25, channels=16)
    separable = DeepLabV3(network.backbone, 5, rates=(6, 12), channels=16, separable=True)
    assert [type(branch) is SeparableConvBNReLU for branch in separable.aspp.branches] == [False, True, True]
    assert separable.eval()(torch.randn(1, 3, 33, 33)).logits.shape == (1, 5, 33, 33)
