"""Findings about pictures that are there twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from segue.check.copies import alike, same_files
from segue.check.examination import PictureFacts
from segue.check.finding import Finding
from segue.check.survey import One, Survey
from segue.data import DATASETS

Twins = tuple[One, One]


def copies(found: Survey) -> Iterator[Finding]:
    """Pictures that are there twice: in two splits, with two masks, or to no purpose."""
    ones = [one for one in found.ones() if isinstance(one.found.image, PictureFacts)]
    if found.name in DATASETS:  # whose splits may be parts of one another as they were published
        ones = list({one.file: one for one in reversed(ones)}.values())[::-1]
    pictures = [one.found.image for one in ones if isinstance(one.found.image, PictureFacts)]
    groups = [[ones[number] for number in group] for group in same_files([picture.digest for picture in pictures])]
    across, unlike, doubled = [], [], []
    for group in groups:
        other = next((one for one in group if one.split is not group[0].split), None)
        if other is not None:
            across.append((group[0], other))
        elif len({one.found.checksum for one in group}) > 1:
            unlike.append((group[0], next(one for one in group if one.found.checksum != group[0].found.checksum)))
        else:
            doubled.append((group[0], group[1]))
    yield from _told(
        True,
        "The same picture in two splits",
        across,
        "is also in {split}, as {file}",
        "scores on it are no scores: take it out of one of them",
    )
    yield from _told(
        False, "The same picture with different masks", unlike, "is the same picture as {file}", "keep the right mask"
    )
    yield from _told(
        False, "The same picture twice", doubled, "is the same picture as {file}", "it counts twice: take one out"
    )
    group_of = {one: number for number, group in enumerate(groups) for one in group}
    thumbs = np.stack([picture.thumb for picture in pictures]) if pictures else np.zeros((0, 1, 1), dtype=np.uint8)
    pairs = [(ones[first], ones[second]) for first, second in alike(thumbs)]
    near = [
        (one, other)
        for one, other in pairs
        if one.split is not other.split and group_of.get(one, -1) != group_of.get(other, -2)
    ]
    yield from _told(
        False,
        "Pictures in two splits that look the same",
        near,
        "looks like {file}, which is in {split}",
        "keep pictures of one scene in one split, or scores say more than is so",
    )


def _told(grave: bool, kind: str, twins: Sequence[Twins], what: str, mend: str) -> Iterator[Finding]:
    if twins:
        said = [what.format(split=other.split.name, file=other.file) for _, other in twins]
        more = (
            "" if len(twins) == 1 else f" (and there {'is 1' if len(twins) == 2 else f'are {len(twins) - 1:,}'} more)"
        )
        yield Finding(
            grave,
            kind,
            f"{twins[0][0].file}: {said[0]}{more}; {mend}",
            tuple((one.file, text) for (one, _), text in zip(twins, said, strict=True)),
            tuple(one for pair in twins for one in pair),
        )
