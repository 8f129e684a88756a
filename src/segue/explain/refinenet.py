"""RefineNet (Lin et al., CVPR 2017): what each block of the cascade adds."""

from __future__ import annotations

import torch
from torch import Tensor

from segue.explain.changes import change_legend, step_rows
from segue.explain.drawing import Drawing
from segue.explain.sheet import Sheet
from segue.explain.subject import Subject
from segue.explain.taps import parts, replaced
from segue.models.refinenet import Cascade

STRIDES = (4, 8, 16, 32)


def with_first_blocks(subject: Subject, cascade: Cascade, count: int) -> Tensor:
    """(h, w) int64: the classes by the first blocks alone, whose stages the later ones do not add.

    Later blocks pass on what comes from below, their own stages being zero: the network's own path to its classifier.
    """
    groups = cascade.groups

    def silence(maps: object) -> object:
        assert isinstance(maps, list)
        silent = {stage for group in groups[count:] for stage in group}
        last = maps[-4:]
        return [*maps[:-4], *(torch.zeros_like(one) if stage in silent else one for stage, one in enumerate(last))]

    backbone = subject.network.backbone
    assert backbone is not None
    with torch.inference_mode(), replaced(backbone, silence):
        scores: Tensor = subject.network(subject.inputs).logits
    return scores[0].argmax(dim=0)


def cascade_drawing(subject: Subject) -> Drawing:
    """The classes after each block of the cascade, and what changed."""
    ((_, cascade),) = parts(subject.network, Cascade)[:1]
    assert isinstance(cascade, Cascade)
    found, names = [], []
    for count in range(1, len(cascade.groups) + 1):
        found.append(with_first_blocks(subject, cascade, count).to(torch.uint8).cpu().numpy())
        strides = ", ".join(str(STRIDES[stage]) for stage in cascade.groups[count - 1])
        names.append(f"RefineNet-{len(cascade.groups) - count + 1}\nhears stride {strides}")
    text = (
        "From coarse to fine: what is predicted when a block and those before it hear the backbone, and the later ones "
        "only pass on what comes from below, their own maps being zero. The last row is the network's own answer."
    )
    rows = step_rows(subject, found)
    sheet = Sheet(
        "The cascade, block by block",
        text,
        rows,
        names,
        labels=subject.labels,
        classes=subject.occurring(*found),
        extra=change_legend(subject, errors_too=True),
    )
    return Drawing("cascade", sheet)
