"""FCN (Long et al., CVPR 2015, Fig. 4): stride 32 alone against 16 and 8."""

from __future__ import annotations

from contextlib import ExitStack

import torch

from segue.explain.changes import change_legend, classes_of, step_rows
from segue.explain.drawing import Drawing
from segue.explain.sheet import Sheet
from segue.explain.subject import Subject
from segue.explain.taps import replaced

SKIPS = (("score_pool4", 16), ("score_pool3", 8))
"""The layers that score a finer map, and its stride, coarse to fine."""


def skips(subject: Subject) -> Drawing:
    """The classes without the skips, with the first, and with both."""
    modules = dict(subject.network.named_modules())
    known = [(modules[name], stride) for name, stride in SKIPS if name in modules]
    found, names = [], ["stride 32\nalone"]
    for count in range(len(known) + 1):
        with torch.inference_mode(), ExitStack() as stack:
            for module, _ in known[count:]:
                stack.enter_context(replaced(module, torch.zeros_like))
            found.append(classes_of(subject.network(subject.inputs).logits))
        if count:
            names.append(f"stride {known[count - 1][1]}\nadded")
    text = (
        "The same network with the scores of its finer maps set to zero, and added one after the other: scores are "
        "sums, so this is what each map contributes. The last row is the network's own answer."
    )
    sheet = Sheet(
        "Stride 32, 16 and 8",
        text,
        step_rows(subject, found),
        names,
        labels=subject.labels,
        classes=subject.occurring(*found),
        extra=change_legend(subject, errors_too=True),
    )
    return Drawing("skips", sheet)
