"""The two pairwise kernels of the fully connected CRF (Krähenbühl & Koltun, NIPS 2011, Eq. 3) and their parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Normalization = Literal["symmetric", "after", "before", "none"]


@dataclass(frozen=True)
class Gaussian:
    """The smoothness kernel, the second of Eq. 3: exp(-|p_i - p_j|^2 / 2 sxy^2) for pixels i and j at p_i and p_j.

    sxy: standard deviation in pixels; one number, or one for x and one for y, in this order.
    compat: the label compatibility mu. A number w is Potts: pixels that agree win up to w, in units of logits. A matrix
        (K, K) is added to the energy, made symmetric first; w says the same as -w * identity. Gradients flow into
        tensors.
    normalization: "symmetric" (n_i^-1/2 k n_j^-1/2, pydensecrf), "after" (k / n_i, the authors of DeepLab), "before"
        (k / n_j) or "none", where n_i is the sum of k(i, j) over all j.

    The defaults are those of DeepLab. Raises ValueError where a deviation is not above zero, a compatibility is
    neither a number nor a square matrix, or a normalisation has none of these names.
    """

    sxy: float | Sequence[float] = 3.0
    compat: float | Tensor = 3.0
    normalization: Normalization = "symmetric"

    def __post_init__(self) -> None:
        _check(self)

    @property
    def deviations(self) -> tuple[float, ...]:
        """Of x and y, in pixels."""
        return _deviations("Gaussian: sxy", self.sxy, 2)


@dataclass(frozen=True)
class Bilateral:
    """The appearance kernel, the first of Eq. 3: exp(-|p_i - p_j|^2 / 2 sxy^2 - |I_i - I_j|^2 / 2 srgb^2).

    sxy, compat, normalization: as in `Gaussian`.
    srgb: standard deviation in grey levels of 0..255; one number, or one for each of red, green and blue.

    The defaults are those of DeepLab v2 with VGG-16; good ones differ between networks and data sets. Raises
    ValueError as `Gaussian` does.
    """

    sxy: float | Sequence[float] = 49.0
    srgb: float | Sequence[float] = 5.0
    compat: float | Tensor = 4.0
    normalization: Normalization = "symmetric"

    def __post_init__(self) -> None:
        _check(self)

    @property
    def deviations(self) -> tuple[float, ...]:
        """Of x and y in pixels, then of red, green and blue in grey levels."""
        return _deviations("Bilateral: sxy", self.sxy, 2) + _deviations("Bilateral: srgb", self.srgb, 3)


Kernel = Gaussian | Bilateral


def _deviations(name: str, value: float | Sequence[float], count: int) -> tuple[float, ...]:
    numbers = torch.as_tensor(value, dtype=torch.float64).flatten().tolist()
    if len(numbers) not in (1, count):
        raise ValueError(f"{name} has {len(numbers)} numbers, {numbers}; give one, or {count}, one for each axis")
    for number in numbers:
        if not (math.isfinite(number) and number > 0):
            raise ValueError(
                f"{name} is {number:g}, but a deviation is above 0; to leave a kernel out, give None for it"
            )
    return tuple(numbers * (count // len(numbers)))


def _check(kernel: Kernel) -> None:
    name = type(kernel).__name__
    assert kernel.deviations  # raises where one is wrong
    if kernel.normalization not in get_args(Normalization):
        known = ", ".join(get_args(Normalization))
        raise ValueError(
            f"{name}: normalization is {kernel.normalization!r}, which is none of {known}; choose one of them"
        )
    compat = torch.as_tensor(kernel.compat).detach()
    if compat.ndim not in (0, 2) or (compat.ndim == 2 and compat.shape[0] != compat.shape[1]):
        raise ValueError(f"{name}: compat has shape {tuple(compat.shape)}; give a number, or a matrix of shape (K, K)")
    if not torch.isfinite(compat).all():
        wrong = compat[~torch.isfinite(compat)][0].item()
        raise ValueError(f"{name}: compat holds {wrong}; give finite numbers")


SMOOTHNESS = Gaussian()
APPEARANCE = Bilateral()
