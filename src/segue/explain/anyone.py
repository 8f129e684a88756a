"""What can be seen of any network: what it says, how sure it is, and what its maps hold."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from segue.explain.colouring import Scale, coloured, over, scale_of, stretched
from segue.explain.drawing import Drawing
from segue.explain.sheet import Cell, Sheet, class_map, heat
from segue.explain.subject import Subject
from segue.explain.taps import last_map, scoring, watched
from segue.labels import IGNORE
from segue.pictures import errors, overlay

SAMPLE = 4096  # positions of a map that its principal components are taken from


def prediction(subject: Subject) -> Drawing:
    """What the network says, beside the label and where it errs."""
    labels, predicted, target = subject.labels, subject.predicted, subject.target
    cells = [
        Cell(subject.pixels, "picture", smooth=True, marks=subject.marks()),
        Cell(overlay(subject.pixels, predicted, labels), "prediction, over the picture", smooth=True),
        class_map(predicted, labels, "prediction"),
    ]
    rows = [cells]
    named = [predicted]
    if target is not None:
        counted = target != IGNORE
        right = float((predicted == target)[counted].mean()) if counted.any() else math.nan
        wrong = Cell(errors(subject.pixels, target, predicted), "error", f"{100 * right:.1f} % right", unknown=~counted)
        rows.append([class_map(target, labels, "label"), wrong])
        named.append(target)
    text = "What the network says of the picture. The rings are the points that the other pictures speak of."
    sheet = Sheet(
        "Prediction",
        f"{text} {subject.seen_at}",
        rows,
        labels=labels,
        classes=subject.occurring(*named),
        errors=target is not None,
    )
    return Drawing("prediction", sheet)


def confidence(subject: Subject) -> Drawing:
    """How sure the network is, and what it may not know."""
    scores = doubt(subject.logits)
    sure = subject.probabilities.amax(dim=0).cpu().numpy()
    cells = [
        Cell(subject.pixels, "picture", smooth=True),
        heat(sure, Scale(0, 1, "viridis", "probability"), "confidence", "the highest class's probability"),
        heat(
            scores["entropy"],
            Scale(0, 1, "cividis", "entropy / log K"),
            "entropy",
            "of the classes' probabilities, 1 is even",
        ),
    ]
    unlike = [
        heat(scores[name], scale_of(scores[name], colours="cividis", unit=unit, rim=0.005), title, note)
        for name, title, note, unit in (
            ("softmax", "out of distribution: softmax", "-log of the highest probability", "nats"),
            ("max_logit", "out of distribution: max logit", "-highest score", "score"),
            ("energy", "out of distribution: energy", "-log of the sum of exp(scores)", "nats"),
        )
    ]
    text = (
        "Bright in the second row is what may be unlike all that the network was trained on. Confidence and entropy "
        "only compare classes with each other; max logit and energy also tell whether any class answers at all. "
        "Borders between classes are always bright."
    )
    return Drawing("confidence", Sheet("How sure the network is", text, [cells, unlike]))


def doubt(logits: Tensor) -> dict[str, np.ndarray]:
    """Scores of being out of distribution, of (K, h, w) logits: (h, w) float32 each, higher for what is unlike.

    softmax: -log max p, the order of 1 - max p without its ties. max_logit: -max f. entropy: in units of log K.
    energy: -log sum exp f.
    """
    energy = -logits.logsumexp(dim=0)
    highest = logits.amax(dim=0)
    log_p = logits.log_softmax(dim=0)
    entropy = -(log_p.exp() * log_p).sum(dim=0) / math.log(logits.shape[0])
    scores = {"softmax": -energy - highest, "max_logit": -highest, "entropy": entropy, "energy": energy}
    return {name: values.cpu().numpy() for name, values in scores.items()}


def features(subject: Subject) -> Drawing:
    """Each map's first three principal components as red, green and blue."""
    cells = [Cell(subject.pixels, "picture", smooth=True)]
    for name, maps in _maps(subject):
        picture, held = principal_colours(maps)
        size = f"{maps.shape[-1]}x{maps.shape[-2]}, {maps.shape[-3]} channels"
        cells.append(Cell(picture, name, f"{size}; {100 * held:.0f} % of the variance"))
    per_row = min(4, len(cells))
    text = (
        "The channels of a map, brought down to the three directions in which its places differ most, shown as red, "
        "green and blue: places of one colour look alike to the network. Colours cannot be compared between pictures."
    )
    rows = [cells[at : at + per_row] for at in range(0, len(cells), per_row)]
    return Drawing("features", Sheet("Features", text, rows))


