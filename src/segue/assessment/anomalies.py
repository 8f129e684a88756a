"""Whether a run's model notices what it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segue import report
from segue.anomalies import LOGIT_SCORES, Scorer
from segue.apply import data_of, open_run_split
from segue.assessment.anomaly_files import facts_of, score_row, write_anomalies
from segue.assessment.looking import Looks, Sizes
from segue.assessment.team import Team
from segue.data import DATASETS, DataSet, open_split
from segue.data.loading import WholePictures
from segue.errors import DataError
from segue.metrics import Detection, detection
from segue.model import Model, ModelError, load
from segue.prediction import Predictor, as_batch
from segue.progress import ProgressLine, bar
from segue.sharpening import spread

LEARNT = 200  # training pictures that scores learn from


@dataclass(frozen=True)
class AnomaliesFound:
    """The outcome for a terminal: a line of words, the table, and where everything is written."""

    rows: list[dict[str, object]]
    facts: dict[str, object]
    folder: Path

    def lines(self) -> str:
        """As text."""
        words = "\n".join(f"{name}: {value}" for name, value in self.facts.items())
        together, alone = report.anomaly_table(self.rows), report.anomaly_table(self.rows, report.ALONE)
        return (
            f"{words}\n\n{report.text_lines(together)}\n\neach picture alone, the mean\n{report.text_lines(alone)}\n\n"
            f"open {self.folder / 'anomalies.html'}"
        )


def evaluate_anomalies(
    run: str | Path,
    *,
    split: str = "val",
    data: str = "",
    root: str = "",
    scores: Sequence[str] = tuple(LOGIT_SCORES),
    components: bool = True,
    sizes: Sizes = Sizes(),  # noqa: B008  # frozen
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
    looks = Looks(scorer, pictures, anomalies, model, team, line, batch)
    tally, *others = team.gather(looks.tally())
    for other in others:
        tally.merge(other)
    found = {name: detection(counts) for name, counts in tally.counts.items()}
    _check_found(found, run, split)
    if components:
        for overlaps in team.gather(looks.components({name: one.threshold for name, one in found.items()}, sizes)):
            tally.add_components(overlaps)
    if not team.first:
        return None
    folder = Path(out) if out else Path(run) / "anomalies" / (f"{Path(data).name}-{split}" if data else split)
    rows = [score_row(name, one, tally) for name, one in found.items()]
    facts = facts_of(found, tally)
    samples = looks.samples(tally)
    line.finish()
    write_anomalies(rows, facts, tally, samples, Path(run).resolve().name, folder)
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


def _check_found(found: Mapping[str, Detection], run: str | Path, split: str) -> None:
    one = next(iter(found.values()))
    if not one.positives or not one.negatives:
        raise DataError(
            f"{run}: the split {split} holds {one.positives} anomalous pixels and {one.negatives} others; both are "
            "needed: name another --split"
        )
