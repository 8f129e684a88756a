"""The fully connected CRF of Krähenbühl and Koltun, which DeepLab v1 and v2 sharpen their maps with."""

from segue.crf.inference import (
    Bilateral,
    DenseCRF,
    Gaussian,
    dense_crf,
    dense_crf_steps,
    unary_from_labels,
)

__all__ = ["Bilateral", "DenseCRF", "Gaussian", "dense_crf", "dense_crf_steps", "unary_from_labels"]
