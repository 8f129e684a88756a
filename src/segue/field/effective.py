"""The effective receptive field: what of the picture a pixel's scores really depend on, by their gradient.

The theoretical field says what can be seen; the gradient is far from even in it, large at its centre and dying away to
its rim (Luo et al., Understanding the Effective Receptive Field, NeurIPS 2016, arXiv:1701.04128).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.models.network import Network


class NoGradient(ValueError):
    """A score does not depend on the picture at all, as before training where a score layer starts at zero."""


@dataclass(frozen=True)
class Effective:
    """How much a pixel's score depends on each pixel of the picture.

    share: (H, W) float64, absolute gradients, adding up to 1. row, column: the pixel. label: the class of the score.
    """

    share: np.ndarray
    row: int
    column: int
    label: int

    def side(self, part: float) -> int:
        """The side of the smallest square around the pixel, cut at the picture's border, that holds a part of it all.

        part: above 0 and at most 1; 0.95, say.
        """
        rows, columns = np.indices(self.share.shape)
        distance = np.maximum(abs(rows - self.row), abs(columns - self.column))
        held = np.cumsum(np.bincount(distance.reshape(-1), weights=self.share.reshape(-1)))
        # The last sum may miss 1 by rounding.
        return 2 * int(np.searchsorted(held, min(part, held[-1]))) + 1


def effective_field(
    network: Network[Any], images: Tensor, row: int | None = None, column: int | None = None, label: int | None = None
) -> Effective:
    """Measure it at a pixel, by default the middle one, of one picture.

    images: (1, C, H, W), as the network takes them. label: the class whose score is followed, by default the highest.
    The network is in eval() meanwhile. Raises ValueError for a pixel outside, NoGradient where none comes back.
    """
    height, width = images.shape[-2:]
    row, column = height // 2 if row is None else row, width // 2 if column is None else column
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"the pixel ({column}, {row}) is not in a picture of {width}x{height}")
    training = network.training
    inputs = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        try:
            scores = network.eval()(inputs).logits[0, :, row, column]
        finally:
            network.train(training)
        label = int(scores.argmax()) if label is None else label
        (gradient,) = torch.autograd.grad(scores[label], inputs)
    share = gradient[0].abs().sum(dim=0).double().cpu().numpy()
    if not 0 < share.sum() < np.inf:
        raise NoGradient(
            f"no gradient of the score at ({column}, {row}) reaches the picture: the network is not trained, or its "
            "weights are not finite"
        )
    return Effective(share / share.sum(), row, column, label)
