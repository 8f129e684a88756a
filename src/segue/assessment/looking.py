"""Passes over pictures whose anomalies are known: scores are counted, then components, and some are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from segue import report
from segue.anomalies import Scorer
from segue.assessment.team import Team
from segue.data import DataSet
from segue.evaluation import same_size
from segue.metrics import ComponentScores, anomaly_counts, component_scores, confusion, detection
from segue.metrics.anomaly import BINS, score_bins
from segue.model import Model
from segue.pictures import viewable
from segue.prediction import as_batch
from segue.progress import ProgressLine, bar

DRAWN = 6  # pictures whose scores are drawn: those with most anomalous pixels


@dataclass(frozen=True)
class Sizes:
    """Of components, in pixels: smaller ones are left out, as SegmentMeIfYouCan does."""

    predicted: int = 500
    true: int = 100


@dataclass
class Tally:
    """What some pictures showed: counts per score, measures of each picture, and the known classes.

    counts: score -> (2, 2^20), see `anomaly_counts`. pictures: name -> anomalous pixels, and per score the AUROC, AP
    and FPR95 of the picture alone. components: score -> overlaps by name of picture.
    """

    counts: dict[str, Tensor]
    known: Tensor
    pictures: dict[str, tuple[int, dict[str, tuple[float, float, float]]]] = field(default_factory=dict)
    components: dict[str, dict[str, ComponentScores]] = field(default_factory=dict)

    def merge(self, other: Tally) -> None:
        """Add what another process saw in its share."""
        for name, counts in other.counts.items():
            self.counts[name] += counts
        self.known += other.known
        self.pictures |= other.pictures

    def add_components(self, overlaps: Mapping[str, Mapping[str, ComponentScores]]) -> None:
        """Add the overlaps that one process found in its share: score -> name of picture -> overlaps."""
        for name, some in overlaps.items():
            self.components.setdefault(name, {}).update(some)


class Looks:
    """The passes over one process's share of the pictures."""

    def __init__(
        self,
        scorer: Scorer,
        pictures: DataSet,
        anomalies: DataSet,
        model: Model,
        team: Team,
        line: ProgressLine,
        batch: int,
    ) -> None:
        self.scorer, self.pictures, self.anomalies, self.line, self.batch = scorer, pictures, anomalies, line, batch
        self.team = team
        self.mine = team.share(len(pictures))
        self.has_classes = pictures.labels.classes == model.labels.classes
        self.num_classes = model.labels.num_classes

    def tally(self) -> Tally:
        """Count every score, and the hits of the known classes."""
        counts = {name: torch.zeros(2, BINS, dtype=torch.int64) for name in self.scorer.names}
        tally = Tally(counts, torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64))
        for index, predicted, scores in self._scored(""):
            target = self._target(index, predicted.device)
            alone = {}
            for name, score in scores.items():
                counted = anomaly_counts(score, target.to(score.device)).cpu()
                tally.counts[name] += counted
                one = detection(counted)
                alone[name] = (one.auroc.value, one.ap.value, one.fpr95.value)
            tally.pictures[self.pictures.name(index)] = int((target == 1).sum()), alone
            if self.has_classes:
                classes = torch.from_numpy(np.array(self.pictures.target(index))).to(predicted.device)
                tally.known += confusion(predicted, classes, self.num_classes).cpu()
        return tally

    def components(self, thresholds: Mapping[str, float], sizes: Sizes) -> dict[str, dict[str, ComponentScores]]:
        """The overlaps of what each score calls anomalous from its threshold on."""
        overlaps: dict[str, dict[str, ComponentScores]] = {name: {} for name in thresholds}
        for index, _, scores in self._scored("components "):
            for name, score in scores.items():
                target = self._target(index, score.device)
                overlaps[name][self.pictures.name(index)] = component_scores(
                    score >= thresholds[name], target, least_predicted=sizes.predicted, least_true=sizes.true
                )
        return overlaps

    def samples(self, tally: Tally) -> list[report.ScoreMap]:
        """Some pictures with the ranks of their scores: those with most anomalous pixels of all."""
        order = sorted(tally.pictures, key=lambda name: (-tally.pictures[name][0], name))[:DRAWN]
        places = {self.pictures.name(index): index for index in range(len(self.pictures))}
        below = {}
        for name, counts in tally.counts.items():
            total = counts.sum(dim=0).double()
            below[name] = ((total.cumsum(dim=0) - total / 2) / total.sum()).float()
        samples = []
        for name in order:
            index = places[name]
            pixels = self.pictures.image(index)
            _, scores = self.scorer.scores(as_batch([pixels]))
            ranks = {key: below[key][score_bins(score[0]).cpu()].numpy() for key, score in scores.items()}
            samples.append(report.ScoreMap(name, viewable(pixels), self.anomalies.target(index), ranks))
        return samples

    def _target(self, index: int, device: torch.device) -> Tensor:
        return torch.from_numpy(np.array(self.anomalies.target(index))).to(device)

    def _scored(self, words: str) -> Iterator[tuple[int, Tensor, dict[str, Tensor]]]:
        """Number, classes and scores of each picture of this share."""

        def read() -> Iterator[tuple[np.ndarray, int]]:
            for done, index in enumerate(self.mine):
                if self.team.first:
                    self.line.show(f"{words}{bar(done, len(self.mine))} {done}/{len(self.mine)}")
                yield self.pictures.image(index), index

        for group in same_size(read(), self.batch):
            predicted, scores = self.scorer.scores(as_batch([pixels for pixels, _ in group]))
            for place, (_, index) in enumerate(group):
                yield index, predicted[place], {name: score[place] for name, score in scores.items()}
