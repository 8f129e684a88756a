"""Mean field inference in the fully connected CRF.

P. Krähenbühl, V. Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NIPS 2011
(arXiv:1210.5644), with the normalisations of Parameter Learning and Convergent Inference for Dense Random Fields by the
same authors, ICML 2013. The numbers are those of the authors' program, which pydensecrf wraps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from segue.crf.filters import Response, respond
from segue.crf.kernels import APPEARANCE, SMOOTHNESS, Bilateral, Gaussian, Kernel
from segue.crf.permutohedral import Lattice
from segue.labels import IGNORE

SMALLEST_PROBABILITY = 1e-5
"""Smaller ones are raised to it before the logarithm, as in pydensecrf: no label is ever impossible."""

TOLERANCE = 1e-3
"""How far from one a pixel's probabilities may sum. A softmax in float32 stays within 1e-6, in bfloat16 it does not."""

PIECE = 1 << 15
"""Pixels that a processor treats at a time: their rows stay in its cache from one step to the next."""

SMALLEST_SUM, LARGEST_SUM = 1e-30, 1e30
"""What a pixel's exponentials sum to in float32 if none has overflowed and none that matters has vanished."""


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
    wanted = range(iterations, iterations + 1)
    results = [
        next(DenseCRF(image)._steps(probability, (gaussian, bilateral), wanted))
        for probability, image in zip(probabilities, images, strict=True)
    ]
    stacked = torch.stack(results) if len(results) > 1 else results[0][None]
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
        DenseCRF(image)._steps(probability, (gaussian, bilateral), range(iterations + 1))
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
        wanted = range(iterations, iterations + 1)
        return next(self._steps(probability, (gaussian, bilateral), wanted)).permute(2, 0, 1)

    def _steps(self, probability: Tensor, kernels: Sequence[Kernel | None], wanted: range) -> Iterator[Tensor]:
        """(K, H, W) -> Q (H, W, K) after each of the `wanted` numbers of updates."""
        device = probability.device
        # Without updates, nothing is heard from other pixels.
        present = [kernel for kernel in kernels if kernel is not None and wanted.stop > 1]
        compats = [torch.as_tensor(kernel.compat, dtype=torch.float32, device=device) for kernel in present]
        size = PIECE if device.type == "cpu" else probability[0].numel()
        unary = _rows(probability, size)
        responses = [self._response(kernel, device, size) for kernel in present]
        filters = _normalised(responses, present)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (probability, *compats)):
            steps = _recorded(unary, filters, _normalised(responses, present, transposed=True), compats, wanted)
        else:
            steps = _in_pieces(unary, filters, compats, wanted, size)
        return (marginals.view(*probability.shape[1:], -1) for marginals in steps)

    def _response(self, kernel: Kernel, device: torch.device, size: int) -> Response:
        deviations = kernel.deviations
        kept = self._kept.get(type(kernel))
        if kept is not None and kept[0] == deviations and kept[1].norm.device == device:
            return kept[1]
        response = respond(self.image.to(device), deviations, size)
        self._kept[type(kernel)] = deviations, response
        return response


def _normalised(responses: Sequence[Response], kernels: Sequence[Kernel], transposed: bool = False) -> list[Lattice]:
    return [
        response.normalised(kernel.normalization, transposed)
        for response, kernel in zip(responses, kernels, strict=True)
    ]


def _rows(probability: Tensor, size: int) -> Tensor:
    """(K, H, W) -> (N, K), so that an entry of a sparse product moves K neighbouring numbers.

    The probabilities, raised to `SMALLEST_PROBABILITY`, are the exponentials of the negative unary, and these are all
    that a softmax needs of it.
    """
    columns = probability.flatten(1)
    rows = torch.empty(columns.shape[::-1], device=columns.device)
    for start in range(0, len(rows), size):
        piece = slice(start, start + size)
        rows[piece] = columns[:, piece].t().float().clamp(min=SMALLEST_PROBABILITY)
    return rows


def _in_pieces(
    unary: Tensor, filters: Sequence[Lattice], compats: Sequence[Tensor], wanted: range, size: int
) -> Iterator[Tensor]:
    """Mean field inference (Algorithm 1) without gradients: (N, K) -> Q (N, K) after the `wanted` numbers of updates.

    A piece of pixels is sliced, updated and splatted while it is in the cache. Q as a whole is written down only where
    it is wanted, at last over `unary`.
    """
    channels = [_Channel(lattice, compat, unary.shape[1]) for lattice, compat in zip(filters, compats, strict=True)]
    end = wanted.stop - 1
    for step in range(wanted.stop):
        marginals = None
        if step in wanted:
            marginals = torch.empty_like(unary) if step < end else unary
        for i, start in enumerate(range(0, len(unary), size)):
            piece = slice(start, start + size)
            updated = _update(unary[piece], [channel.receive(i) for channel in channels] if step else [])
            if step < end:
                for channel in channels:
                    channel.send(i, updated)
            if marginals is not None:
                marginals[piece] = updated
        if marginals is not None:
            yield marginals
        if step < end:
            for channel in channels:
                channel.exchange()


