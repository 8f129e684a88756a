"""Mean field inference in the fully connected CRF.

P. Krähenbühl, V. Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NIPS 2011
(arXiv:1210.5644), with the normalisations of Parameter Learning and Convergent Inference for Dense Random Fields by the
same authors, ICML 2013. The numbers are those of the authors' program, which pydensecrf wraps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from segue.crf.filters import Filters, Response, join, respond
from segue.crf.kernels import APPEARANCE, SMOOTHNESS, Bilateral, Gaussian, Kernel
from segue.crf.permutohedral import Rows
from segue.labels import IGNORE

SMALLEST_PROBABILITY = 1e-5
"""Smaller ones are raised to it before the logarithm, as in pydensecrf: no label is ever impossible."""

TOLERANCE = 1e-3
"""How far from one a pixel's probabilities may sum. A softmax in float32 stays within 1e-6, in bfloat16 it does not."""

PIECE = 1 << 13
"""Pixels that a processor treats at a time: their rows stay in its cache from one step to the next."""


def dense_crf(
    probabilities: Tensor,
    images: Tensor,
    gaussian: Gaussian | None = SMOOTHNESS,
    bilateral: Bilateral | None = APPEARANCE,
    iterations: int = 10,
) -> Tensor:
    """Mean field inference (NIPS 2011, Algorithm 1): the marginals Q after `iterations` updates of all pixels at once.

    probabilities: (B, K, H, W) float32, summing to one over K: a network's softmax, taken at the images' size.
    images: (B, 3, H, W) uint8, RGB, as read from the file: neither scaled nor normalised.
    gaussian, bilateral: the two kernels; None leaves one out.

    Returns (B, K, H, W) float32, channels-last in memory. Gradients flow to the probabilities and into compatibilities
    that are tensors. Computes in float32, whatever autocast says.
    Raises ValueError where probabilities are not numbers or do not sum to one, sizes differ, images are not 8-bit
    RGB, a compatibility does not fit K, `iterations` is negative, or a deviation is too small for float32.
    """
    _check(probabilities, images, (gaussian, bilateral), iterations)
    results = []
    for probability, image in zip(probabilities, images, strict=True):
        for marginals in DenseCRF(image)._steps(probability, (gaussian, bilateral), iterations):
            last = marginals
        results.append(last)
    stacked = torch.stack(results) if len(results) > 1 else results[0][None].contiguous()
    return stacked.permute(0, 3, 1, 2)


def dense_crf_steps(
    probabilities: Tensor,
    images: Tensor,
    gaussian: Gaussian | None = SMOOTHNESS,
    bilateral: Bilateral | None = APPEARANCE,
    iterations: int = 10,
) -> Iterator[Tensor]:
    """Q after 0, 1, ..., `iterations` updates, each (B, K, H, W) float32; all else is as in `dense_crf`.

    After 0 updates Q is the softmax of the unary: the probabilities, but for those that were raised to 1e-5.
    """
    _check(probabilities, images, (gaussian, bilateral), iterations)
    pictures = [
        DenseCRF(image)._steps(probability, (gaussian, bilateral), iterations)
        for probability, image in zip(probabilities, images, strict=True)
    ]
    return (torch.stack(results).permute(0, 3, 1, 2) for results in zip(*pictures, strict=True))


