"""DeepLab: ASPP branch by branch (v2, Fig. 7; v3, Fig. 5), and the CRF update by update (v1 and v2)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import nn

from segue.crf import dense_crf_steps
from segue.explain.anyone import on_picture
from segue.explain.changes import change_legend, changed, classes_of, opening
from segue.explain.colouring import Scale, stretched
from segue.explain.drawing import Drawing
from segue.explain.memory import room_beside
from segue.explain.sheet import Cell, Mark, Sheet, class_map
from segue.explain.subject import Point, Subject
from segue.explain.taps import parts, replaced, watched
from segue.labels import IGNORE
from segue.layers import ASPP, resize
from segue.models.deeplabv2 import FieldOfView, SummedASPP, SummedScores
from segue.options import CRFOptions
from segue.pictures import resized
from segue.prediction import crf_kernels
from segue.sharpening import crf_options, described

SHOWN_AFTER = (1, 2, 5, 10)  # updates of the CRF
PER_ROW = 4
LATTICE, UPDATE = 800, 16
"""Bytes per pixel, and per pixel and class, that the dense CRF was measured to take on pictures of streets."""


def summed_branches(subject: Subject) -> Drawing:
    """What each rate of DeepLabv2's ASPP says alone; the scores are their sum."""
    ((_, head),) = [*parts(subject.network, SummedASPP), *parts(subject.network, SummedScores)][:1]
    branches = list(head.get_submodule("branches").children())
    with torch.inference_mode(), watched(head, *branches) as calls:
        subject.network(subject.inputs)
    rates = _rates(subject.network, branches)
    scores = [calls[branch][0].output for branch in branches]
    total = classes_of(calls[head][0].output)
    point = subject.points[0]
    rows = [opening(subject, stretched(total, subject.pixels.shape), "all branches added up", [point])]
    rows.append([_taps(subject, point, rate, scores[0].shape) for rate in rates])
    classes = [classes_of(one) for one in scores]
    alone = []
    for rate, found in zip(rates, classes, strict=True):
        note = f"{100 * (found == total).mean():.0f} % like the sum"
        alone.append(class_map(stretched(found, subject.pixels.shape), subject.labels, f"rate {rate} alone", note))
    rows.append(alone)
    text = (
        f"Second row: where the nine taps of each rate's kernel lie around {subject.named(point)}. Third row: what the "
        "scores of each branch say alone. Their sum, in the first row, is the network's answer at its own stride."
    )
    sheet = Sheet(
        "ASPP, rate by rate",
        text,
        rows,
        labels=subject.labels,
        classes=subject.occurring(total, *classes, subject.target),
    )
    return Drawing("aspp", sheet)


def _rates(network: nn.Module, branches: Sequence[nn.Module]) -> list[int]:
    """The dilation of each branch: its own, or that of the fc6 which it scores."""
    own = [branch.dilation[0] for branch in branches if isinstance(branch, nn.Conv2d) and branch.kernel_size[0] > 1]
    if len(own) == len(branches):
        return [int(rate) for rate in own]
    first = [field.get_submodule("fc6") for _, field in parts(network, FieldOfView)]
    return [int(layer.dilation[0]) for layer in first if isinstance(layer, nn.Conv2d)]


def joined_branches(subject: Subject) -> Drawing:
    """What each branch of DeepLabv3's ASPP holds, and what the classes would be with it alone."""
    ((_, block),) = parts(subject.network, ASPP)[:1]
    assert isinstance(block, ASPP)
    named = [*_named_branches(block), ("image pooling", 0, block.image_pooling)]
    with torch.inference_mode(), watched(block, *(branch for _, _, branch in named)) as calls:
        subject.network(subject.inputs)
    point = subject.points[0]
    rows = [opening(subject, subject.predicted, "all branches", [point])]
    taps, strengths, alone, classes = [], [], [], [subject.predicted]
    for name, rate, branch in named:
        maps = calls[branch][0].output[0].float()
        taps.append(_taps(subject, point, rate, maps.shape, name))
        strengths.append((name, maps.norm(dim=0).cpu().numpy()))
        found = _with_only(subject, branch, [other for _, _, other in named])
        classes.append(found)
        note = f"{100 * (found == subject.predicted).mean():.0f} % like all together"
        alone.append(class_map(found, subject.labels, f"{name} alone", note))
    every = np.concatenate([size.reshape(-1) for _, size in strengths])
    scale = Scale(0, float(np.quantile(every, 0.995)), unit="length of its vectors")
    strength = [
        Cell(on_picture(subject, size, scale), f"{name}: strength", scale=scale, smooth=True)
        for name, size in strengths
    ]
    rows += [taps, strength, alone]
    text = (
        f"Second row: where the taps of each branch lie around {subject.named(point)}. Third row: how strongly each "
        "branch answers. Fourth row: the prediction when only that branch is heard and the others are zero."
    )
    sheet = Sheet(
        "ASPP, branch by branch", text, rows, labels=subject.labels, classes=subject.occurring(*classes, subject.target)
    )
    return Drawing("aspp", sheet)


