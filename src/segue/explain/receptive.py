"""The receptive field, printed layer by layer and drawn over a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from torch._subclasses.fake_tensor import FakeTensorMode

from segue.explain.anyone import on_picture
from segue.explain.colouring import Scale
from segue.explain.drawing import CannotDraw, Drawing
from segue.explain.sheet import Box, Cell, Sheet, draw
from segue.explain.subject import Point, Subject, Wishes, prepare
from segue.field import Effective, Layer, NoGradient, Step, effective_field, parse_layer, recurrence, trace
from segue.model import Card, Model, as_pixels, load
from segue.models import MODELS, Network, create
from segue.models import unknown as unknown_name
from segue.report.canvas import save_png

CLASSES = 2  # of a network by its name: they change nothing of what is seen
PARTS = (0.5, 0.95)  # shares of the gradient whose squares are told


def path_lines(layers: Sequence[Layer]) -> Iterator[str]:
    """The recurrence along a path, a line for each layer."""
    yield _line("layer", "R", "jump", "start")
    yield _line("picture", "1", "1", "0")
    for layer, field in zip(layers, recurrence(layers), strict=True):
        yield _line(str(layer), _number(field.size), _number(field.jump), _number(field.start))


def network_lines(network: Network[Any], module: str = "") -> Iterator[str]:
    """The path through a network that sees most, a line for each layer that changes what is seen along the rows."""
    last = trace(network, network.in_channels, module=module)
    steps = last.path()
    yield _line("layer", "R", "jump", "start", "module")
    before: Step | None = None
    for step in steps:
        if before is None or not step.rows.alike(before.rows):
            cells = (_number(step.rows.size), _number(step.rows.jump), _number(step.rows.start))
            yield _line(step.what, *cells, step.name)
        before = step
    yield ""
    yield _conclusion(last, module or "a pixel's scores")


def _conclusion(last: Step, what: str) -> str:
    if last.bounded:
        rows, columns = (_number(axis.size) for axis in (last.rows, last.columns))
        size = f"{rows} pixels along each side" if rows == columns else f"{rows} rows and {columns} columns"
        return f"{what}: at most {size}"
    first = next(step for step in last.path() if not step.bounded)
    until = f"{_number(first.before.rows.size)} pixels before it" if first.before else ""
    guess = "" if first.followed else ", as far as can be told: there is no rule for this operator"
    return f"{what}: the whole picture, by {first.what} in {first.name or 'the network'}; {until}{guess}"


def _line(what: str, size: str, jump: str, start: str, module: str = "") -> str:
    return f"{what:58} {size:>7} {jump:>8} {start:>9}  {module}".rstrip()


def _number(value: Any) -> str:
    if not math.isfinite(value):
        return "all"
    exact = float(value)
    return f"{exact:.0f}" if exact == round(exact) else f"{exact:.2f}".rstrip("0")


def network_of(
    what: Sequence[str], options: Mapping[str, Any], *, device: str = "", weights: bool = True
) -> Model | Network[Any] | None:
    """A run's model, or a network by its name and options; None for what may be layers.

    weights: False builds a network by its name without them, at once: it can be traced, and computes nothing.
    """
    if len(what) == 1:
        name = what[0]
        if name in MODELS:
            with nullcontext() if weights else FakeTensorMode():
                return create(name, CLASSES, **options)
        if Path(name).is_dir():
            return load(name, device or "cpu")
        try:
            parse_layer(name)
        except ValueError as error:
            raise ValueError(f"{unknown_name('network, run or layer', name, list(MODELS))}") from error
    return None


def lines(what: Sequence[str], options: Mapping[str, Any], module: str = "") -> Iterator[str]:
    """What `segue field` prints of a network's name, a run's folder, or the layers of a path."""
    found = network_of(what, options, weights=False)
    if found is None:
        yield from path_lines([parse_layer(text) for text in what])
    else:
        yield from network_lines(found.network if isinstance(found, Model) else found, module)


def field_cell(subject: Subject, point: Point) -> tuple[Cell, str]:
    """The effective field of a point over the picture, and a sentence on how it was computed."""
    inputs, note = subject.shrunk_to_fit(effective_field_work)
    height, width = inputs.shape[-2:]
    row, column = (
        point.y * height // subject.pixels.shape[0],
        point.x * width // subject.pixels.shape[1],
    )
    found = effective_field(subject.network, inputs, row, column)
    last = trace(subject.network, subject.network.in_channels)
    scale = Scale(-4, 0, "viridis", "log10 of the share of the largest")
    level = np.log10(np.maximum(found.share / found.share.max(), 1e-4))
    boxes = [_box(found, found.side(part), part != PARTS[-1]) for part in PARTS]
    sides = ", ".join(f"{100 * part:.0f} % within {found.side(part)}" for part in PARTS)
    most = f"{_number(last.rows.size)} can be seen" if last.bounded else "all can be seen"
    if last.bounded:
        boxes.append(_box(found, last.rows.size, True))
    cell = Cell(
        on_picture(subject, level, scale),
        subject.named(point),
        f"{sides} pixels; {most}",
        scale,
        smooth=True,
        marks=subject.marks([point]),
        boxes=boxes,
    )
    return cell, note


def effective_field_work(network: Any, images: Any) -> object:
    """What measuring the field does, for finding out what memory it takes."""
    import torch

    inputs = images.detach().requires_grad_()
    with torch.enable_grad():
        score = network(inputs).logits[0, 0, 0, 0]
        return torch.autograd.grad(score, inputs)


def _box(found: Effective, side: float, dashed: bool) -> Box:
    height, width = found.share.shape
    half = side / 2
    x, y = found.column + 0.5, found.row + 0.5
    return Box((x - half) / width, (y - half) / height, (x + half) / width, (y + half) / height, dashed)


def field_drawing(subject: Subject) -> Drawing:
    """What of the picture the scores at each point depend on."""
    try:
        found = [field_cell(subject, point) for point in subject.points]
    except NoGradient as error:
        raise CannotDraw(str(error)) from error
    text = (
        "How much the score of the class predicted at each ring changes with each pixel of the picture (the absolute "
        "gradient, in powers of ten below its largest). The solid square holds 95 % of it, the inner dashed one half; "
        "an outer dashed one is all that can be seen, where it lies within the picture. "
    )
    return Drawing("field", Sheet("Effective receptive field", text + found[0][1], [[cell for cell, _ in found]]))


def draw_effective(
    what: Sequence[str],
    options: Mapping[str, Any],
    image: str,
    *,
    point: Sequence[tuple[int, int]],
    out: str,
    device: str,
) -> str:
    """Measure the effective field on a picture and draw it; returns what was done, for people."""
    found = network_of(what, options, device=device)
    if found is None:
        raise ValueError("a path of layers has no weights to measure: name a network or a run for --image")
    note = ""
    if not isinstance(found, Model):
        note = " with random weights"
        found = _untrained(what[0], found)
    picture = as_pixels(image)
    middle = (picture.shape[1] // 2, picture.shape[0] // 2)
    subject = prepare(found, picture, wishes=Wishes(points=tuple(point) or (middle,)))
    save_png(draw(field_drawing(subject).sheet), Path(out))
    return f"the effective field of {what[0]}{note} is drawn in {out}"


def _untrained(name: str, network: Network[Any]) -> Model:
    from segue.labels import Labels
    from segue.prediction import Preprocessing

    count = network.num_classes
    labels = Labels(tuple(f"class {index}" for index in range(count)))
    return Model(network, Card(name, {}, labels, Preprocessing()))