class DenseCRF:
    """The CRF of one picture, for trying parameters: it keeps the lattice last built for either kernel.

    A lattice depends on the picture and the deviations alone. Another compatibility, normalisation, number of
    iterations or other probabilities build nothing anew, so let deviations vary slowest:

        crf = DenseCRF(image)
        for compat in (3, 4, 5, 6):
            marginals = crf(probability, Gaussian(3, 3), Bilateral(49, 5, compat))

    image: (3, H, W) uint8, RGB.
    """

    def __init__(self, image: Tensor) -> None:
        self.image = image
        self._kept: dict[type[Kernel], tuple[tuple[float, ...], Response]] = {}

    def __call__(
        self,
        probability: Tensor,
        gaussian: Gaussian | None = SMOOTHNESS,
        bilateral: Bilateral | None = APPEARANCE,
        iterations: int = 10,
    ) -> Tensor:
        """(K, H, W) -> Q (K, H, W): `dense_crf` of this picture, with the same arguments and errors."""
        _check(probability[None], self.image[None], (gaussian, bilateral), iterations)
        for marginals in self._steps(probability, (gaussian, bilateral), iterations):
            last = marginals
        return last.contiguous().permute(2, 0, 1)

    def _steps(self, probability: Tensor, kernels: Sequence[Kernel | None], iterations: int) -> Iterator[Tensor]:
        """(K, H, W) -> Q (H, W, K) after 0, 1, ... updates; without gradients, each is written over the one before."""
        device = probability.device
        num_classes, height, width = probability.shape
        present = [kernel for kernel in kernels if kernel is not None]
        compats = [torch.as_tensor(kernel.compat, dtype=torch.float32, device=device) for kernel in present]
        differentiable = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (probability, *compats))

        # Pixels are rows from here on: sparse products then move K neighbouring numbers at a time. PyTorch's softmax
        # takes rows of fewer than 16 numbers one by one, ten times as slowly: fill them up with classes of
        # probability zero.
        more = max(0, 16 - num_classes) if device.type == "cpu" else 0
        negative_unary = _log_rows(probability, more)
        compats = [F.pad(compat, (0, more, 0, more)) if compat.ndim else compat for compat in compats]

        marginals = torch.softmax(negative_unary, dim=1)
        yield marginals[:, :num_classes].view(height, width, num_classes)
        if not present or not iterations:  # nothing is heard from other pixels
            yield from itertools.repeat(marginals[:, :num_classes].view(height, width, num_classes), iterations)
            return

        responses = [self._response(kernel, device) for kernel in present]
        normalizations = [kernel.normalization for kernel in present]
        filters = join(responses, normalizations)
        adjoint = join(responses, normalizations, transposed=True) if differentiable else None
        for _ in range(iterations):
            messages = _weigh(_Spread.apply(marginals, filters, adjoint), filters, compats)
            if differentiable:
                marginals = _Update.apply(messages, negative_unary, filters, adjoint)
            else:
                _update(messages, negative_unary, filters, out=marginals)
            yield marginals[:, :num_classes].view(height, width, num_classes)

    def _response(self, kernel: Kernel, device: torch.device) -> Response:
        deviations = kernel.deviations
        kept = self._kept.get(type(kernel))
        if kept is not None and kept[0] == deviations and kept[1].norm.device == device:
            return kept[1]
        response = respond(self.image.to(device), deviations)
        self._kept[type(kernel)] = deviations, response
        return response


def _log_rows(probability: Tensor, more: int) -> Tensor:
    """(K, H, W) -> the logarithms as rows (N, K + more), those of the classes that fill up being -inf."""
    columns = probability.float().flatten(1)
    # In pieces that stay in the cache: whole tensors of this size spend most of their time being given pages.
    pieces = [
        F.pad(piece.clamp(min=SMALLEST_PROBABILITY).log().t(), (0, more), value=-torch.inf)
        for piece in columns.split(PIECE if columns.device.type == "cpu" else columns.shape[1], dim=1)
    ]
    return torch.cat(pieces)


def _weigh(table: Tensor, filters: Filters, compats: Sequence[Tensor]) -> Tensor:
    """The compatibility transform (Algorithm 1), (V, K) -> (V, K): it commutes with `slice`, and vertices are fewer."""
    with torch.autocast(table.device.type, enabled=False):
        return torch.cat(
            [
                part @ ((compat + compat.t()) / -2) if compat.ndim else part * compat
                for part, compat in zip(table.split(filters.sizes), compats, strict=True)
            ]
        )


def _update(messages: Tensor, negative_unary: Tensor, filters: Filters, out: Tensor) -> None:
    """Every pixel reads the messages (V, K), adds its own opinion (N, K), and takes the softmax, written to `out`."""
    columns, offsets, values = filters.slice
    count = len(negative_unary)
    width = len(columns) // count
    size = PIECE if out.device.type == "cpu" else count  # all three steps on a piece while it is in the cache
    for start in range(0, count, size):
        stop = min(start + size, count)
        entries = slice(start * width, stop * width)
        piece = Rows(columns[entries], offsets[: stop - start + 1], values[entries])
        energy = (piece @ messages).add_(negative_unary[start:stop].detach())
        torch.softmax(energy, dim=1, out=out[start:stop])


class _Spread(torch.autograd.Function):
    """Splat and blur: (N, K) -> (V, K)."""

    @staticmethod
    def forward(ctx: Any, marginals: Tensor, filters: Filters, adjoint: Filters | None) -> Tensor:
        ctx.adjoint = adjoint
        return filters.blurred(filters.splat @ marginals)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.adjoint.slice @ ctx.adjoint.blurred(gradient), None, None


