"""Which picture looks into which part of a network: the one place that says what a network can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from segue.explain import anyone, danet, deeplab, dfn, fcn, gradcam, mcibi, occlusion, receptive, refinenet, segnet
from segue.explain.drawing import Draw
from segue.layers import ASPP
from segue.models import Network
from segue.models.danet import CAM, PAM, DANet
from segue.models.deeplabv1 import DeepLabV1
from segue.models.deeplabv2 import DeepLabV2, SummedASPP, SummedScores
from segue.models.dfn import CAB, DFN, BorderNetwork, NarrowDFN
from segue.models.fcn import FCN8s, FCN16s, FCN32s
from segue.models.mcibi import MCIBI, BeyondImage, ClassMemory
from segue.models.refinenet import RefineNet
from segue.models.segnet import SegNet, SegNetBasic


@dataclass(frozen=True)
class Explainer:
    """A picture that can be made of every network with one of these parts; `nn.Module` is a part of them all."""

    name: str
    draw: Draw
    parts: tuple[type[nn.Module], ...] = (nn.Module,)


EXPLAINERS = (
    Explainer("prediction", anyone.prediction),
    Explainer("confidence", anyone.confidence),
    Explainer("position_attention", danet.position_attention, (PAM,)),
    Explainer("channel_attention", danet.channel_attention, (CAM,)),
    Explainer("branches", danet.branches, (DANet,)),
    Explainer("gates", dfn.gates, (CAB,)),
    Explainer("borders", dfn.borders, (BorderNetwork,)),
    Explainer("stages", dfn.stages, (DFN, NarrowDFN)),
    Explainer("cascade", refinenet.cascade_drawing, (RefineNet,)),
    Explainer("unpooling", segnet.unpooling, (SegNet, SegNetBasic)),
    Explainer("aspp", deeplab.summed_branches, (SummedASPP, SummedScores)),
    Explainer("aspp", deeplab.joined_branches, (ASPP,)),
    Explainer("crf", deeplab.crf, (DeepLabV1, DeepLabV2)),
    Explainer("skips", fcn.skips, (FCN8s, FCN16s, FCN32s)),
    Explainer("memory", mcibi.memory, (ClassMemory,)),
    Explainer("class_weights", mcibi.class_weights, (BeyondImage,)),
    Explainer("memory_adds", mcibi.added, (MCIBI,)),
    Explainer("tsne", mcibi.embedding, (MCIBI,)),
    Explainer("features", anyone.features),
    Explainer("grad_cam", gradcam.grad_cam_drawing),
    Explainer("field", receptive.field_drawing),
    Explainer("occlusion", occlusion.occlusion_drawing),
)
"""In the order of the page."""


def explainers_of(network: Network[Any]) -> list[Explainer]:
    """Those that find a part of theirs in the network."""
    kinds = {type(module) for module in network.modules()}
    return [one for one in EXPLAINERS if any(issubclass(kind, one.parts) for kind in kinds)]
