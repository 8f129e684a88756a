"""Whether a run's model notices what it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segue import report
from segue.anomalies import LOGIT_SCORES, Scorer
from segue.apply import data_of, open_run_split, to_csv
from segue.assessment.team import Team
from segue.data import DATASETS, DataSet, open_split
from segue.data.loading import WholePictures
from segue.errors import DataError
from segue.evaluation import same_size
from segue.files import write_json, write_text
from segue.metrics import (
    ComponentScores,
    Detection,
    anomaly_counts,
    component_scores,
    confusion,
    detection,
    detection_curves,
    summarise,
    summarise_components,
)
from segue.metrics.anomaly import BINS, score_bins
from segue.model import Model, ModelError, load
from segue.pictures import viewable
from segue.prediction import Predictor, as_batch
from segue.progress import ProgressLine, bar
from segue.sharpening import spread

DRAWN = 6  # pictures whose scores are drawn: those with most anomalous pixels
LEARNT = 200  # training pictures that scores learn from


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
        for name, overlaps in other.components.items():
            self.components.setdefault(name, {}).update(overlaps)


@dataclass(frozen=True)
class AnomaliesFound:
    """The outcome for a terminal: a line of words, the table, and where everything is written."""

    rows: list[dict[str, object]]
    facts: dict[str, object]
    folder: Path

    def lines(self) -> str:
        """As text."""
        words = "\n".join(f"{name}: {value}" for name, value in self.facts.items())
        return f"{words}\n\n{report.text_lines(report.anomaly_table(self.rows))}\nopen {self.folder / 'anomalies.html'}"


def evaluate_anomalies(
    run: str | Path,
    *,
    split: str = "val",
    data: str = "",
    root: str = "",
    scores: Sequence[str] = tuple(LOGIT_SCORES),
    components: bool = True,
    sizes: Sizes = Sizes(),  # frozen
    learnt: int = LEARNT,
    passes: int = 8,
    batch: int = 4,
    out: str = "",
    device: str = "",
) -> AnomaliesFound | None:
    """How well scores of being out of distribution find the anomalies of a split.

    The split is of a data set that marks anomalies, or of the run's own data where classes were held out in training.
    All pixels are in one ranking; the means of measures of single pictures stand beside it.

    components: sIoU, PPV and F1* as well, at the threshold of best F1, which takes a second look at each picture.
    learnt: training pictures, evenly apart, for the scores that compare with them. passes: with dropout.

    Writes tables, curves, maps and a page to RUN/anomalies/SPLIT, or DATA-SPLIT for other data. Several processes share
    the pictures; only the first writes, and returns something.
    """
    team = Team.joined(device)
    model = load(run, team.device or None)
    pictures, anomalies = _open(run, model, split, data, root)
    predictor = model.predictor()
    assert isinstance(predictor, Predictor)
    scorer = Scorer(predictor, scores, as_batch([pictures.image(0)]), passes=passes)
    line = ProgressLine()
    if scorer.needs_training:
        scorer.learn(_training_batches(run, model, learnt, line))
    looks = _Looks(scorer, pictures, anomalies, model, team, line, batch)
    tally = looks.tally()
    first, *others = team.gather(tally)
    for other in others:
        first.merge(other)
    found = {name: detection(counts) for name, counts in first.counts.items()}
    _check_found(found, run, split)
    if components:
        overlaps = looks.components({name: one.threshold for name, one in found.items()}, sizes)
        for other in team.gather(overlaps):
            for name, some in other.items():
                first.components.setdefault(name, {}).update(some)
    if not team.first:
        return None
    folder = Path(out) if out else Path(run) / "anomalies" / (f"{Path(data).name}-{split}" if data else split)
    rows = [_row(name, one, first) for name, one in found.items()]
    facts = _facts(found, first, model, pictures)
    samples = looks.samples(first)
    line.finish()
    _write(rows, facts, first, samples, folder)
    return AnomaliesFound(rows, facts, folder)


def _open(run: str | Path, model: Model, split: str, data: str, root: str) -> tuple[DataSet, DataSet]:
    """A split, and the same pictures with their anomalies as target."""
    where = data_of(Path(run), data, root)
    # A set that marks anomalies may have no other classes, and then the model's need not be its.
    if where.name in DATASETS and not where.hold_out:
        pictures = open_split(where.name, where.root, split)
    else:
        pictures = open_run_split(run, model, split, data, root)
    if pictures.anomalies is None:
        raise ModelError(
            f"{where.name}: marks no anomalies; name a data set that does ({', '.join(_marking())}), or train with "
            "--hold-out CLASS and ask for that run's"
        )
    if len(pictures) == 0:
        raise DataError(f"{where.name}: the split {split} holds no pictures")
    return pictures, pictures.anomalies


def _marking() -> list[str]:
    return [name for name, one in DATASETS.items() if one.anomalies is not None]


def _training_batches(
    run: str | Path, model: Model, learnt: int, line: ProgressLine
) -> Iterator[tuple[Tensor, Tensor]]:
    """Some of the run's own training pictures, one at a time."""
    options = data_of(Path(run), "", "")
    training = WholePictures(open_run_split(run, model, options.train))
    chosen = spread(len(training), learnt)
    for done, index in enumerate(chosen):
        line.show(f"training pictures {bar(done, len(chosen))} {done}/{len(chosen)}")
        pixels, classes, _ = training[index]
        yield as_batch([pixels]), torch.from_numpy(np.array(classes))[None]


