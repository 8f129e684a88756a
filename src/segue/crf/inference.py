"""Mean field inference in the fully connected CRF.

P. Krähenbühl, V. Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NIPS 2011
(arXiv:1210.5644), with the normalisations of Parameter Learning and Convergent Inference for Dense Random Fields by the
same authors, ICML 2013. The numbers are those of the authors' program, which pydensecrf wraps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from segue.crf.kernels import Bilateral, Gaussian, Kernel, Normalization
from segue.crf.permutohedral import Lattice, Rows, build_lattice
from segue.labels import IGNORE

SMALLEST_PROBABILITY = 1e-5
"""Probabilities below it are raised to it before the logarithm, as pydensecrf does: no label is ever impossible."""

SUM_TOLERANCE = 1e-3
"""How far a pixel's probabilities may be from a sum of one. A float32 softmax is within 1e-6, bfloat16 is not."""


def dense_crf(
    probabilities: Tensor,
    images: Tensor,
    gaussian: Gaussian | None = Gaussian(),
    bilateral: Bilateral | None = Bilateral(),
    iterations: int = 10,
) -> Tensor:
    """Mean field inference (Algorithm 1): the marginals Q after `iterations` parallel updates.

    probabilities: (B, K, H, W) float32, summing to one over K: a network's softmax, taken at the images' size.
    images: (B, 3, H, W) uint8, RGB, as read from the file: neither scaled nor normalised.
    gaussian, bilateral: the two kernels; None leaves one out.

    Returns (B, K, H, W) float32, channels-last in memory. Gradients flow to the probabilities and into compatibilities.
    Raises ValueError where probabilities are not numbers or do not sum to one, sizes differ, images are not 8-bit RGB, a
    compatibility does not fit K, `iterations` is negative, or deviations are too small for float32.
    """
    _check(probabilities, images, (gaussian, bilateral), iterations)
    results = []
    for probability, image in zip(probabilities, images, strict=True):
        for marginals in DenseCRF(image)._steps(probability, (gaussian, bilateral), iterations):
            last = marginals
        results.append(last)
    return torch.stack(results) if len(results) > 1 else results[0][None]


def dense_crf_steps(
    probabilities: Tensor,
    images: Tensor,
    gaussian: Gaussian | None = Gaussian(),
    bilateral: Bilateral | None = Bilateral(),
    iterations: int = 10,
) -> Iterator[Tensor]:
    """Q after 0, 1, ..., `iterations` updates, each (B, K, H, W) float32; all else as in `dense_crf`.

    After 0 updates Q is the softmax of the unary: the probabilities, but for those that were raised to 1e-5.
    """
    _check(probabilities, images, (gaussian, bilateral), iterations)
    pictures = [
        DenseCRF(image)._steps(probability, (gaussian, bilateral), iterations)
        for probability, image in zip(probabilities, images, strict=True)
    ]
    return (torch.stack(results) for results in zip(*pictures, strict=True))


