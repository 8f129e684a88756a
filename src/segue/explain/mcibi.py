"""MCIBI (Jin et al., ICCV 2021): its memory, and what the memory adds to a picture."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segue.explain.anyone import on_picture
from segue.explain.changes import change_legend, changed, classes_of
from segue.explain.colouring import Scale, signed_scale
from segue.explain.drawing import CannotDraw, Drawing
from segue.explain.plots import axes_picture, scatter
from segue.explain.sheet import Cell, Sheet, class_map
from segue.explain.subject import Subject
from segue.explain.taps import parts, watched
from segue.history import kept
from segue.labels import IGNORE
from segue.models.mcibi import MCIBI, BeyondImage, ClassMemory

SHOWN_WEIGHTS = 6  # classes whose weights are shown
PER_CLASS = 80  # pixels of each class that t-SNE places
SEED = 0
NUMBERED = 12  # classes whose similarities are written as numbers
PLOT = (6.0, 5.2)  # inches


def similarity(rows: Tensor) -> Tensor:
    """(K, C) -> (K, K) cosines of the memory's rows with each other; NaN for classes that were never seen."""
    known = rows.float().norm(dim=1) > 0
    unit = F.normalize(rows.float(), dim=1)
    cosines = unit @ unit.T
    cosines[~known] = torch.nan
    cosines[:, ~known] = torch.nan
    return cosines


def memory(subject: Subject) -> Drawing:
    """The similarity of the classes' rows, and how far each row has come over training."""
    ((_, module),) = parts(subject.network, ClassMemory)[:1]
    assert isinstance(module, ClassMemory)
    rows = module.rows.detach().cpu()
    if not rows.any():
        raise CannotDraw("the memory is empty: the network is not trained")
    cosines = similarity(rows).numpy()
    names = subject.labels.classes
    cells = [_matrix(cosines, names)]
    history = kept_memories(subject)
    text = "How alike the classes' vectors in the memory are (cosine): rows and columns in the order of the classes. "
    if len(history) > 1:
        cells.append(_drift(history, subject))
        text += "Beside it, how far each vector is from where it ended, at each validation of the training."
    else:
        text += "The run kept no earlier memory, so that its way over training is not known."
    unseen = [name for name, row in zip(names, rows, strict=True) if not row.any()]
    if unseen:
        text += f" Never seen in training: {', '.join(unseen)}."
    return Drawing("memory", Sheet("The memory", text, [cells]))


def kept_memories(subject: Subject) -> list[tuple[int, Tensor]]:
    """(step, rows (K, C)) of the memory over training, as the run kept them; empty without a run."""
    return [(step, tensors["memory"]) for step, tensors in kept(subject.run) if "memory" in tensors]


def _matrix(cosines: np.ndarray, names: tuple[str, ...]) -> Cell:
    """The similarity matrix with the classes' names."""

    def plot(axes: object) -> None:
        image = axes.imshow(cosines, vmin=-1, vmax=1, cmap="PuOr_r")  # type: ignore[attr-defined]
        few = len(names) <= 40
        ticks = range(len(names)) if few else []
        axes.set_xticks(list(ticks), [names[at] for at in ticks], rotation=90)  # type: ignore[attr-defined]
        axes.set_yticks(list(ticks), [names[at] for at in ticks])  # type: ignore[attr-defined]
        axes.get_figure().colorbar(image, ax=axes, shrink=0.7, label="cosine")  # type: ignore[attr-defined]
        if len(names) <= NUMBERED:
            for row, column in zip(*np.nonzero(np.isfinite(cosines)), strict=True):
                value = cosines[row, column]
                colour = "white" if abs(value) > 0.6 else "black"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7)  # type: ignore[attr-defined]

    return Cell(axes_picture(plot, PLOT), "similarity of the rows", smooth=True)


