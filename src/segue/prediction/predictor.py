"""From pictures to scores: normalising, the forward pass, and scores at the picture's own size."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.models.network import Network
from segue.prediction.folding import fold_batchnorm
from segue.prediction.precision import Precision, autocast
from segue.prediction.preprocessing import Preprocessing


class Predictor:
    """A network made ready to predict: in eval(), on its device, BatchNorm folded into the convolutions before it.

    The network that is handed over keeps its weights and its BatchNorm; folding works on a copy.

    temperature: what logits are divided by before they become probabilities; the class of the highest stays the same.
    Raises ValueError for one that is not above 0.
    """

    def __init__(
        self,
        network: Network[Any],
        preprocessing: Preprocessing,
        *,
        device: torch.device | None = None,
        precision: Precision = "auto",
        channels_last: bool = True,
        fold: bool = True,
        temperature: float = 1.0,
    ) -> None:
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature = {temperature}: it must be above 0")
        self.temperature = temperature
        self.device = device or next(network.parameters()).device
        self.preprocessing = preprocessing
        self.precision = precision
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = copy.deepcopy(network).eval().to(self.device)
        self.network.all_outputs = False
        if fold:
            fold_batchnorm(self.network)
        self.network = self.network.to(memory_format=self.memory_format)

    def inputs(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> what the network is given of them, on its device."""
        return self.preprocessing(images.to(self.device)).contiguous(memory_format=self.memory_format)

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, K, H, W) float32, at the pictures' own size."""
        inputs = self.inputs(images)
        with autocast(self.device, self.precision):
            scores: Tensor = self.network(inputs).logits
        if scores.shape[-2:] != images.shape[-2:]:
            scores = F.interpolate(scores.float(), size=images.shape[-2:], mode="bilinear")
        return scores.float()

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, K, H, W) float32 that add up to one at each pixel."""
        scores = self.logits(images)
        return (scores if self.temperature == 1 else scores / self.temperature).softmax(dim=1)

    @torch.inference_mode()
    def labels(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, H, W) int64, the class of the highest score."""
        return self.logits(images).argmax(dim=1)
