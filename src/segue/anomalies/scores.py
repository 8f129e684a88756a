"""Scores of being out of distribution from a network's logits alone: large for what is unlike the training pictures.

Each takes logits with the classes in dimension `dim`, at the size at which pixels are judged: logits are enlarged first
and scored then, which is not the same as scoring first.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def max_softmax(logits: Tensor, dim: int = 0) -> Tensor:
    """-log max_k p_k (Hendrycks and Gimpel, ICLR 2017): the order of 1 - max_k p_k, without its ties.

    1 - p is 0 in 32 bits where the highest logit leads by 17, and there all pixels would be alike.
    """
    return logits.logsumexp(dim=dim) - logits.amax(dim=dim)


def max_logit(logits: Tensor, dim: int = 0) -> Tensor:
    """-max_k f_k (Hendrycks et al., ICML 2022, arXiv:1911.11132)."""
    return -logits.amax(dim=dim)


def entropy(logits: Tensor, dim: int = 0) -> Tensor:
    """-sum_k p_k log p_k / log K, from 0 to 1."""
    log_p = logits.log_softmax(dim=dim)
    return -(log_p.exp() * log_p).sum(dim=dim) / math.log(logits.shape[dim])


def energy(logits: Tensor, dim: int = 0) -> Tensor:
    """-log sum_k exp f_k, at temperature 1 (Liu et al., NeurIPS 2020)."""
    return -logits.logsumexp(dim=dim)


LOGIT_SCORES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "max_softmax": max_softmax,
    "max_logit": max_logit,
    "entropy": entropy,
    "energy": energy,
}
"""Name -> score of logits, of which nothing else needs to be known."""


class Passes:
    """What several passes with dropout say together (Gal and Ghahramani, ICML 2016)."""

    def __init__(self) -> None:
        self.count = 0
        self.probabilities: Tensor | None = None
        self.entropies: Tensor | None = None

    def add(self, logits: Tensor) -> None:
        """One more pass, (B, K, H, W)."""
        log_p = logits.log_softmax(dim=1)
        p = log_p.exp()
        entropies = -(p * log_p).sum(dim=1)
        self.probabilities = p if self.probabilities is None else self.probabilities + p
        self.entropies = entropies if self.entropies is None else self.entropies + entropies
        self.count += 1

    def predictive_entropy(self) -> Tensor:
        """The entropy of the mean probabilities, (B, H, W)."""
        assert self.probabilities is not None
        mean = self.probabilities / self.count
        return -torch.special.xlogy(mean, mean).sum(dim=1)

    def mutual_information(self) -> Tensor:
        """How far the passes disagree: the entropy of the mean less the mean entropy, from 0 to log(passes)."""
        assert self.entropies is not None
        return (self.predictive_entropy() - self.entropies / self.count).clamp(min=0)
