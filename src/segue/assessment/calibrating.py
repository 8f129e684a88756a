"""The temperature that makes a run's confidence honest, fitted on a split and kept in the model's card."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from segue.apply import open_run_split
from segue.data import DataSet
from segue.data.loading import WholePictures
from segue.files import write_json
from segue.labels import IGNORE
from segue.metrics import calibration_counts, calibration_error, fit_temperature, proper_scores
from segue.metrics.calibration import UNIT
from segue.model import CARD, load, model_folder
from segue.prediction import Predictor, as_batch
from segue.progress import ProgressLine, bar

MOST_PIXELS = 1 << 20
MOST_BYTES = 1 << 28  # of the logits that are kept


@dataclass(frozen=True)
class Calibrated:
    """The temperature, and negative log-likelihood and calibration error of the pixels it was fitted to, before, after.

    pixels: how many these were, a random choice of the split's.
    """

    temperature: float
    loss: tuple[float, float]
    error: tuple[float, float]
    pixels: int
    card: Path

    def lines(self) -> str:
        """For the terminal."""
        what = "less sure than it was" if self.temperature > 1 else "surer than it was"
        return (
            f"temperature {self.temperature:.4f}: the network is made {what}\n"
            f"negative log-likelihood {self.loss[0]:.4f} -> {self.loss[1]:.4f}, calibration error "
            f"{100 * self.error[0]:.2f} % -> {100 * self.error[1]:.2f} % ({self.pixels:,} pixels)\n"
            f"{self.card}: probabilities are of this temperature from now on"
        )


def calibrate(
    run: str | Path, *, split: str = "val", data: str = "", root: str = "", device: str = "", most: int = MOST_PIXELS
) -> Calibrated:
    """Fit the temperature of least negative log-likelihood, and write it into the run's card.

    At most `most` pixels are looked at, as many from each picture, chosen at random and the same each time. The split
    should be one that the network was not trained on, and not the one that results are reported on. Classes predicted
    stay the same; what averages probabilities (windows, scales, the CRF) sees other ones.
    """
    model = load(run, device or None)
    pictures = open_run_split(run, model, split, data, root)
    predictor = Predictor(model.network, model.preprocessing)  # of temperature 1
    logits, target = _sampled(predictor, pictures, min(most, MOST_BYTES // (4 * model.labels.num_classes)))
    temperature = fit_temperature(logits, target)
    measured = [_measured(logits / one, target) for one in (1.0, temperature)]
    path = model_folder(Path(run)) / CARD
    write_json(path, replace(model.card, temperature=temperature).to_dict())
    (loss, error), (loss_after, error_after) = measured
    return Calibrated(temperature, (loss, loss_after), (error, error_after), len(target), path)


def _sampled(predictor: Predictor, pictures: DataSet, most: int) -> tuple[Tensor, Tensor]:
    """(N, K) logits and (N,) classes of random counted pixels, on the CPU."""
    whole = WholePictures(pictures)
    each = max(1, most // max(1, len(whole)))
    line = ProgressLine()
    logits, targets = [], []
    for index in range(len(whole)):
        line.show(f"{bar(index, len(whole))} {index}/{len(whole)}")
        pixels, classes, _ = whole[index]
        target = torch.from_numpy(classes.copy()).flatten()
        places = (target != IGNORE).nonzero().flatten()
        chosen = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(index))[:each]]
        scores = predictor.logits(as_batch([pixels]))[0].flatten(1).T
        logits.append(scores[chosen.to(scores.device)].cpu())
        targets.append(target[chosen].long())
    line.finish()
    empty = torch.zeros(0, predictor.network.num_classes), torch.zeros(0, dtype=torch.int64)
    return torch.cat([*logits, empty[0]]), torch.cat([*targets, empty[1]])


def _measured(logits: Tensor, target: Tensor) -> tuple[float, float]:
    """Negative log-likelihood and expected calibration error."""
    probabilities = logits.softmax(dim=1).T[:, None]  # as a picture of one row
    pixels, loss, _ = proper_scores(probabilities, target[None]).tolist()
    counts = calibration_counts(probabilities, target[None]).sum(dim=1)
    return loss / UNIT / pixels, float(calibration_error(counts))
