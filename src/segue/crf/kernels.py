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
    """The smoothness kernel (Sec. 2, Eq. 3, second term): exp(-|p_i - p_j|^2 / 2 sxy^2).

    sxy: standard deviation in pixels; one number, or one for x and one for y, in this order.
    compat: the label compatibility. A number w is Potts: labels that agree win w, in units of logits. A matrix (K, K) is
        added to the energy, its symmetric part taken; w is the same as -w * identity. Gradients flow into a tensor.
    normalization: "symmetric" (n_i^-1/2 k n_j^-1/2, pydensecrf), "after" (k / n_i, the authors of DeepLab), "before"
        (k / n_j) or "none", where n_i is the sum of k(i, j) over all j.

    The defaults are those of every DeepLab. Raises ValueError where a deviation is not a positive number, a matrix is not
    square, or a normalisation has none of these names.
    """

    sxy: float | Sequence[float] = 3.0
    compat: float | Tensor = 3.0
    normalization: Normalization = "symmetric"

    def __post_init__(self) -> None:
        _check_kernel(self)

    @property
    def deviations(self) -> tuple[float, ...]:
        """Of x and y, in pixels."""
        return _deviations("Gaussian", "sxy", self.sxy, 2)


@dataclass(frozen=True)
class Bilateral:
    """The appearance kernel (Sec. 2, Eq. 3, first term): exp(-|p_i - p_j|^2 / 2 sxy^2 - |I_i - I_j|^2 / 2 srgb^2).

    srgb: standard deviation in grey levels of 0..255; one number, or one for each of red, green and blue.
    sxy, compat, normalization: as in `Gaussian`.

    The defaults are those of DeepLab v2 with VGG-16; good ones differ between networks and data (docs/crf.md has a table).
    Raises ValueError as `Gaussian` does.
    """

    sxy: float | Sequence[float] = 49.0
    srgb: float | Sequence[float] = 5.0
    compat: float | Tensor = 4.0
    normalization: Normalization = "symmetric"

    def __post_init__(self) -> None:
        _check_kernel(self)

    @property
    def deviations(self) -> tuple[float, ...]:
        """Of x, y, red, green and blue: pixels twice, then grey levels."""
        return _deviations("Bilateral", "sxy", self.sxy, 2) + _deviations("Bilateral", "srgb", self.srgb, 3)


Kernel = Gaussian | Bilateral


def _deviations(kernel: str, name: str, value: float | Sequence[float], count: int) -> tuple[float, ...]:
    numbers = torch.as_tensor(value, dtype=torch.float64).flatten().tolist()
    if len(numbers) not in (1, count):
        raise ValueError(
            f"{kernel}: {name} = {value} has {len(numbers)} numbers; give one, or {count}, one for each axis"
        )
    for number in numbers:
        if not (math.isfinite(number) and number > 0):
            raise ValueError(
                f"{kernel}: {name} = {value}, but a standard deviation is above zero; to leave a kernel out, give None for it"
            )
    return tuple(numbers * (count // len(numbers)))


def _check_kernel(kernel: Kernel) -> None:
    name = type(kernel).__name__
    assert kernel.deviations  # raises where one is wrong
    if kernel.normalization not in get_args(Normalization):
        raise ValueError(
            f"{name}: normalization is {kernel.normalization!r}; choose one of {', '.join(get_args(Normalization))}"
        )
    compat = torch.as_tensor(kernel.compat)
    if compat.ndim not in (0, 2) or (compat.ndim == 2 and compat.shape[0] != compat.shape[1]):
        raise ValueError(f"{name}: compat has shape {tuple(compat.shape)}; give a number, or a matrix of shape (K, K)")
    if not bool(torch.isfinite(compat.detach()).all()):
        raise ValueError(f"{name}: compat holds {compat.detach().tolist()}, which is not finite; give finite weights")
