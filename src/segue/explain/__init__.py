"""Looking inside: what a network says of a picture, and how it comes to say so.

`explain` makes all pictures of a run; the functions below compute what they show, from a network and its inputs.
"""

from segue.explain.anyone import doubt, principal_colours
from segue.explain.danet import attention_rows, channel_maps
from segue.explain.explaining import Explained, explain
from segue.explain.gradcam import grad_cam
from segue.explain.mcibi import similarity, tsne
from segue.explain.occlusion import occlusion
from segue.explain.subject import Point, Subject, Wishes, prepare
from segue.explain.table import EXPLAINERS, explainers_of

__all__ = [
    "EXPLAINERS",
    "Explained",
    "Point",
    "Subject",
    "Wishes",
    "attention_rows",
    "channel_maps",
    "doubt",
    "explain",
    "explainers_of",
    "grad_cam",
    "occlusion",
    "prepare",
    "principal_colours",
    "similarity",
    "tsne",
]