class DenseCRF:
    """The CRF of one picture, for trying parameters: it keeps the lattice built last for either kernel.

    A lattice depends on the picture and the deviations alone. Other compatibilities, normalisations, probabilities and
    numbers of iterations build nothing anew, so let deviations vary slowest:

        crf = DenseCRF(image)
        for compat in (3, 4, 5, 6):
            marginals = crf(probability, Gaussian(3, 3), Bilateral(49, 5, compat))

    image: (3, H, W) uint8, RGB.
    """

    def __init__(self, image: Tensor) -> None:
        self.image = image
        self._kept: dict[type[Kernel], tuple[tuple[float, ...], _Response]] = {}

    def __call__(
        self,
        probability: Tensor,
        gaussian: Gaussian | None = Gaussian(),
        bilateral: Bilateral | None = Bilateral(),
        iterations: int = 10,
    ) -> Tensor:
        """(K, H, W) -> Q (K, H, W): `dense_crf` of this picture, with the same arguments and errors."""
        _check(probability[None], self.image[None], (gaussian, bilateral), iterations)
        for marginals in self._steps(probability, (gaussian, bilateral), iterations):
            last = marginals
        return last

    def _steps(self, probability: Tensor, kernels: tuple[Kernel | None, ...], iterations: int) -> Iterator[Tensor]:
        """(K, H, W) -> Q (K, H, W) after 0, 1, ... updates. Without gradients, each is written over the one before."""
        num_classes, height, width = probability.shape
        present = [kernel for kernel in kernels if kernel is not None]
        compats = [torch.as_tensor(kernel.compat, dtype=torch.float32).to(probability.device) for kernel in present]
        differentiable = torch.is_grad_enabled() and any(x.requires_grad for x in (probability, *compats))

        # Pixels become rows: sparse products then move K neighbouring numbers at a time.
        rows = probability.float().reshape(num_classes, -1).t().contiguous()
        negative_unary = rows.clamp(min=SMALLEST_PROBABILITY).log()  # (N, K)
        marginals = torch.softmax(negative_unary, dim=1)
        yield marginals.t().view(num_classes, height, width)
        if not present:
            for _ in range(iterations):
                yield marginals.t().view(num_classes, height, width)
            return

        responses = [self._response(kernel, probability.device) for kernel in present]
        names = [kernel.normalization for kernel in present]
        filters = _join(responses, names)
        adjoint = _join(responses, names, transposed=True) if differentiable else None
        for _ in range(iterations):
            messages = _weigh(_Spread.apply(marginals, filters, adjoint), filters, compats)
            if differentiable:
                marginals = _Update.apply(messages, negative_unary, filters, adjoint)
            else:
                _update(filters, messages, negative_unary, out=marginals)
            yield marginals.t().view(num_classes, height, width)

    def _response(self, kernel: Kernel, device: torch.device) -> _Response:
        deviations = kernel.deviations
        kept = self._kept.get(type(kernel))
        if kept is not None and kept[0] == deviations and kept[1].total.device == device:
            return kept[1]
        response = _Response.of(_features(self.image.to(device), deviations), self.image[0].numel())
        self._kept[type(kernel)] = deviations, response
        return response


def unary_from_labels(labels: Tensor, num_classes: int, confidence: float = 0.7) -> Tensor:
    """Probabilities for `dense_crf` out of a label map: annotations, or another method's hard decisions.

    labels: (B, H, W), any integer type, 0..K-1; pixels that are `IGNORE` know nothing, and get 1 / K everywhere.
    confidence: the probability of the label itself, above 0 and below 1; other classes share the rest.

    Returns (B, K, H, W) float32; the unary energy is its negative logarithm, as everywhere.
    Raises ValueError where a label is neither a class nor `IGNORE`, or `confidence` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, but it is a probability: choose it above 0 and below 1")
    known = labels != IGNORE
    classes = torch.where(known, labels, 0).long()
    if classes.numel() and not (0 <= int(classes.min()) and int(classes.max()) < num_classes):
        wrong = next(value for value in classes.unique().tolist() if not 0 <= value < num_classes)
        raise ValueError(
            f"the labels hold {wrong}, but there are {num_classes} classes: "
            f"raise num_classes, or use {IGNORE} for pixels that nothing is known about"
        )
    batch, height, width = labels.shape
    rest = (1 - confidence) / (num_classes - 1)
    probabilities = torch.full((batch, num_classes, height, width), rest, device=labels.device)
    probabilities.scatter_(1, classes[:, None], confidence)
    return torch.where(known[:, None], probabilities, 1 / num_classes)


class _Response(NamedTuple):
    """A kernel on a picture, without its normalisation."""

    lattice: Lattice
    total: Tensor  # (N,): n_i = sum_j k(i, j)

    @classmethod
    def of(cls, features: Tensor, count: int) -> _Response:
        lattice = build_lattice(features, count)
        values = lattice.splat @ torch.ones(count, 1, device=features.device)
        for axis in lattice.blur:
            values = axis @ values
        return cls(lattice, (lattice.slice @ values)[:, 0])

    def factors(self, normalization: Normalization) -> tuple[Tensor, Tensor]:
        """What each point's value is multiplied with before and after the filter, (N,) twice."""
        total = self.total + 1e-20
        one = torch.ones_like(total)
        return {
            "symmetric": (total.rsqrt(), total.rsqrt()),
            "after": (one, 1 / total),
            "before": (1 / total, one),
            "none": (one, one),
        }[normalization]