def _maps(subject: Subject) -> list[tuple[str, Tensor]]:
    """The maps that are shown: those asked for, or the backbone's and those that are scored."""
    network = subject.network
    found: list[tuple[str, Tensor]] = []
    if subject.wishes.layers:
        modules = [(name, subject.layer(name)) for name in subject.wishes.layers]
        with torch.inference_mode(), watched(*(module for _, module in modules)) as calls:
            network(subject.inputs)
        return [(name, last_map(calls[module][0].output)[0].float()) for name, module in modules if calls[module]]
    scorers = [(name, subject.layer(name)) for name in scoring(network, subject.inputs)]
    watch = [module for _, module in scorers] + ([network.backbone] if network.backbone is not None else [])
    with torch.inference_mode(), watched(*watch) as calls:
        network(subject.inputs)
    if network.backbone is not None and calls[network.backbone]:
        output = calls[network.backbone][0].output
        maps = [output] if isinstance(output, Tensor) else [one for one in output if isinstance(one, Tensor)]
        found += [(f"backbone, map {index} of {len(maps)}", one) for index, one in enumerate(maps, start=1)]
    found += [(f"input of {name}", calls[module][0].inputs[0]) for name, module in scorers]
    unique: list[tuple[str, Tensor]] = []
    for name, one in found:
        if min(one.shape[-2:]) > 1 and not any(one is other for _, other in unique):
            unique.append((name, one))
    return [(name, maps[0].float()) for name, maps in unique]


def principal_colours(maps: Tensor) -> tuple[np.ndarray, float]:
    """(C, h, w) -> (h, w, 3) uint8, and the share of the variance that the three components hold.

    The components are those of an even sample of places; each one's sign is such that its largest weight is positive,
    and its middle 98 % fill the range of colours, so that the same map gives the same picture.
    """
    flat = maps.flatten(1).T  # (N, C)
    mean = flat.mean(dim=0)
    sample = flat[:: max(1, len(flat) // SAMPLE)] - mean
    if sample.shape[1] < 3:
        sample = torch.nn.functional.pad(sample, (0, 3 - sample.shape[1]))
    _, spread, directions = torch.linalg.svd(sample.cpu(), full_matrices=False)
    directions = directions[:3]
    directions = directions * torch.sign(directions.gather(1, directions.abs().argmax(dim=1, keepdim=True)))
    held = float((spread[:3] ** 2).sum() / (spread**2).sum().clamp(min=1e-30))
    values = ((flat - mean).cpu() @ directions[:, : flat.shape[1]].T).numpy()
    low, high = np.quantile(values, (0.01, 0.99), axis=0)
    shares = np.clip((values - low) / np.maximum(high - low, 1e-12), 0, 1)
    while shares.shape[1] < 3:
        shares = np.concatenate([shares, np.zeros_like(shares[:, :1])], axis=1)
    return (255 * shares).round().astype(np.uint8).reshape(*maps.shape[-2:], 3), held


def on_picture(subject: Subject, values: np.ndarray, scale: Scale) -> np.ndarray:
    """Numbers of any resolution laid over the picture in grey, cells as rectangles."""
    return over(subject.pixels, coloured(stretched(values, subject.pixels.shape), scale))
