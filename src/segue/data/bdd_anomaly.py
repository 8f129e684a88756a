"""BDD-Anomaly: streets of BDD100K. Pictures with a train or a motorcycle are the test split, and these the anomalies.

Hendrycks et al.: Scaling Out-of-Distribution Detection for Real-World Settings, ICML 2022, arXiv:1911.11132; the
pictures are of Yu et al.: BDD100K, CVPR 2020, arXiv:1805.04687. `bdd_anomaly3` holds bicycles out as well; figures for
the two cannot be compared. Riders keep their class.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from segue.data.cityscapes import LABELS as CITYSCAPES
from segue.data.declaration import Archive, Declaration, Split, anomaly_labels
from segue.data.layouts import Matched, Paired, Root
from segue.data.places import Place
from segue.data.source import MaskReader, Pair, read_raw_mask
from segue.errors import DataError
from segue.labels import IGNORE, Labels


@dataclass(frozen=True)
class ByContent(Paired):
    """The pictures whose masks hold one of some values, or those whose masks hold none of them."""

    sources: tuple[Matched, ...]
    values: tuple[int, ...]
    holding: bool
    read: MaskReader | None = None

    def missing(self, root: Root) -> list[str]:
        return [way for source in self.sources for way in source.missing(root)]

    def pairs(self, root: Root) -> tuple[Pair, ...]:
        pairs = [pair for source in self.sources for pair in source.pairs(root)]
        held = _holding(tuple(pair.mask for pair in pairs), self.values)
        chosen = tuple(pair for pair in pairs if (pair.mask in held) == self.holding)
        if not chosen:
            raise DataError(
                f"{root.place}: of {len(pairs)} masks {'none holds' if self.holding else 'all hold'} one of the values "
                f"{', '.join(map(str, self.values))}"
            )
        return chosen


@lru_cache(maxsize=8)  # a run opens several splits; a mask takes 3 ms to look through, and there are 8000
def _holding(masks: tuple[Place, ...], values: tuple[int, ...]) -> frozenset[Place]:
    """The masks that hold one of these values."""

    def holds(mask: Place) -> bool:
        pixels = read_raw_mask(mask).tobytes()
        return any(bytes([value]) in pixels for value in values)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return frozenset(mask for mask, found in zip(masks, pool.map(holds, masks), strict=True) if found)


def _sources(split: str) -> tuple[Matched, ...]:
    """BDD100K as it was first released, as Hendrycks et al. had it, and as it is now."""
    return (
        Matched(f"seg/images/{split}/{{}}.jpg", f"seg/labels/{split}/{{}}_train_id.png"),
        Matched(f"bdd100k/images/10k/{split}/{{}}.jpg", f"bdd100k/labels/sem_seg/masks/{split}/{{}}.png"),
    )


def _declared(name: str, held_out: tuple[str, ...], pictures: tuple[int, int, int]) -> Declaration:
    """The data set with these classes held out; pictures: of its train, val and test splits.

    Masks hold Cityscapes' train ids: positions in its list of classes.
    """
    values = tuple(CITYSCAPES.classes.index(one) for one in held_out)
    kept = [value for value in range(CITYSCAPES.num_classes) if value not in values]
    train, val = _sources("train"), _sources("val")
    return Declaration(
        name=name,
        title=f"BDD-Anomaly, {' and '.join(held_out)} held out"
        if len(held_out) == 2
        else f"BDD-Anomaly, {', '.join(held_out[:-1])} and {held_out[-1]} held out",
        licence="BDD100K: education, research and not-for-profit use",
        labels=Labels(
            classes=tuple(CITYSCAPES.classes[value] for value in kept),
            values={
                **{value: label for label, value in enumerate(kept)},
                **dict.fromkeys((*values, 255), IGNORE),
            },
            palette=tuple(CITYSCAPES.palette[value] for value in kept),
            written={IGNORE: 255},
        ),
        splits={
            "train": Split(pictures[0], tuple(ByContent((one,), values, holding=False) for one in train)),
            "val": Split(pictures[1], tuple(ByContent((one,), values, holding=False) for one in val)),
            "test": Split(
                pictures[2],
                tuple(ByContent(both, values, holding=True) for both in zip(train, val, strict=True)),
            ),
        },
        inside="seg",
        anomalies=anomaly_labels({**{value: int(value in values) for value in range(19)}, 255: IGNORE}),
        registration="https://bdd-data.berkeley.edu",
        archives=(
            Archive(
                name="bdd100k_images_10k.zip",
                place="bdd100k/images/10k",
                holds="train",
                md5="08f26aecceda982568063d3d5873378e",
            ),
            Archive(
                name="bdd100k_sem_seg_labels_trainval.zip",
                place="bdd100k/labels/sem_seg",
                holds="masks",
                md5="9a2968dde3345eeb689cffb1e26f9c78",
            ),
        ),
    )


BDD_ANOMALY = _declared("bdd_anomaly", ("train", "motorcycle"), (6688, 951, 361))
BDD_ANOMALY3 = _declared("bdd_anomaly3", ("train", "motorcycle", "bicycle"), (6280, 910, 810))
