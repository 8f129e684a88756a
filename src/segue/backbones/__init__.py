"""Encoders behind one face: image -> feature maps, finest first."""

from segue.backbones.backbone import Backbone, load_weights, names
from segue.backbones.timm import TimmBackbone

__all__ = ["Backbone", "TimmBackbone", "load_weights", "names"]