def _drift(history: list[tuple[int, Tensor]], subject: Subject) -> Cell:
    last = history[-1][1]
    steps = [step for step, _ in history]
    away = torch.stack([1 - F.cosine_similarity(rows.float(), last.float(), dim=1) for _, rows in history]).numpy()

    def plot(axes: object) -> None:
        for label, name in enumerate(subject.labels.classes):
            if last[label].any():
                colour = tuple(channel / 255 for channel in subject.labels.palette[label])
                axes.plot(steps, away[:, label], color=colour, label=name, marker="o", markersize=3)  # type: ignore[attr-defined]
        axes.set_xlabel("step")  # type: ignore[attr-defined]
        axes.set_ylabel("1 - cosine with the last row")  # type: ignore[attr-defined]
        axes.legend(fontsize=8, ncols=1 + len(subject.labels.classes) // 16)  # type: ignore[attr-defined]

    return Cell(axes_picture(plot, PLOT), "drift over training", smooth=True)


def class_weights(subject: Subject) -> Drawing:
    """W: how much of each class's row a place takes."""
    ((_, block),) = parts(subject.network, BeyondImage)[:1]
    with torch.inference_mode(), watched(block) as calls:
        subject.network(subject.inputs)
        first = calls[block][0].inputs[1][0].float()
        weights = first.softmax(dim=0)
    labels = subject.labels
    order = weights.mean(dim=(-2, -1)).argsort(descending=True)[:SHOWN_WEIGHTS].tolist()
    chosen = subject.classes if subject.wishes.classes else sorted(order)
    cells = [Cell(subject.pixels, "picture", smooth=True)]
    cells.append(class_map(weights.argmax(dim=0).to(torch.uint8).cpu().numpy(), labels, "first segmentation"))
    scale = Scale(0, 1, "viridis", "weight")
    for label in chosen:
        shares = weights[label].cpu().numpy()
        note = f"{100 * float(shares.mean()):.0f} % over all places"
        cells.append(Cell(on_picture(subject, shares, scale), f"weight of {labels.classes[label]}", note, scale, True))
    text = (
        "W, the first segmentation's probabilities: with these weights each place mixes the rows of the memory, "
        "before attention refines them."
    )
    rows = [cells[at : at + 4] for at in range(0, len(cells), 4)]
    classes = [int(label) for label in weights.argmax(dim=0).unique()]
    return Drawing("class_weights", Sheet("Class weights", text, rows, labels=labels, classes=classes))


def added(subject: Subject) -> Drawing:
    """What the memory changes: the answer with it against the answer with an empty one."""
    network = cast(MCIBI, subject.network)
    rows = network.memory.rows
    kept = rows.clone()
    with torch.inference_mode():
        try:
            rows.zero_()
            empty = network(subject.inputs).logits[0].float().softmax(dim=0)
        finally:
            rows.copy_(kept)
    without = classes_of(empty[None])
    predicted = torch.from_numpy(subject.predicted.astype(np.int64)).to(empty.device)[None]
    gain = (subject.probabilities.gather(0, predicted) - empty.gather(0, predicted))[0].cpu().numpy()
    scale = signed_scale(gain, "change of probability")
    cells = [
        class_map(without, subject.labels, "memory emptied"),
        class_map(subject.predicted, subject.labels, "with its memory"),
        changed(subject, without, subject.predicted, "changed by the memory"),
        Cell(on_picture(subject, gain, scale), "what it adds", "to the probability of the answer", scale, True),
    ]
    text = (
        "The network's answer against the one with all rows of the memory at zero, with the same weights. Orange in "
        "the last picture: the memory makes the class that is said more probable; purple: less."
    )
    sheet = Sheet(
        "What the memory adds",
        text,
        [cells],
        labels=subject.labels,
        classes=subject.occurring(without, subject.predicted),
        extra=change_legend(subject),
    )
    return Drawing("memory_adds", sheet)


def embedding(subject: Subject) -> Drawing:
    """t-SNE of the features of some pixels, before and after the memory."""
    network = cast(MCIBI, subject.network)
    last = network.classify[-1]
    assert isinstance(last, torch.nn.Module)
    with torch.inference_mode(), watched(network.bottleneck, last) as calls:
        network(subject.inputs)
        before = calls[network.bottleneck][0].output[0].float()
        after = calls[last][0].inputs[0][0].float()
    truth = subject.target if subject.target is not None else subject.predicted
    places, classes = sample_places(truth, (before.shape[-2], before.shape[-1]))
    cells = []
    for name, maps in (("before the memory (R)", before), ("after it (what is classified)", after)):
        points = tsne(maps.flatten(1).T[places].cpu().numpy())
        cells.append(Cell(scatter(points, classes, subject.labels), name, smooth=True))
    known = "label" if subject.target is not None else "prediction"
    text = (
        f"t-SNE of {len(places)} places of this picture, at most {PER_CLASS} of each class, coloured by the {known}: "
        "near each other is what the network's features hold alike. Only neighbourhoods mean something, not distances "
        f"between clusters. The sample and the start are fixed (seed {SEED})."
    )
    labels = subject.labels
    sheet = Sheet("Features before and after the memory", text, [cells], labels=labels, classes=sorted(set(classes)))
    return Drawing("tsne", sheet)


def sample_places(truth: np.ndarray, cells: tuple[int, int]) -> tuple[list[int], list[int]]:
    """Cells (row * columns + column) of a map over classes (h, w), as many of each class as there are, and their class.

    A cell has the class of the pixel at its middle.
    """
    rows = ((np.arange(cells[0]) + 0.5) * truth.shape[0] / cells[0]).astype(int)
    columns = ((np.arange(cells[1]) + 0.5) * truth.shape[1] / cells[1]).astype(int)
    small = truth[rows][:, columns].reshape(-1)
    draw = np.random.default_rng(SEED)
    places: list[int] = []
    for label in np.unique(small[small != IGNORE]):
        found = np.flatnonzero(small == label)
        places += sorted(int(place) for place in draw.permutation(found)[:PER_CLASS])
    return places, [int(small[place]) for place in places]


def tsne(vectors: np.ndarray) -> np.ndarray:
    """(n, C) -> (n, 2). Raises CannotDraw where scikit-learn is absent, or there are too few vectors."""
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise CannotDraw("t-SNE needs scikit-learn: pip install 'segue[explain]'") from error
    if len(vectors) < 8:
        raise CannotDraw(f"t-SNE of {len(vectors)} places says nothing: take a larger picture")
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    points: np.ndarray = TSNE(perplexity=perplexity, init="pca", random_state=SEED).fit_transform(vectors)
    return points