class _Looks:
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
                classes = torch.from_numpy(np.array(self.pictures.target(index)))
                tally.known += confusion(predicted.cpu(), classes, self.num_classes)
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
                self.line.show(f"{words}{bar(done, len(self.mine))} {done}/{len(self.mine)}")
                yield self.pictures.image(index), index

        for group in same_size(read(), self.batch):
            predicted, scores = self.scorer.scores(as_batch([pixels for pixels, _ in group]))
            for place, (_, index) in enumerate(group):
                yield index, predicted[place], {name: score[place] for name, score in scores.items()}


def _check_found(found: Mapping[str, Detection], run: str | Path, split: str) -> None:
    one = next(iter(found.values()))
    if not one.positives or not one.negatives:
        raise DataError(
            f"{run}: the split {split} holds {one.positives} anomalous pixels and {one.negatives} others; both are "
            "needed: name another --split"
        )


def _row(name: str, one: Detection, tally: Tally) -> dict[str, object]:
    """A score's line of the table."""
    row: dict[str, object] = {"score": name}
    for key in report.BOUNDED:
        measure = getattr(one, key)
        row |= {key: measure.value, f"{key}_low": measure.low, f"{key}_high": measure.high}
    alone = torch.tensor([tally.pictures[picture][1][name] for picture in sorted(tally.pictures)], dtype=torch.float64)
    means = alone.nanmean(dim=0).tolist()
    row |= dict(zip(("mean_auroc", "mean_ap", "mean_fpr95"), means, strict=True))
    row |= {"threshold": one.threshold, "best_f1": one.best_f1}
    overlaps = tally.components.get(name)
    if overlaps is not None:
        summary = summarise_components([overlaps[picture] for picture in sorted(overlaps)])
        row |= {"siou": summary.siou, "ppv": summary.ppv, "f1_star": summary.f1}
    return row


def _facts(found: Mapping[str, Detection], tally: Tally, model: Model, pictures: DataSet) -> dict[str, object]:
    one = next(iter(found.values()))
    known = summarise(tally.known).miou
    return {
        "pictures": f"{len(tally.pictures)}, of which {sum(1 for n, _ in tally.pictures.values() if n)} hold anomalies",
        "anomalous pixels": f"{one.positives:,} of {one.positives + one.negatives:,}, "
        f"{100 * one.positives / (one.positives + one.negatives):.3f} %, which is AP by chance",
        "mean IoU of the known classes": "not known: the data have others"
        if math.isnan(known)
        else f"{100 * known:.2f} %",
    }


def _write(
    rows: Sequence[Mapping[str, object]],
    facts: Mapping[str, object],
    tally: Tally,
    samples: Sequence[report.ScoreMap],
    folder: Path,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cells = report.anomaly_table(rows)
    write_text(folder / "scores.csv", to_csv(rows))
    write_text(folder / "scores.md", report.markdown_lines(cells))
    content = [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]
    write_json(folder / "scores.json", {**facts, "scores": content})
    write_text(folder / "pictures.csv", to_csv(_picture_rows(tally)))
    curves = {name: detection_curves(counts) for name, counts in tally.counts.items()}
    counts = next(iter(tally.counts.values())).sum(dim=1)
    report.detection_picture(
        {name: (roc.numpy(), precision.numpy()) for name, (roc, precision) in curves.items()},
        float(counts[1]) / float(counts.sum()),
        folder / "curves.png",
    )
    report.score_maps_picture(samples, folder / "maps.png")
    report.write_page(
        folder / "anomalies.html",
        f"{folder.name}: anomalies",
        [
            report.section("", report.facts(facts)),
            report.section("Scores", report.html_lines(cells)),
            report.section("Curves", report.figure("Curves", folder / "curves.png")),
            report.section("Where", report.figure("Scores of the pictures with most anomalies", folder / "maps.png")),
        ],
    )


def _picture_rows(tally: Tally) -> list[dict[str, object]]:
    """A row per picture: its anomalous pixels, and the measures of each score in it alone."""
    rows = []
    for name in sorted(tally.pictures):
        pixels, alone = tally.pictures[name]
        row: dict[str, object] = {"name": name, "anomalous_pixels": pixels}
        for score, values in alone.items():
            row |= {f"{key} {score}": value for key, value in zip(report.BOUNDED, values, strict=True)}
        rows.append(row)
    return rows