def _named_branches(block: ASPP) -> list[tuple[str, int, nn.Module]]:
    found = []
    for branch in block.branches:
        convolution = next(module for module in branch.modules() if isinstance(module, nn.Conv2d))
        rate = int(convolution.dilation[0])
        wide = convolution.kernel_size[0] > 1
        found.append((f"rate {rate}" if wide else "1x1", rate if wide else 0, branch))
    return found


def _with_only(subject: Subject, heard: nn.Module, branches: Sequence[nn.Module]) -> np.ndarray:
    with torch.inference_mode(), ExitStack() as stack:
        for branch in branches:
            if branch is not heard:
                stack.enter_context(replaced(branch, torch.zeros_like))
        return classes_of(subject.network(subject.inputs).logits)


def _taps(subject: Subject, point: Point, rate: int, shape: Sequence[int], name: str = "") -> Cell:
    """The taps of a dilated 3x3 kernel around a point; rate 0 is a kernel of one."""
    rows, columns = shape[-2:]
    middle = subject.marks([point])[0]
    steps = (-rate, 0, rate) if rate else (0,)
    marks = [Mark(middle.x + x / columns, middle.y + y / rows) for y in steps for x in steps]
    inside = [mark for mark in marks if 0 <= mark.x < 1 and 0 <= mark.y < 1]
    if rate:
        outside = len(marks) - len(inside)
        note = f"{round(2 * rate * subject.pixels.shape[0] / rows) + 1} pixels across"
        note += f", {outside} taps on padding" if outside else ""
    else:
        note = "the mean of the whole picture" if name == "image pooling" else "the place itself"
    return Cell(subject.pixels, name or f"rate {rate}", note, smooth=True, marks=inside)


def crf(subject: Subject) -> Drawing:
    """What the updates of the dense CRF change."""
    options = crf_options(subject.run, {}) if subject.run is not None else CRFOptions()
    subject, note = _small_enough(subject)
    image = torch.from_numpy(subject.pixels.copy()).permute(2, 0, 1)[None].to(subject.inputs.device)
    cells = [
        Cell(subject.pixels, "picture", smooth=True),
        class_map(subject.predicted, subject.labels, "without CRF", _score(subject, subject.predicted)),
    ]
    maps = [subject.predicted]
    with torch.inference_mode():
        steps = dense_crf_steps(subject.probabilities[None], image, *crf_kernels(options), options.iterations)
        for count, marginals in enumerate(steps):
            if count and (count in SHOWN_AFTER or count == options.iterations):
                maps.append(classes_of(marginals))
                title = f"{count} update{'s' if count > 1 else ''}"
                cells.append(class_map(maps[-1], subject.labels, title, _score(subject, maps[-1])))
    cells.append(changed(subject, maps[0], maps[-1], "changed by all updates"))
    if subject.target is not None:
        cells.append(class_map(subject.target, subject.labels, "label"))
        maps.append(subject.target)
    sheet = Sheet(
        "The CRF, update by update",
        f"Mean field updates of the dense CRF: {described(options)}. {note}",
        [cells[at : at + PER_ROW] for at in range(0, len(cells), PER_ROW)],
        labels=subject.labels,
        classes=subject.occurring(*maps),
        extra=change_legend(subject),
    )
    return Drawing("crf", sheet)


def _small_enough(subject: Subject) -> tuple[Subject, str]:
    """The subject, or a smaller one with the same scores where the CRF's lattice would not fit into memory."""
    needed = subject.predicted.size * (LATTICE + UPDATE * subject.labels.num_classes)
    kept = 2 * subject.logits.numel() * subject.logits.element_size()
    factor = (room_beside(subject.network, kept) / needed) ** 0.5
    if factor >= 1:
        return subject, ""
    height, width = (round(side * factor) for side in subject.predicted.shape)
    target = subject.target
    if target is not None:
        target = np.asarray(Image.fromarray(target).resize((width, height), Image.Resampling.NEAREST))
    small = replace(subject, pixels=np.asarray(resized(subject.pixels, (height, width))), target=target)
    small.__dict__["logits"] = resize(subject.logits[None], (height, width))[0]
    return small, f"Computed at {width}x{height}, to fit into memory."


def _score(subject: Subject, classes: np.ndarray) -> str:
    if subject.target is None:
        return ""
    counted = subject.target != IGNORE
    return f"{100 * float((classes == subject.target)[counted].mean()):.1f} % right" if counted.any() else ""