class _Filters(NamedTuple):
    """All kernels, normalised, as one filter: their vertices follow each other in one table of V rows."""

    splat: Rows  # (V, N)
    blur: tuple[tuple[Rows, ...], ...]  # for each kernel, the axes in their order; (V_m, V_m)
    slice: Rows  # (N, V)

    @property
    def sizes(self) -> list[int]:
        """V_m, the number of vertices of each kernel."""
        return [len(axes[0].offsets) - 1 for axes in self.blur]

    def blurred(self, table: Tensor) -> Tensor:
        """(V, K) -> (V, K)."""
        blocks = []
        for block, axes in zip(table.split(self.sizes), self.blur, strict=True):
            for axis in axes:
                block = axis @ block
            blocks.append(block)
        return torch.cat(blocks)


def _join(
    responses: Sequence[_Response], normalizations: Sequence[Normalization], transposed: bool = False
) -> _Filters:
    """One filter out of many, with the normalisation in the weights. The transposed one carries gradients back."""
    columns, offsets, values, corners, weights, blur = [], [], [], [], [], []
    entries = vertices = 0
    for (lattice, total), factors in zip(
        responses, (r.factors(n) for r, n in zip(responses, normalizations, strict=True)), strict=True
    ):
        # `slice` is the transpose of `splat`, so that transposing the product swaps the factors and turns the blur round.
        before, after = reversed(factors) if transposed else factors
        blur.append(lattice.blur[::-1] if transposed else lattice.blur)
        splat, slice_ = lattice.splat, lattice.slice
        columns.append(splat.columns)
        values.append(splat.values * before.index_select(0, splat.columns))
        offsets.append(splat.offsets[:-1] + entries)
        corners.append(slice_.columns.view(len(total), -1) + vertices)
        weights.append(slice_.values.view(len(total), -1) * after[:, None])
        entries += len(splat.columns)
        vertices += len(splat.offsets) - 1
    end = torch.full((1,), entries, dtype=torch.int32, device=total.device)
    width = sum(corner.shape[1] for corner in corners)
    regular = torch.arange(0, len(total) * width + 1, width, dtype=torch.int32, device=total.device)
    return _Filters(
        Rows(torch.cat(columns), torch.cat([*offsets, end]), torch.cat(values)),
        tuple(blur),
        Rows(torch.cat(corners, dim=1).view(-1), regular, torch.cat(weights, dim=1).view(-1)),
    )


def _weigh(table: Tensor, filters: _Filters, compats: Sequence[Tensor]) -> Tensor:
    """Compatibility transform: vertices are fewer than pixels, and it commutes with slicing. (V, K) -> (V, K)."""
    blocks = []
    with torch.autocast(table.device.type, enabled=False):
        for block, compat in zip(table.split(filters.sizes), compats, strict=True):
            blocks.append(block * compat if compat.ndim == 0 else block @ ((compat + compat.t()) / -2))
    return torch.cat(blocks)


def _update(filters: _Filters, messages: Tensor, negative_unary: Tensor, out: Tensor) -> Tensor:
    """Softmax of the messages at every pixel less the unary: (V, K) and (N, K) -> (N, K), written to `out`."""
    columns, offsets, values = filters.slice
    total = len(negative_unary)
    width = len(columns) // total
    size = 1 << 13 if out.device.type == "cpu" else total  # keep a piece in the cache between the three steps
    for i in range(0, total, size):
        piece = slice(i, min(i + size, total))
        entries = slice(piece.start * width, piece.stop * width)
        local = Rows(columns[entries], offsets[: piece.stop - i + 1], values[entries])
        energy = (local @ messages).add_(negative_unary[piece].detach())
        torch.softmax(energy, dim=1, out=out[piece])
    return out


