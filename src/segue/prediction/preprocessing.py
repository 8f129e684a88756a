"""What is done to a picture before a network sees it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a picture before the network sees it.

    mean, std: per channel, in grey levels of 0..255.
    bgr: the channels are turned round first, as networks trained in Caffe expect; mean and std are then in that order.
    shrink: the factor on height and width; the network's scores are enlarged back.
    """

    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    std: tuple[float, ...] = (58.395, 57.12, 57.375)
    shrink: float = 1.0
    bgr: bool = False

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"mean has {len(self.mean)} channels and std {len(self.std)}: they must be alike")
        if min(self.std) <= 0:
            raise ValueError(f"std = {list(self.std)}: every channel must be above 0")
        if not 0 < self.shrink <= 1:
            raise ValueError(f"shrink = {self.shrink}: it must be above 0 and at most 1")

    def normalise(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 or float in 0..255 -> float32, zero mean and unit deviation; channels-last stays so."""
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        scale = 1 / torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        ordered = images.flip(1) if self.bgr else images
        return (ordered.float() - mean) * scale

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise, and shrink (bilinearly, antialiased) to the size that the network sees."""
        normal = self.normalise(images)
        if self.shrink == 1.0:
            return normal
        size = [max(1, round(side * self.shrink)) for side in images.shape[-2:]]
        return F.interpolate(normal, size=size, mode="bilinear", antialias=True)
