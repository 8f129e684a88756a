"""The fully connected CRF of Krähenbühl and Koltun, which DeepLab v1 and v2 sharpen their maps with."""

from segue.crf.inference import DenseCRF, dense_crf, dense_crf_steps, unary_from_labels
from segue.crf.kernels import Bilateral, Gaussian

__all__ = ["Bilateral", "DenseCRF", "Gaussian", "dense_crf", "dense_crf_steps", "unary_from_labels"]
