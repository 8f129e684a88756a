"""From pictures to probabilities: the forward pass, windows, scales and mirror images, and the dense CRF."""

from segue.prediction.folding import fold_batchnorm
from segue.prediction.precision import Precision, autocast, bfloat16_is_fast
from segue.prediction.predictor import Predictor
from segue.prediction.preprocessing import Preprocessing
from segue.prediction.sharpened import Sharpened, crf_kernels

__all__ = [
    "Precision",
    "Predictor",
    "Preprocessing",
    "Sharpened",
    "autocast",
    "bfloat16_is_fast",
    "crf_kernels",
    "fold_batchnorm",
]
