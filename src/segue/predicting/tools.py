"""What predicting takes: the model made ready as asked for, and what is to be written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from segue.labels import Labels
from segue.model import WHOLE, Model, load
from segue.options import CRFOptions, InferenceOptions
from segue.predicting.outputs import Found, Wanted, found_in
from segue.prediction import Averaged, Predictor, Sharpened, as_batch

TOO_LARGE = "does not fit into memory: predict it in windows (--inference.window 512), or with a smaller --batch"


@dataclass(frozen=True)
class Order:
    """What is asked for of every file; plain values, so that it can be handed to other processes.

    crf: None for no CRF. batch: pictures of one size that go through the network together, at most. device: "" for
    the accelerator, if there is one. go_on: what is written already is left as it is.
    """

    run: str
    wanted: Wanted
    inference: InferenceOptions = WHOLE
    crf: CRFOptions | None = None
    batch: int = 8
    device: str = ""
    go_on: bool = False


class Tools:
    """An order, and the model ready for it.

    watch: called with a line of words and the share of a file that is done, while a long one is being predicted.
    """

    def __init__(self, order: Order, watch: Callable[[float, str], None] = lambda share, words: None) -> None:
        self.order, self.wanted, self.watch = order, order.wanted, watch
        self.model: Model = load(order.run, order.device or None)
        self.labels: Labels = self.model.labels
        predictor = self.model.predictor(order.inference)
        self.predictor: Predictor | Averaged | Sharpened = (
            predictor if order.crf is None else Sharpened(predictor, order.crf)
        )

    def found(self, pictures: list[np.ndarray]) -> list[Found]:
        """Predict pictures (H, W, C) of one size; where they do not fit into memory together, one by one.

        Raises torch.OutOfMemoryError where a single one does not.
        """
        try:
            return self._together(pictures)
        except torch.OutOfMemoryError:
            if len(pictures) == 1:
                raise
            torch.cuda.empty_cache()
        return [self._together([one])[0] for one in pictures]

    def _together(self, pictures: list[np.ndarray]) -> list[Found]:
        images = as_batch(pictures)
        if self.wanted.soft:
            return [found_in(one, self.wanted) for one in self.predictor.probabilities(images)]
        return [Found(one) for one in self.predictor.labels(images).to(torch.uint8).cpu().numpy()]
