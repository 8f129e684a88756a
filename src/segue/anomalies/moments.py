"""What the training pictures look like to a network: moments of its logits and of its features, summed in float64."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.labels import IGNORE


class LogitMoments:
    """Mean and deviation of the highest logit of the pixels predicted as each class, right or wrong.

    Jung et al.: Standardized Max Logits, ICCV 2021, arXiv:2107.11264. As in the authors' code, the deviation divides,
    where their text has the variance.
    """

    def __init__(self, num_classes: int) -> None:
        self.sums = torch.zeros(3, num_classes, dtype=torch.float64)  # pixels, highest logits, their squares

    def add(self, logits: Tensor) -> None:
        """(B, K, H, W) of training pictures."""
        highest, predicted = logits.max(dim=1)
        values, classes = highest.flatten().cpu().double(), predicted.flatten().cpu()
        for row, weights in zip(self.sums, (torch.ones_like(values), values, values.square()), strict=True):
            row += torch.bincount(classes, weights, minlength=self.sums.shape[1])

    def score(self, logits: Tensor) -> Tensor:
        """(B, K, H, W) -> (B, H, W): -(f_c - mean_c) / deviation_c of the predicted class c.

        A class that no training pixel was predicted as takes the moments of all of them together.
        """
        highest, predicted = logits.max(dim=1)
        mean, deviation = (one.to(highest)[predicted] for one in self._standards())
        return (mean - highest) / deviation

    def _standards(self) -> tuple[Tensor, Tensor]:
        pixels, sums, squares = self.sums
        known = pixels > 1
        total = self.sums.sum(dim=1)
        mean = torch.where(known, sums / pixels, total[1] / total[0])
        variance = torch.where(known, squares / pixels, total[2] / total[0]) - mean.square()
        return mean, variance.clamp(min=1e-12).sqrt()


RIDGE = 1e-3
"""Of the mean variance, added to the covariance: few pictures leave directions without any variance."""


class FeatureMoments:
    """Class means and the covariance within classes, of features before the classifier (Lee et al., NeurIPS 2018)."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.pixels = torch.zeros(num_classes, dtype=torch.float64)
        self.sums: Tensor | None = None
        self.products: Tensor | None = None
        self.ready: tuple[Tensor, Tensor] | None = None

    def add(self, features: Tensor, target: Tensor) -> None:
        """(B, C, h, w) features and (B, H, W) classes, which are looked up at the features' own places."""
        places = F.interpolate(target[:, None].float(), size=features.shape[-2:], mode="nearest-exact")[:, 0].long()
        counted = places.flatten().cpu() != IGNORE
        values = features.movedim(1, -1).flatten(0, 2).cpu()[counted].double()
        classes = places.flatten().cpu()[counted]
        if self.sums is None or self.products is None:
            self.sums = torch.zeros(self.num_classes, values.shape[1], dtype=torch.float64)
            self.products = torch.zeros(values.shape[1], values.shape[1], dtype=torch.float64)
        self.pixels += torch.bincount(classes, minlength=self.num_classes)
        self.sums.index_add_(0, classes, values)
        self.products += values.T @ values
        self.ready = None

    def score(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, C, h, w) -> (B, H, W): min_k (z - m_k)^T S^-1 (z - m_k), bilinearly enlarged to `size`."""
        whiten, means = (one.to(features) for one in self._solved())
        values = features.movedim(1, -1).flatten(0, 2) @ whiten.T
        nearest = torch.cdist(values, means).square().amin(dim=1)
        maps = nearest.view(len(features), 1, *features.shape[-2:])
        return F.interpolate(maps, size=size, mode="bilinear")[:, 0]

    def _solved(self) -> tuple[Tensor, Tensor]:
        """The matrix that makes the covariance one, (C, C), and the class means behind it, (known classes, C)."""
        if self.ready is None:
            if self.sums is None or self.products is None or not bool((self.pixels > 0).any()):
                raise ValueError("no training pixel has a class: there is nothing to compare features with")
            known = self.pixels > 0
            means = self.sums[known] / self.pixels[known, None]
            within = self.products - (self.sums[known].T @ means)  # sum of z z^T less n_k m_k m_k^T
            covariance = within / self.pixels.sum()
            covariance += RIDGE * covariance.diagonal().mean().clamp(min=1e-12) * torch.eye(len(covariance))
            lower = torch.linalg.cholesky(covariance)
            whiten = torch.linalg.solve_triangular(lower, torch.eye(len(lower), dtype=lower.dtype), upper=False)
            self.ready = whiten, means @ whiten.T
        return self.ready


def distance_to_rows(features: Tensor, rows: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, h, w) and (K, C) -> (B, H, W): min_k ||z - a_k||^2, bilinearly enlarged to `size`.

    Rows that are 0 belong to classes that have not been seen, and are left out.
    """
    seen = rows[(rows != 0).any(dim=1)]
    if not len(seen):
        raise ValueError("the memory has not seen any class yet")
    values = features.movedim(1, -1).flatten(0, 2).float()
    nearest = torch.cdist(values, seen.to(values)).square().amin(dim=1)
    maps = nearest.view(len(features), 1, *features.shape[-2:])
    return F.interpolate(maps, size=size, mode="bilinear")[:, 0]
