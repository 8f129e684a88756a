"""Occlusion sensitivity: what a network sees no longer when a patch of the picture is covered.

Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, arXiv:1311.2901.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from segue.explain.anyone import on_picture
from segue.explain.colouring import signed_scale
from segue.explain.drawing import Drawing
from segue.explain.sheet import Cell, Sheet
from segue.explain.subject import Subject
from segue.figures import count_flop

PATCHES = 8  # across the longer side; each one is two steps long, so that every place is covered four times
WORK = 4e12  # operations that the whole takes at most; beyond, the picture is shrunk


def occlusion(
    network: nn.Module,
    images: Tensor,
    masks: Sequence[Tensor],
    labels: Sequence[int],
    step: int,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """By how much classes become less probable where they are, as a patch covers the picture elsewhere.

    images: (1, C, H, W); the patch is zero, the mean colour, 2 * step on a side, and moves by `step`. masks: (H, W)
    bool for each of `labels`, the pixels where the class is asked about; those under the patch do not count. tick:
    called with (forward passes done, all of them). Returns (classes, rows, columns) float64, the mean over the patches
    on each place, NaN where no patch left any of the mask's pixels; negative where the class became more probable.
    """
    height, width = images.shape[-2:]
    rows, columns = -(-height // step), -(-width // step)
    sums = np.zeros((len(labels), rows, columns))
    counts = np.zeros_like(sums)
    with torch.inference_mode():
        before = network(images).logits[0].float().softmax(dim=0)[list(labels)]
        places = [(row, column) for row in range(-1, rows) for column in range(-1, columns)]
        for index, (row, column) in enumerate(places):
            tick(index, len(places))
            top, left = max(0, row * step), max(0, column * step)
            bottom, right = (row + 2) * step, (column + 2) * step
            covered = images.clone()
            covered[..., top:bottom, left:right] = 0
            after = network(covered).logits[0].float().softmax(dim=0)[list(labels)]
            for which, mask in enumerate(masks):
                open_places = mask.clone()
                open_places[top:bottom, left:right] = False
                if open_places.any():
                    cells = np.s_[which, max(0, row) : row + 2, max(0, column) : column + 2]
                    sums[cells] += float((before[which] - after[which])[open_places].mean())
                    counts[cells] += 1
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def occlusion_drawing(subject: Subject) -> Drawing:
    """A picture for each class."""
    height, width = subject.inputs.shape[-2:]
    places = PATCHES * max(1, round(PATCHES * min(height, width) / max(height, width)))
    flop = count_flop(subject.network, subject.inputs) * places
    inputs, note = subject.shrunk(min(1.0, (WORK / flop) ** 0.5), "to be done in a minute or two")
    step = -(-max(inputs.shape[-2:]) // PATCHES)
    classes = [label for label in subject.classes if (subject.predicted == label).any()] or subject.occurring()[:1]
    with torch.inference_mode():
        seen = subject.network(inputs).logits[0].argmax(dim=0)
    masks = [seen == label for label in classes]
    drops = occlusion(
        subject.network,
        inputs,
        masks,
        classes,
        step,
        lambda done, total: subject.say(f"occlusion: {done} of {total} patches"),
    )
    scale = signed_scale(drops, "less probable")
    cells = []
    for label, drop in zip(classes, drops, strict=True):
        picture = on_picture(subject, np.nan_to_num(drop), scale)
        most = float(np.nanmax(drop, initial=0))
        cells.append(
            Cell(picture, subject.labels.classes[label], f"at most {most:.2f} less probable", scale, smooth=True)
        )
    text = (
        f"A grey patch of {2 * step}x{2 * step} pixels is moved over the picture. Orange: covering this place makes "
        "the class less probable on its own pixels elsewhere, so the network looks here for it. Purple: more probable. "
        f"{note}"
    )
    return Drawing("occlusion", Sheet("Occlusion sensitivity", text, [cells]))
