"""What networks with an auxiliary head have in common: two segmentation maps, one of them for the loss alone."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from segue.layers import resize
from segue.models.network import Criterion, Network


class Maps(NamedTuple):
    """A segmentation map, and the one of the auxiliary head."""

    logits: Tensor  # (B, K, H, W)
    auxiliary: Tensor | None  # (B, K, H, W), from the last but one stage; only the loss reads it


class AuxiliaryNetwork(Network[Maps]):
    """A network with a small head on the last but one stage, whose loss helps training (PSPNet, Sec. 4).

    auxiliary: the head, None for none. auxiliary_weight: of its loss. auxiliary_map: which map of the backbone's it
        reads, counted from the last one, -1.
    align_corners: of the enlargement to the image's size.
    """

    backbone: nn.Module
    auxiliary: nn.Module | None
    auxiliary_weight: float
    auxiliary_map: int = -2
    align_corners: bool
    criterion: Criterion

    @abstractmethod
    def decode(self, features: list[Tensor]) -> Tensor:
        """The backbone's maps, finest first -> scores (B, K, H', W') at the head's own stride."""

    def scores(self, images: Tensor) -> Maps:
        """What `forward` enlarges: the same maps at their own strides."""
        features = self.backbone(images)
        auxiliary = None
        if self.auxiliary is not None and (self.training or self.all_outputs):
            auxiliary = self.auxiliary(features[self.auxiliary_map])
        return Maps(self.decode(features), auxiliary)

    def forward(self, images: Tensor) -> Maps:
        logits, auxiliary = self.scores(images)
        if auxiliary is not None:
            auxiliary = resize(auxiliary, like=images, align_corners=self.align_corners)
        return Maps(resize(logits, like=images, align_corners=self.align_corners), auxiliary)

    def loss(self, output: Maps, target: Tensor) -> dict[str, Tensor]:
        """The criterion of each enlarged map, the auxiliary one weighted."""
        terms = {"logits": self.criterion(output.logits, target)}
        if output.auxiliary is not None:
            terms["auxiliary"] = self.auxiliary_weight * self.criterion(output.auxiliary, target)
        return terms