class _Channel:
    """The messages of one kernel between pieces. What is large is allocated once, see `Rows.multiply`."""

    def __init__(self, lattice: Lattice, compat: Tensor, num_classes: int) -> None:
        self.lattice = lattice
        self.compat = compat
        like = lattice.merge.values
        touched = [len(piece.vertices) for piece in lattice.pieces]
        self.splatted = like.new_empty(sum(touched), num_classes)
        self.parts = self.splatted.split(touched)
        self.messages, self.spare = like.new_empty(2, len(lattice.merge.offsets) - 1, num_classes)

    def send(self, piece: int, marginals: Tensor) -> None:
        """(n, K)"""
        self.parts[piece].copy_(self.lattice.pieces[piece].splat @ marginals)

    def exchange(self) -> None:
        """All pieces have sent: what they receive from now on is made of it."""
        table, spare = self.lattice.merge.multiply(self.splatted, self.messages), self.spare
        for axis in self.lattice.blur:
            table, spare = axis.multiply(table, spare), table
        self.messages, self.spare = _weigh(table, self.compat, out=spare), table

    def receive(self, piece: int) -> Tensor:
        """(n, K)"""
        return self.lattice.pieces[piece].read(self.messages)


def _recorded(
    unary: Tensor,
    filters: Sequence[Lattice],
    adjoints: Sequence[Lattice],
    compats: Sequence[Tensor],
    wanted: range,
) -> Iterator[Tensor]:
    """Mean field inference as in `_in_pieces`, and with gradients."""
    marginals = _update(unary, [])
    for step in range(wanted.stop):
        if step:
            messages = [
                _weigh(_Spread.apply(marginals, lattice, adjoint), compat)
                for lattice, adjoint, compat in zip(filters, adjoints, compats, strict=True)
            ]
            marginals = _Update.apply(unary, filters, adjoints, *messages)
        if step in wanted:
            yield marginals


def _update(unary: Tensor, messages: Sequence[Tensor]) -> Tensor:
    """softmax(log(unary) + sum(messages)), all (n, K). The first of the messages is written over."""
    if not messages:
        return unary / unary.sum(dim=1, keepdim=True)
    energy = messages[0]
    for more in messages[1:]:
        energy.add_(more)
    energy.mul_(1 / math.log(2))  # on a processor, PyTorch takes powers of two four times as fast as those of e
    share = energy.exp2().mul_(unary)
    total = share.sum(dim=1, keepdim=True)
    # A softmax first subtracts every pixel's maximum. That costs as much as all of the above: see if it was needed.
    low, high = torch.aminmax(total)
    if not (low > SMALLEST_SUM and high < LARGEST_SUM):
        share = energy.sub_(energy.amax(dim=1, keepdim=True)).exp2_().mul_(unary)
        total = share.sum(dim=1, keepdim=True)
    return share.div_(total)


def _weigh(table: Tensor, compat: Tensor, out: Tensor | None = None) -> Tensor:
    """The compatibility transform (Algorithm 1), (V, K) -> (V, K): it commutes with `slice`, and vertices are fewer."""
    with torch.autocast(table.device.type, enabled=False):
        if compat.ndim:
            return torch.mm(table, (compat + compat.t()) / -2, out=out)
        return torch.mul(table, compat, out=out)


class _Spread(torch.autograd.Function):
    """Splat and blur: (N, K) -> (V, K)."""

    @staticmethod
    def forward(ctx: Any, marginals: Tensor, lattice: Lattice, adjoint: Lattice) -> Tensor:
        ctx.adjoint = adjoint
        return lattice.blurred(lattice.splat(marginals))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.adjoint.slice(ctx.adjoint.blurred(gradient)), None, None


class _Update(torch.autograd.Function):
    """Slice, unary and softmax: (N, K), and (V, K) from each kernel -> (N, K)."""

    @staticmethod
    def forward(
        ctx: Any, unary: Tensor, filters: Sequence[Lattice], adjoints: Sequence[Lattice], *messages: Tensor
    ) -> Tensor:
        marginals = _update(unary, [lattice.slice(table) for lattice, table in zip(filters, messages, strict=True)])
        ctx.adjoints = adjoints
        ctx.save_for_backward(unary, marginals)
        return marginals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        unary, marginals = ctx.saved_tensors
        share = marginals * gradient
        energy = share - marginals * share.sum(dim=1, keepdim=True)
        return energy / unary, None, None, *(adjoint.splat(energy) for adjoint in ctx.adjoints)


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
