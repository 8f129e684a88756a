"""Checkpoints of thomasjpfan/pytorch_refinenet, which departs from RefineNet's paper in two places.

Its RCUs add to the rectified input, which a ReLU in place has put where the input was, and its chained pooling has
three links.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.backbones import TimmBackbone
from segue.convert.reference import Conversion, Rule, Source, rename, two_scores
from segue.convert.resnet import ResNetShape, resnet_shape
from segue.models.refinenet import RCU, RefineNet

NAMES = ("thomasjpfan/pytorch_refinenet",)

BACKBONE_RULES: list[Rule] = [
    (r"layer1\.0\.", "backbone.body.conv1."),
    (r"layer1\.1\.", "backbone.body.bn1."),
    (r"layer1\.4\.", "backbone.body.layer1."),
    (r"layer([234])\.", r"backbone.body.layer\1."),
]


def cascade_rules(first_link: int) -> list[Rule]:
    """Rules for the four blocks; chained pooling's links count from `first_link` there."""
    rules: list[Rule] = []
    for block in range(4):  # they count from the finest, 1, to the coarsest, 4
        theirs, own = 4 - block, f"cascade.blocks.{block}."
        rules.append((rf"layer{theirs}_rn\.", f"{own}adapt.0.0."))
        # The coarser path comes first; the coarsest block has none.
        stage, coarser = (0, None) if block == 0 else (1, 0)
        for unit in range(2):
            rules.append((rf"refinenet{theirs}\.rcu{stage}\.{unit}\.", f"{own}adapt.0.{unit + 1}."))
            if coarser is not None:
                rules.append((rf"refinenet{theirs}\.rcu{coarser}\.{unit}\.", f"{own}carry.{unit}."))
        for link in range(4):
            # Convolution and pooling are numbered 0 and 1 by their order in the link.
            theirs_too = rf"refinenet{theirs}\.crp\.block{link + first_link}\.[01]\."
            rules.append((theirs_too, f"{own}pool.convolutions.{link}."))
        rules += [
            (rf"refinenet{theirs}\.mrf\.resolve(\d)\.(?:0\.)?", rf"{own}fuse.convolutions.\1."),
            (rf"refinenet{theirs}\.output_conv\.", f"{own}refine.0."),
        ]
    return rules


def backbone_shape(state: Mapping[str, Tensor]) -> ResNetShape:
    """The shape of torchvision's ResNet, whose stem and first stage are one sequence here."""
    body = "backbone.body."
    tensors, _ = rename(state, BACKBONE_RULES)
    return resnet_shape({name.removeprefix(body): t for name, t in tensors.items() if name.startswith(body)})


def count_links(state: Mapping[str, Tensor]) -> int:
    """How many links chained pooling has."""
    return sum(bool(re.match(r"refinenet4\.crp\.block\d+\.[01]\.weight", name)) for name in state)


def _recognise(state: Mapping[str, Tensor]) -> bool:
    return "refinenet4.crp.block1.1.weight" in state and "refinenet4.crp.block0.1.weight" not in state


def _convert(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    head: list[Rule] = [(r"output_conv\.([01])\.", r"refine.\1."), (r"output_conv\.2\.", "classify.")]
    tensors, unused = rename(state, [*cascade_rules(1), *head, *BACKBONE_RULES])
    shape = backbone_shape(state)
    network = RefineNet(
        TimmBackbone(shape.name, in_channels=shape.in_channels, width=shape.width),
        two_scores(tensors, "classify"),
        channels=tensors["classify.weight"].shape[1],
        crp_links=count_links(state),
        output_units=1,
        classifier_kernel=1,
        dropout=0.0,
    )
    for unit in network.modules():
        if isinstance(unit, RCU):
            unit.rectified_shortcut = True
    return Conversion(network, tensors, unused)


SOURCES = (Source(NAMES, "refinenet", _recognise, _convert),)
