"""Blocks that two or more networks use unchanged. They know torch and nothing else of this package."""

from segue.layers.aspp import ASPP
from segue.layers.convolution import ConvBNReLU, FCNHead
from segue.layers.resize import resize

__all__ = ["ASPP", "ConvBNReLU", "FCNHead", "resize"]