class _Spread(torch.autograd.Function):
    """Splat and blur: (N, K) -> (V, K)."""

    @staticmethod
    def forward(ctx: Any, marginals: Tensor, filters: _Filters, adjoint: _Filters | None) -> Tensor:
        ctx.adjoint = adjoint
        return filters.blurred(filters.splat @ marginals)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.adjoint.slice @ ctx.adjoint.blurred(gradient), None, None


class _Update(torch.autograd.Function):
    """Slice, add the unary, softmax: (V, K) and (N, K) -> (N, K)."""

    @staticmethod
    def forward(ctx: Any, messages: Tensor, negative_unary: Tensor, filters: _Filters, adjoint: _Filters) -> Tensor:
        marginals = _update(filters, messages, negative_unary, out=torch.empty_like(negative_unary))
        ctx.adjoint = adjoint
        ctx.save_for_backward(marginals)
        return marginals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (marginals,) = ctx.saved_tensors
        weighted = marginals * gradient
        energy = weighted - marginals * weighted.sum(dim=1, keepdim=True)
        return ctx.adjoint.splat @ energy, energy, None, None


def _features(image: Tensor, deviations: Sequence[float]) -> Tensor:
    """(3, H, W) -> (2 or 5, N): x and y, then, where deviations are given for it, the colour; each by its deviation.

    The authors' program takes pixels four at a time, and where their number is no multiple of four, it places the missing
    ones at the origin. They have no value, but their vertices exist, and in small pictures let more of the blur through:
    Q may change by 0.1. A black point in the first corner is added for them.
    """
    _, height, width = image.shape
    x = torch.arange(width, dtype=torch.float32, device=image.device).expand(height, width)
    y = torch.arange(height, dtype=torch.float32, device=image.device)[:, None].expand(height, width)
    planes = torch.stack([x, y, *image.float()][: len(deviations)]).view(len(deviations), -1)
    if planes.shape[1] % 4:
        planes = F.pad(planes, (0, 1))
    return planes / torch.tensor(deviations, device=image.device)[:, None]


def _check(probabilities: Tensor, images: Tensor, kernels: Sequence[Kernel | None], iterations: int) -> None:
    if probabilities.ndim != 4 or not probabilities.is_floating_point() or probabilities.numel() == 0:
        raise ValueError(
            f"probabilities are {probabilities.dtype} of shape {tuple(probabilities.shape)}; "
            "give floating-point numbers of shape (B, K, H, W), none of them zero"
        )
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ValueError(
            f"images are {images.dtype} of shape {tuple(images.shape)}; "
            "give 8-bit RGB, uint8 of shape (B, 3, H, W), as read from the file"
        )
    batch, num_classes, height, width = probabilities.shape
    if images.shape[0] != batch or images.shape[2:] != probabilities.shape[2:]:
        raise ValueError(
            f"probabilities are {batch} of {height} x {width}, images {images.shape[0]} of {images.shape[2]} x "
            f"{images.shape[3]} (B, H x W); resize the scores to the images' size before the softmax"
        )
    values = probabilities.detach()
    # Written so that NaN fails: every comparison with it is false.
    wrong = ~((values.sum(dim=1, dtype=torch.float32) - 1).abs() <= SUM_TOLERANCE)
    wrong |= ~(values.amin(dim=1) >= -SUM_TOLERANCE)
    if bool(wrong.any()):
        b, row, column = wrong.nonzero()[0].tolist()
        pixel = values[b, :, row, column]
        raise ValueError(
            f"picture {b}, pixel ({row}, {column}): the probabilities sum to {pixel.sum().item():.6g}, the smallest is "
            f"{pixel.amin().item():.6g}; give the softmax of finite scores over dimension 1, in float32"
        )
    for kernel in kernels:
        if kernel is not None and torch.as_tensor(kernel.compat).shape not in ((), (num_classes, num_classes)):
            shape = tuple(torch.as_tensor(kernel.compat).shape)
            raise ValueError(
                f"{type(kernel).__name__}: compat has shape {shape} for {num_classes} classes; "
                f"give a number, or a matrix of shape ({num_classes}, {num_classes})"
            )
    if iterations < 0:
        raise ValueError(f"iterations is {iterations}; give 0, for the softmax of the unary, or more")
