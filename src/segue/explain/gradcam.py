"""Grad-CAM: where in a map the evidence for a class lies.

Selvaraju et al., ICCV 2017, arXiv:1610.02391; for segmentation the score is the sum of a class's logits over the pixels
that are asked about (Vinogradova et al., AAAI 2020, arXiv:2002.11434).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segue.explain.anyone import on_picture
from segue.explain.colouring import Scale
from segue.explain.drawing import CannotDraw, Drawing
from segue.explain.sheet import Cell, Sheet
from segue.explain.subject import Subject
from segue.explain.taps import enter, last_map, scoring

MOST_LAYERS = 4


def grad_cam(
    network: nn.Module, images: Tensor, label: int, mask: Tensor, layers: Sequence[str]
) -> list[Tensor | None]:
    """The class activation maps of a class in some layers: (h, w) float32 each, in 0..1.

    images: (1, C, H, W). mask: (H, W) bool, the pixels whose logits of the class are summed. layers: names of modules;
    `>NAME` is what the module takes instead of what it gives, and of several maps the last one counts. A map is 0
    everywhere where nothing speaks for the class, and None where the logits do not depend on it.

    A layer's channels are weighted by the mean of their gradients over all places; of the weighted sum the positive
    part is kept, and its maximum becomes 1.
    """
    held: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.requires_grad_(False)
                stack.callback(parameter.requires_grad_, True)
        for layer in layers:
            stack.callback(_hold(network, layer, held).remove)
        stack.enter_context(torch.enable_grad())
        logits = network(images).logits[0, label]
        score = (logits * mask.to(logits)).sum()
        maps = [held[layer] for layer in layers if layer in held]
        known = score.requires_grad
        gradients = iter(torch.autograd.grad(score, maps, allow_unused=True) if known else [None] * len(maps))
    return [_activation(held[layer], next(gradients)) if layer in held else None for layer in layers]


def _hold(network: nn.Module, layer: str, held: dict[str, Tensor]) -> Any:
    """A hook that keeps a layer's map as one that gradients come back to."""

    def keep(maps: Tensor) -> Tensor:
        # Of a map that depends on no kept one the graph begins here; that saves the memory of all before it.
        kept = maps if maps.requires_grad else maps.detach().requires_grad_()
        held.setdefault(layer, kept)
        return kept

    def given(module: nn.Module, inputs: Any, output: Any) -> Any:
        if layer in held:
            return None
        if isinstance(output, Tensor):
            return keep(output)
        target = last_map(output)
        replaced = [keep(one) if one is target else one for one in output]
        return type(output)(*replaced) if hasattr(output, "_fields") else type(output)(replaced)

    def taken(module: nn.Module, inputs: Any) -> Any:
        return None if layer in held else (keep(inputs[0]), *inputs[1:])

    if layer.startswith(">"):
        return enter(network, layer[1:]).register_forward_pre_hook(taken)
    return enter(network, layer).register_forward_hook(given)


def _activation(maps: Tensor, gradient: Tensor | None) -> Tensor | None:
    if gradient is None or maps.ndim != 4:
        return None
    weights = gradient.mean(dim=(-2, -1), keepdim=True)
    activation = (weights * maps.detach()).sum(dim=1)[0].clamp(min=0).float()
    return activation / activation.max().clamp(min=1e-30)


def default_layers(subject: Subject) -> list[str]:
    """The backbone's coarsest map, and what is scored. Raises CannotDraw where there is neither."""
    network = subject.network
    scorers = scoring(network, subject.inputs)[1 - MOST_LAYERS :]
    backbone = [name for name, module in network.named_modules() if module is network.backbone]
    layers = [*backbone[:1], *(f">{name}" for name in scorers)]
    if not layers:
        raise CannotDraw("no layer of this network is known to hold features: name one with --layer")
    return layers


def grad_cam_drawing(subject: Subject) -> Drawing:
    """A row for each class, a column for each layer."""
    layers = list(subject.wishes.layers) or default_layers(subject)
    height, width = subject.pixels.shape[:2]

    def work(network: nn.Module, images: Tensor) -> object:
        every = torch.ones(images.shape[-2:], dtype=torch.bool)
        return grad_cam(network, images, 0, every, layers)

    inputs, note = subject.shrunk_to_fit(work)
    classes = [label for label in subject.classes if (subject.predicted == label).any()] or subject.occurring()[:1]
    rows, names = [], []
    for label in classes:
        where = subject.predicted == label
        mask = torch.nn.functional.adaptive_max_pool2d(torch.from_numpy(where)[None].float(), inputs.shape[-2:])[0] > 0
        cells = []
        for layer, activation in zip(layers, grad_cam(subject.network, inputs, label, mask, layers), strict=True):
            title = f"input of {layer[1:]}" if layer.startswith(">") else layer
            if activation is None:
                cells.append(Cell(np.full((height, width, 3), 236, np.uint8), title, "the scores do not depend on it"))
                continue
            scale = Scale(0, 1, "viridis", "share of its maximum")
            picture = on_picture(subject, activation.cpu().numpy(), scale)
            cells.append(Cell(picture, title, f"{activation.shape[1]}x{activation.shape[0]} cells", scale, smooth=True))
        rows.append(cells)
        names.append(f"{subject.labels.classes[label]}\n{100 * where.mean():.0f} % of the picture")
    text = (
        "Where the evidence for each class lies: the channels of a layer, weighted by how much the sum of the class's "
        "scores over the pixels that are predicted as it would rise with them. Bright is much; each picture for "
        f"itself. {note}"
    )
    return Drawing("grad_cam", Sheet("Class activation (Grad-CAM)", text, rows, names, widest=480))
