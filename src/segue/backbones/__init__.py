"""Encoders behind one face: image -> feature maps, finest first."""

from segue.backbones.alexnet import AlexNet
from segue.backbones.backbone import Backbone, BackboneOptions, load_weights, names, read_state, unwrap
from segue.backbones.features import Features
from segue.backbones.googlenet import GoogLeNet
from segue.backbones.timm import TimmBackbone, TimmOptions
from segue.backbones.vgg import VGG16

__all__ = [
    "VGG16",
    "AlexNet",
    "Backbone",
    "BackboneOptions",
    "Features",
    "GoogLeNet",
    "TimmBackbone",
    "TimmOptions",
    "load_weights",
    "names",
    "read_state",
    "unwrap",
]
