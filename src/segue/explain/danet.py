"""DANet's two attentions (Fu et al., CVPR 2019, Sec. 4.2.4 and Fig. 6): what places look at, and attended channels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from segue.explain.anyone import on_picture
from segue.explain.changes import classes_of
from segue.explain.colouring import Scale, scale_of, stretched, unit_interval
from segue.explain.drawing import Drawing
from segue.explain.sheet import Cell, Sheet, class_map, heat
from segue.explain.subject import Point, Subject
from segue.explain.taps import parts, watched
from segue.models.danet import CAM, PAM, DANet

NAMED = (3, 10)  # the 4th and the 11th channel, which the paper shows
PER_CLASS = 4  # channels that are shown because they follow a class


def cell_of(point: Point, pixels: tuple[int, int], cells: tuple[int, int]) -> int:
    """The cell, row * columns + column, of a map of (rows, columns) under a pixel of a picture of (height, width)."""
    row = point.y * cells[0] // pixels[0]
    column = point.x * cells[1] // pixels[1]
    return row * cells[1] + column


def attention_rows(subject: Subject, block: PAM) -> Tensor:
    """(points, h, w): the rows of S of the subject's points, as the block computes them on this picture."""
    with torch.inference_mode(), watched(block) as calls:
        subject.network(subject.inputs)
        (features,) = calls[block][0].inputs
        cells = (features.shape[-2], features.shape[-1])
        positions = [cell_of(point, subject.pixels.shape[:2], cells) for point in subject.points]
        return block.attention(features, positions)[0].float()


def position_attention(subject: Subject) -> Drawing:
    """What each point looks at."""
    ((name, block),) = parts(subject.network, PAM)[:1]
    assert isinstance(block, PAM)
    rows = attention_rows(subject, block).cpu().numpy()
    cells = []
    for point, row in zip(subject.points, rows, strict=True):
        scale = scale_of(row, unit="share of its attention", rim=0.002)
        even = row.max() * row.size
        cells.append(
            Cell(
                on_picture(subject, row, scale),
                subject.named(point),
                f"at most {even:.1f} times an even share",
                scale,
                smooth=True,
                marks=subject.marks([point]),
            )
        )
    shape = rows.shape[-2:]
    text = (
        f"What each ringed place gathers from: its row of the attention matrix S (Eq. 1), {shape[1]}x{shape[0]} "
        "numbers that add up to 1. Bright places are the ones that it takes most of. "
        f"What is gathered is added with the weight alpha = {block.alpha.item():.3f} ({name})."
    )
    return Drawing("position_attention", Sheet("Position attention", text, [cells]))


def channel_maps(block: CAM, features: Tensor) -> tuple[Tensor, Tensor]:
    """(attended without beta, the block's output): each (C, h, w), of features (1, C, h, w)."""
    attention = block.attention(features, range(features.shape[1]))  # in float32 at least
    flat = features.flatten(2).to(attention.dtype)
    return (attention @ flat)[0].view_as(features[0]), block(features)[0].to(attention.dtype)


def channel_attention(subject: Subject) -> Drawing:
    """Some channels before and behind channel attention."""
    ((name, block),) = parts(subject.network, CAM)[:1]
    assert isinstance(block, CAM)
    with torch.inference_mode(), watched(block) as calls:
        subject.network(subject.inputs)
        (features,) = calls[block][0].inputs
        gathered, attended = channel_maps(block, features)
        shown = _channels(subject, attended)
        rows = block.attention(features, [channel for channel, _ in shown])[0].cpu().numpy()
    sheet_rows, names = [], []
    scale = Scale(0, 1, unit="share of its range")
    for (channel, why), weights in zip(shown, rows, strict=True):
        cells = []
        for title, maps in (
            ("before", features[0]),
            ("gathered, without beta", gathered),
            ("after, with beta", attended),
        ):
            values = unit_interval(maps[channel].float().cpu().numpy())
            cells.append(Cell(on_picture(subject, values, scale), title, scale=scale, smooth=True))
        cells.append(_strip(weights))
        sheet_rows.append(cells)
        names.append(f"channel {channel + 1}\n{why}")
    text = (
        "Single channels, each stretched to 0..1: before channel attention, what is gathered from all channels "
        f"(without beta), and after it (before + beta * gathered, with beta = {block.beta.item():.4f}, {name}). The "
        "last column is the channel's row of X (Eq. 3): how much it gathers from which channel."
    )
    return Drawing("channel_attention", Sheet("Channel attention", text, sheet_rows, names))


def _channels(subject: Subject, attended: Tensor) -> list[tuple[int, str]]:
    """Channels to show, counted from 0, and why: those that follow a class best, and the two of the paper."""
    flat = attended.flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    chosen: list[tuple[int, str]] = []
    rows = torch.linspace(0, subject.predicted.shape[0] - 1, attended.shape[1]).round().long()
    columns = torch.linspace(0, subject.predicted.shape[1] - 1, attended.shape[2]).round().long()
    small = torch.from_numpy(subject.predicted)[rows][:, columns].to(attended.device)
    for label in subject.classes[:PER_CLASS]:
        where = (small == label).float().flatten()
        where = where - where.mean()
        like = (flat @ where) / (flat.norm(dim=1) * where.norm()).clamp(min=1e-12)
        best = int(like.argmax())
        if where.norm() > 0 and best not in [channel for channel, _ in chosen]:
            chosen.append((best, f"most like {subject.labels.classes[label]} ({float(like[best]):.2f})"))
    known = [channel for channel, _ in chosen]
    return chosen + [(one, "the paper shows this one") for one in NAMED if one < len(attended) and one not in known]


def _strip(weights: np.ndarray) -> Cell:
    """One number for each channel as a field of squares, in the channels' order."""
    across = int(np.ceil(np.sqrt(len(weights) * 1.4)))
    field = np.full(-(-len(weights) // across) * across, np.nan)
    field[: len(weights)] = weights
    values = field.reshape(-1, across)
    return heat(values, scale_of(weights, unit="weight"), "row of X", f"{len(weights)} channels, row by row")


def branches(subject: Subject) -> Drawing:
    """What each attention says alone."""
    network = subject.network
    assert isinstance(network, DANet)
    network.all_outputs = True
    try:
        with torch.inference_mode():
            scores = network.scores(subject.inputs)
    finally:
        network.all_outputs = False
    maps = {"both, added up": scores.logits, "position attention": scores.pam, "channel attention": scores.cam}
    classes = {name: classes_of(one) for name, one in maps.items() if one is not None}
    both = classes["both, added up"]
    cells = [Cell(subject.pixels, "picture", smooth=True)]
    for name, found in classes.items():
        note = "" if found is both else f"{100 * (found != both).mean():.1f} % other than both"
        cells.append(class_map(stretched(found, subject.pixels.shape), subject.labels, name, note))
    text = (
        "The classes by the sum of both branches, and by each branch's own classifier, which only training reads. "
        "At the stride of the last map, before scores are enlarged."
    )
    sheet = Sheet(
        "What each attention says", text, [cells], labels=subject.labels, classes=subject.occurring(*classes.values())
    )
    return Drawing("branches", sheet)
