"""Findings about what masks hold: blurred labels, values that are no class, nothing but ignored pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from segue.check.finding import SHOWN, Finding, and_more, and_others, finding
from segue.check.survey import One, Survey, class_of_value
from segue.data.folder.mask_facts import MaskFacts
from segue.labels import IGNORE

RARE = 0.001  # of all counted pixels
MOSTLY = 0.9  # of a mask's pixels


def blurred(found: Survey) -> Iterator[Finding]:
    """Masks that were saved as JPEG, or smoothed."""
    masks = {one: mask for one in found.ones() if isinstance(mask := one.found.mask, MaskFacts) and mask.blurred}
    if masks:
        masks = dict(sorted(masks.items(), key=lambda item: -len(item[1].values)))  # the worst first
        first, mask = next(iter(masks.items()))
        why = "JPEG changes labels" if first.found.jpeg else "it was smoothed, and has false labels along every edge"
        yield finding(
            True,
            "Masks with blurred edges",
            f"{first.mask_file}: holds {len(mask.values)} values, since {why}{and_others(len(masks))}; export masks as "
            "PNG without smoothing, and resize them by nearest neighbour",
            list(masks),
            mask=True,
            what=[f"{len(mask.values)} values" + (", a JPEG" if one.found.jpeg else "") for one, mask in masks.items()],
        )


def two_whites(found: Survey) -> Iterator[Finding]:
    """Masks of 0 and 255 among masks of 0 and 1: their foreground is then ignored."""
    if found.labels is None or found.known or found.labels.values != {0: 0, 1: 1, IGNORE: IGNORE}:
        return
    masks = {one: set(mask.values.tolist()) for one in found.ones() if isinstance(mask := one.found.mask, MaskFacts)}
    white = [one for one, values in masks.items() if IGNORE in values]
    if white and not any(1 in masks[one] for one in white) and any(1 in values for values in masks.values()):
        yield finding(
            True,
            "Foreground that is 1 in some masks and 255 in others",
            f"{white[0].mask_file}: holds 255 but no 1{and_others(len(white))}, where other masks hold 1 but no 255, "
            "which is ignored therefore; save all masks with 0 and 1, or all with 0 and 255",
            white,
            mask=True,
        )


def unknown_values(found: Survey) -> Iterator[Finding]:
    """Masks with values, or colours, that no class has."""
    if found.labels is None:
        return
    wrong: dict[One, str] = {}
    total: Counter[str] = Counter()
    for one in found.ones():
        mask = one.found.mask
        if not isinstance(mask, MaskFacts) or mask.blurred:
            continue
        classes = class_of_value(found.labels, mask.coloured)
        unknown = {
            f"#{value:06x}" if mask.coloured else str(value): count
            for value, count in zip(mask.values.tolist(), mask.counts.tolist(), strict=True)
            if value not in classes
        }
        if unknown:
            wrong[one] = ", ".join(f"{value} at {count} pixels" for value, count in list(unknown.items())[:SHOWN])
            total.update(unknown)
    if wrong:
        first, what = next(iter(wrong.items()))
        mend = "fetch the data again" if found.known else "name them in classes.txt, or map them in [data.map]"
        yield finding(
            True,
            "Values that are no class",
            f"{first.mask_file}: holds {what}, which none of the {found.labels.num_classes} classes has"
            f"{and_others(len(wrong))}; in all: {', '.join(value for value, _ in total.most_common(SHOWN))}; {mend}",
            list(wrong),
            mask=True,
            what=list(wrong.values()),
        )


def void(found: Survey) -> Iterator[Finding]:
    """Masks of ignored pixels alone, or of hardly anything else."""
    if found.labels is None:
        return
    empty, mostly = [], []
    for one in found.ones():
        counts = one.split.labelled[one.index]
        if counts[-1] and not counts[:-1].any():
            empty.append(one)
        elif counts[-1] > MOSTLY * counts.sum():
            mostly.append(one)
    training = found.split("train")
    nothing = training is not None and sum(one.split is training for one in empty) == len(training.data) > 0
    for ones, what, kind in (
        (empty, "nothing but ignored pixels", "Masks of ignored pixels alone"),
        (mostly, f"ignored pixels to more than {MOSTLY:.0%}", "Masks of hardly anything but ignored pixels"),
    ):
        if ones:
            yield finding(
                nothing and ones is empty,
                kind,
                f"{ones[0].mask_file}: holds {what}{and_others(len(ones))}; finish it, or take the picture out",
                ones,
                mask=True,
            )


def classes(found: Survey) -> Iterator[Finding]:
    """Classes that a split lacks, and classes of few pixels."""
    training = found.split("train")
    if found.labels is None or training is None or not len(training.labelled):
        return
    names = found.labels.classes
    sums = {split.name: split.labelled[:, :-1].sum(axis=0) for split in found.splits if len(split.labelled)}
    seen = sums["train"] > 0
    ever = np.any([counts > 0 for counts in sums.values()], axis=0)
    missing = {
        "Classes that training does not show": (
            ever & ~seen,
            "occurs in other splits, but not in train",
            "move pictures of it to train, or leave the class out",
        ),
        "Classes that do not occur": (~ever, "occurs in no mask", "label some, or leave the class out"),
        **{
            f"Classes that {split} lacks": (
                (counts == 0) & seen,
                f"does not occur in {split}, where nothing tells how well it is learned",
                f"move pictures of it to {split}",
            )
            for split, counts in sums.items()
            if split != "train"
        },
    }
    for kind, (which, what, mend) in missing.items():
        lacking = [names[index] for index in np.flatnonzero(which)]
        if lacking:
            sentence = f"{lacking[0]}: {what}{and_more(lacking)}; {mend}"
            yield Finding(False, kind, sentence, tuple((name, "") for name in lacking))
    shares = sums["train"] / max(int(sums["train"].sum()), 1)
    rare = [int(index) for index in np.argsort(shares) if 0 < shares[index] < RARE]
    if rare:
        held = (training.labelled[:, :-1] > 0).sum(axis=0)
        said = [
            f"{shares[index]:.4%} of the training pixels, in {held[index]:,} picture{'' if held[index] == 1 else 's'}"
            for index in rare
        ]
        yield Finding(
            False,
            "Rare classes",
            f"{names[rare[0]]}: has {said[0]} of {len(training.data):,}{and_more([names[index] for index in rare])}; "
            "train with --loss.weights median, or --augment.rare 0.5",
            tuple((names[index], one) for index, one in zip(rare, said, strict=True)),
        )