class _Update(torch.autograd.Function):
    """Slice, unary and softmax: (V, K) and (N, K) -> (N, K)."""

    @staticmethod
    def forward(ctx: Any, messages: Tensor, negative_unary: Tensor, filters: Filters, adjoint: Filters) -> Tensor:
        marginals = torch.empty_like(negative_unary)
        _update(messages, negative_unary, filters, out=marginals)
        ctx.adjoint = adjoint
        ctx.save_for_backward(marginals)
        return marginals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (marginals,) = ctx.saved_tensors
        share = marginals * gradient
        energy = share - marginals * share.sum(dim=1, keepdim=True)
        return ctx.adjoint.splat @ energy, energy, None, None


def unary_from_labels(labels: Tensor, num_classes: int, confidence: float = 0.7) -> Tensor:
    """Probabilities for `dense_crf` out of a label map: an annotation to clean, or another method's decisions.

    labels: (B, H, W) of any integer type, classes 0..K-1; where it is `IGNORE`, every class is as probable.
    confidence: the probability of the labelled class, above 0 and below 1; the other classes share the rest.

    Returns (B, K, H, W) float32; its negative logarithm is the unary energy.
    Raises ValueError where there are fewer than two classes, a label is neither a class nor `IGNORE`, or `confidence`
    is not between 0 and 1.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}, but labels to choose from are at least 2")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, but a probability lies between 0 and 1; 0.7 is usual")
    known = labels != IGNORE
    classes = torch.where(known, labels, 0).long()
    wrong = (classes < 0) | (classes >= num_classes)
    if wrong.any():
        b, row, column = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"picture {b}, pixel ({row}, {column}): label {classes[b, row, column].item()}, but num_classes is "
            f"{num_classes}; raise num_classes, or use {IGNORE} where nothing is known"
        )
    others = (1 - confidence) / (num_classes - 1)
    probabilities = torch.full((len(labels), num_classes, *labels.shape[1:]), others, device=labels.device)
    probabilities.scatter_(1, classes[:, None], confidence)
    return torch.where(known[:, None], probabilities, 1 / num_classes)


def _check(probabilities: Tensor, images: Tensor, kernels: Sequence[Kernel | None], iterations: int) -> None:
    if probabilities.ndim != 4 or not probabilities.is_floating_point() or probabilities.numel() == 0:
        raise ValueError(
            f"probabilities are {probabilities.dtype} of shape {tuple(probabilities.shape)}; "
            "give float32 of shape (B, K, H, W), with at least one pixel"
        )
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ValueError(
            f"images are {images.dtype} of shape {tuple(images.shape)}; "
            "give the 8-bit RGB pictures as they were read, uint8 of shape (B, 3, H, W)"
        )
    batch, num_classes = probabilities.shape[:2]
    if images.shape[0] != batch or images.shape[2:] != probabilities.shape[2:]:
        raise ValueError(
            f"probabilities have shape {tuple(probabilities.shape)}, images {tuple(images.shape)}; "
            "B, H and W must agree: resize scores to the images' size before the softmax"
        )
    values = probabilities.detach()
    # Written so that NaN fails: every comparison with it is false.
    right = (values.sum(dim=1, dtype=torch.float32) - 1).abs() <= TOLERANCE
    right &= values.amin(dim=1) >= -TOLERANCE
    if not right.all():
        b, row, column = (~right).nonzero()[0].tolist()
        pixel = values[b, :, row, column].float()
        raise ValueError(
            f"picture {b}, pixel ({row}, {column}): probabilities sum to {pixel.sum().item():.6g}, the smallest is "
            f"{pixel.amin().item():.6g}; give a softmax of finite scores over dimension 1, computed in float32"
        )
    for kernel in kernels:
        if kernel is None:
            continue
        shape = tuple(torch.as_tensor(kernel.compat).shape)
        if shape not in ((), (num_classes, num_classes)):
            raise ValueError(
                f"{type(kernel).__name__}: compat has shape {shape}, but there are {num_classes} classes; "
                f"give a number, or a matrix of shape ({num_classes}, {num_classes})"
            )
    if iterations < 0:
        raise ValueError(f"iterations is {iterations}; give 0, which returns the softmax of the unary, or more")
