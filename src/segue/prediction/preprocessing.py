"""What is done to a picture before a network sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def as_batch(pictures: Sequence[np.ndarray]) -> Tensor:
    """Pictures (H, W, C) of one size, uint8, uint16 or float32 -> (B, C, H, W), uint8 or float32."""
    stacked = np.stack(pictures)
    return torch.from_numpy(stacked if stacked.dtype == np.uint8 else stacked.astype(np.float32)).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a picture before the network sees it.

    mean, std: per channel, in the pictures' own levels: 0..255 for those of 8 bits.
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

    def check(self, channels: int) -> None:
        """Raises ValueError when pictures of so many channels are not what the network takes."""
        if channels != len(self.mean):
            raise ValueError(f"a picture of {channels} channels, where the network takes {len(self.mean)}")

    def normalise(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 or float -> float32, of zero mean and unit deviation; channels-last stays so."""
        self.check(images.shape[1])
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
