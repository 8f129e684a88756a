"""Predictions sharpened by the dense CRF."""

from __future__ import annotations

import torch
from torch import Tensor

from segue.crf import Bilateral, Gaussian, dense_crf
from segue.options import CRFOptions
from segue.prediction.averaged import Averaged
from segue.prediction.predictor import Predictor


class Sharpened:
    """A predictor whose probabilities pass through the dense CRF, picture by picture, at the pictures' own size.

    Raises ValueError for a network that does not take RGB: the CRF compares colours.
    """

    def __init__(self, predictor: Predictor | Averaged, options: CRFOptions) -> None:
        channels = len(predictor.preprocessing.mean)
        if channels != 3:
            raise ValueError(
                f"the CRF compares red, green and blue, but this network takes {channels} channels: no CRF"
            )
        self.predictor, self.options, self.device = predictor, options, predictor.device
        self.gaussian, self.bilateral = crf_kernels(options)

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> (B, K, H, W) float32, the CRF's marginals."""
        images = images.to(self.device)
        pictures = zip(self.predictor.probabilities(images).split(1), images.split(1), strict=True)
        return torch.cat(
            [dense_crf(one, image, self.gaussian, self.bilateral, self.options.iterations) for one, image in pictures]
        )

    @torch.inference_mode()
    def labels(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> (B, H, W) int64, the class of the highest marginal."""
        return self.probabilities(images).argmax(dim=1)


def crf_kernels(options: CRFOptions) -> tuple[Gaussian | None, Bilateral | None]:
    """The two kernels that options describe; None for one whose weight is 0."""
    smoothness = Gaussian(options.gaussian_sxy, options.gaussian_compat, options.normalization)
    appearance = Bilateral(
        options.bilateral_sxy, options.bilateral_srgb, options.bilateral_compat, options.normalization
    )
    return (smoothness if options.gaussian_compat else None, appearance if options.bilateral_compat else None)
