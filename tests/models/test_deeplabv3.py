"""DeepLabv3: what its options mean."""

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


def test_separable_branches_are_depthwise_but_for_the_first():
    network = create("deeplabv3", num_classes=5, backbone="resnet18", width=0.25, channels=16)
    separable = DeepLabV3(network.backbone, 5, rates=(6, 12), channels=16, separable=True)
    assert [type(branch) is SeparableConvBNReLU for branch in separable.aspp.branches] == [False, True, True]
    assert separable.eval()(torch.randn(1, 3, 33, 33)).logits.shape == (1, 5, 33, 33)
