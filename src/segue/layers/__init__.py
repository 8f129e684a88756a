"""Blocks that two or more networks use unchanged. They know torch and nothing else of this package."""

from segue.layers.alignment import AlignedAreas, AlignedCorners, Alignment
from segue.layers.aspp import ASPP, ImagePooling
from segue.layers.attention import attend, attention_rows
from segue.layers.context_attention import ContextAttention
from segue.layers.convolution import ConvBNReLU, FCNHead
from segue.layers.he import he_initialise
from segue.layers.object_context import ObjectContext
from segue.layers.ppm import PPM
from segue.layers.pyramid import FusedPyramid
from segue.layers.resize import resize

__all__ = [
    "ASPP",
    "PPM",
    "AlignedAreas",
    "AlignedCorners",
    "Alignment",
    "ContextAttention",
    "ConvBNReLU",
    "FCNHead",
    "FusedPyramid",
    "ImagePooling",
    "ObjectContext",
    "attend",
    "attention_rows",
    "he_initialise",
    "resize",
]
