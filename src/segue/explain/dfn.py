"""DFN (Yu et al., CVPR 2018): attention vectors (Fig. 4b), borders, and the prediction at each stage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.explain.colouring import Scale, stretched
from segue.explain.drawing import Drawing
from segue.explain.sheet import Cell, Sheet, class_map, heat
from segue.explain.subject import Subject
from segue.explain.taps import parts, watched
from segue.labels import IGNORE
from segue.models.borders import border_labels
from segue.models.dfn import CAB, DFN, NarrowDFN, SmoothNetwork

STAGES = (5, 4, 3, 2)


def gates(subject: Subject) -> Drawing:
    """The attention vector of each channel attention block."""
    blocks = parts(subject.network, CAB)
    with torch.inference_mode(), watched(*(block for _, block in blocks)) as calls:
        subject.network(subject.inputs)
    rows, names = [], []
    for stage, (name, block) in zip(STAGES, blocks, strict=False):
        gate = calls[block][0].output[1][0].float().cpu().numpy()
        rows.append([heat(_strip(gate), Scale(0, 1, "gray_r", "gate"), "", "")])
        names.append(f"stage {stage}\n{name}\nmean {gate.mean():.2f}")
    text = (
        "The gate of each channel of a stage, in the channels' order, from left to right and row by row: darker is "
        "larger (Fig. 4b). Black lets all of the stage's channel pass, white nothing. The coarser stage and the one "
        "itself decide it together."
    )
    return Drawing("gates", Sheet("Channel attention vectors", text, rows, names, widest=1380))


def _strip(gate: np.ndarray) -> np.ndarray:
    """(C,) -> (rows * n, across): a strip, folded where it is long; NaN where it ends."""
    across = min(len(gate), 256)
    rows = math.ceil(len(gate) / across)
    padded = np.full(rows * across, np.nan)
    padded[: len(gate)] = gate
    return padded.reshape(rows, across).repeat(max(1, across // 16 // rows), axis=0)


def every_score(subject: Subject) -> Any:
    """All of the network's maps before they are enlarged, those too that only training reads."""
    network = subject.network
    network.all_outputs = True
    try:
        with torch.inference_mode():
            return network.scores(subject.inputs)
    finally:
        network.all_outputs = False


def borders(subject: Subject) -> Drawing:
    """The border map of each stage beside the label's border."""
    network, labels = subject.network, subject.labels
    scores = every_score(subject)
    rows = [[Cell(subject.pixels, "picture", smooth=True)]]
    occurring: list[int] = []
    if subject.target is not None:
        rows[0] += _label_borders(subject)
        occurring = subject.occurring(subject.target)
    text = (
        "How probable a border between classes is (the sigmoid of the Border Network's scores), from its finest stage "
        "alone to all four, one after the other added."
    )
    if isinstance(network, DFN):
        maps = scores.borders
        rows.append([])
        for count, one in enumerate(maps, start=1):
            stages = "stage 2 alone" if count == 1 else f"stage {count + 1} added"
            rows[1].append(
                heat(one[0, 0].sigmoid().cpu().numpy(), Scale(0, 1, "gray", "probability"), stages, smooth=True)
            )
        return Drawing("borders", Sheet("Borders", text, rows, labels=labels, classes=occurring))
    every: Tensor = scores.border[0].sigmoid()
    scale = Scale(0, 1, "gray", "probability")
    rows.append([heat(every[one].cpu().numpy(), scale, labels.classes[one], smooth=True) for one in subject.classes])
    text = "How probable a border of each class is, by the sum of all stages of the Border Network."
    return Drawing("borders", Sheet("Borders", text, rows, labels=labels, classes=occurring))


def _label_borders(subject: Subject) -> list[Cell]:
    assert subject.target is not None
    network = subject.network
    assert isinstance(network, DFN | NarrowDFN)
    target = torch.from_numpy(subject.target.astype(np.int64))[None]
    marks = border_labels(target, network.num_classes, void_borders=network.void_borders)[0].numpy()
    unknown = marks == IGNORE
    border = heat(np.where(unknown, 0, marks), Scale(0, 1, "gray"), "label's border", "what the loss compares with")
    return [
        class_map(subject.target, subject.labels, "label"),
        Cell(border.picture, border.title, border.note, unknown=unknown if unknown.any() else None),
    ]


def stages(subject: Subject) -> Drawing:
    """The classes at each stage of the Smooth Network."""
    network = subject.network
    if isinstance(network, DFN):
        scores = every_score(subject)
        maps = [*scores.stages, scores.logits]
        last = "its own head, and stage 2's is the network's answer"
    else:
        ((_, smooth),) = parts(network, SmoothNetwork)
        with torch.inference_mode(), watched(smooth) as calls:
            network(subject.inputs)
        maps = calls[smooth][0].output[0]
        last = "its features, which are scores themselves"
    classes = [one[0].argmax(dim=0).to(torch.uint8).cpu().numpy() for one in maps]
    cells = []
    for stage, found, before in zip(STAGES, classes, [None, *classes], strict=False):
        note = f"{found.shape[1]}x{found.shape[0]} cells"
        if before is not None:
            note += f", {100 * float((stretched(before, found.shape) != found).mean()):.1f} % changed"
        cells.append(class_map(stretched(found, subject.pixels.shape), subject.labels, f"stage {stage}", note))
    text = f"From coarse to fine: what each stage predicts by {last}."
    rows = [[Cell(subject.pixels, "picture", smooth=True), *cells[:2]], cells[2:]]
    if subject.target is not None:
        rows[1].append(class_map(subject.target, subject.labels, "label"))
        classes.append(subject.target)
    sheet = Sheet(
        "The Smooth Network, stage by stage", text, rows, labels=subject.labels, classes=subject.occurring(*classes)
    )
    return Drawing("stages", sheet)
