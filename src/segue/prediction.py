"""From pictures to scores: normalising, the forward pass, and scores at the picture's own size."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from timm.models.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from segue.crf import Bilateral, Gaussian, dense_crf
from segue.models.network import Network
from segue.options import CRFOptions

Precision = Literal["auto", "bfloat16", "float32"]


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


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Public since PyTorch 2.9; older ones answer for AVX-512 alone.
        if (capabilities := getattr(torch.cpu, "get_capabilities", None)) is not None:
            return any(capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        return bool(torch.cpu._is_avx512_bf16_supported())
    return False


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context for forward passes: bfloat16 if it is asked for, or `auto` and the device has it."""
    wanted = precision == "bfloat16" or (precision == "auto" and bfloat16_is_fast(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


class Predictor:
    """A network made ready to predict: in eval(), on its device, BatchNorm folded into the convolutions before it.

    The network that is handed over keeps its weights and its BatchNorm; folding works on a copy.
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
    ) -> None:
        self.device = device or next(network.parameters()).device
        self.preprocessing = preprocessing
        self.precision = precision
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = copy.deepcopy(network).eval().to(self.device)
        self.network.all_outputs = False
        if fold:
            fold_batchnorm(self.network)
        self.network = self.network.to(memory_format=self.memory_format)

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, K, H, W) float32, at the pictures' own size."""
        inputs = self.preprocessing(images.to(self.device)).contiguous(memory_format=self.memory_format)
        with autocast(self.device, self.precision):
            scores: Tensor = self.network(inputs).logits
        if scores.shape[-2:] != images.shape[-2:]:
            scores = F.interpolate(scores.float(), size=images.shape[-2:], mode="bilinear")
        return scores.float()

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, K, H, W) float32 that add up to one at each pixel."""
        return self.logits(images).softmax(dim=1)

    @torch.inference_mode()
    def labels(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, H, W) int64, the class of the highest score."""
        return self.logits(images).argmax(dim=1)


class Sharpened:
    """A predictor whose probabilities pass through the dense CRF, picture by picture, at the pictures' own size.

    Raises ValueError for a network that does not take RGB: the CRF compares colours.
    """

    def __init__(self, predictor: Predictor, options: CRFOptions) -> None:
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


def fold_batchnorm(network: nn.Module) -> int:
    """Fold each BatchNorm that follows a convolution directly into it, in place; return how many were folded.

    Which one follows which is taken from the modules' order where it is certain: neighbours in a `Sequential`, and the
    pairs conv1/bn1, conv2/bn2, conv3/bn3 of timm's ResNets. The network must be in eval().
    """
    folded = 0
    for module in list(network.modules()):
        for first, second in _neighbours(module):
            owner, name = _last_layer(module, first)
            convolution, norm = owner._modules[name], module._modules[second]
            if isinstance(convolution, nn.Conv2d) and type(norm) is nn.BatchNorm2d and norm.track_running_stats:
                owner._modules[name] = fuse_conv_bn_eval(convolution, norm)
                module._modules[second] = nn.Identity().eval()  # a new module is in training mode, and blocks ask
                folded += 1
    return folded


def _neighbours(module: nn.Module) -> Sequence[tuple[str, str]]:
    names = list(module._modules)
    if isinstance(module, nn.Sequential):
        return list(pairwise(names))
    stem = {"conv1", "bn1", "layer1", "layer4"} <= set(names)
    if stem or isinstance(module, BasicBlock | Bottleneck):
        return [(f"conv{i}", f"bn{i}") for i in (1, 2, 3) if f"conv{i}" in names and f"bn{i}" in names]
    return []


def _last_layer(owner: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Where a layer is kept, or the last one of a `Sequential`, as the stem of a ResNet-D is."""
    layer = owner._modules[name]
    if isinstance(layer, nn.Sequential) and len(layer):
        return _last_layer(layer, list(layer._modules)[-1])
    return owner, name
