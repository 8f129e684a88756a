"""From pictures to probabilities: the forward pass, windows, scales and mirror images, and the dense CRF."""

from segue.prediction.averaged import Averaged
from segue.prediction.folding import fold_batchnorm
from segue.prediction.precision import Precision, autocast, bfloat16_is_fast
from segue.prediction.predictor import Predictor
from segue.prediction.preprocessing import Preprocessing, as_batch
from segue.prediction.rows import Rows, TensorRows
from segue.prediction.sharpened import Sharpened, crf_kernels

__all__ = [
    "Averaged",
    "Precision",
    "Predictor",
    "Preprocessing",
    "Rows",
    "Sharpened",
    "TensorRows",
    "as_batch",
    "autocast",
    "bfloat16_is_fast",
    "crf_kernels",
    "fold_batchnorm",
]
