"""A predictor on a split: counts of the whole and of each picture, and measures beside IoU."""

from segue.evaluation.evaluating import (
    LabelsOf,
    Looked,
    ProbabilitiesOf,
    WholePicture,
    evaluate,
    evaluate_probabilities,
    same_size,
)
from segue.evaluation.further import Boundaries, BoundaryF, Calibration, Cells, Measure
from segue.evaluation.results import Evaluation, PictureScore, worst_first

__all__ = [
    "Boundaries",
    "BoundaryF",
    "Calibration",
    "Cells",
    "Evaluation",
    "LabelsOf",
    "Looked",
    "Measure",
    "PictureScore",
    "ProbabilitiesOf",
    "WholePicture",
    "evaluate",
    "evaluate_probabilities",
    "same_size",
    "worst_first",
]
