"""All the scores that are asked for, of pictures, in as few passes as they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from segue.anomalies.moments import FeatureMoments, LogitMoments, distance_to_rows
from segue.anomalies.scores import LOGIT_SCORES, Passes
from segue.explain.taps import scoring, watched
from segue.prediction import Predictor, autocast

FURTHER_SCORES = ("standardised_max_logit", "mahalanobis", "memory", "dropout", "dropout_entropy")
"""Scores that need training pictures, a memory or dropout."""

SCORES = (*LOGIT_SCORES, *FURTHER_SCORES)
FROM_TRAINING = ("standardised_max_logit", "mahalanobis")


class Scorer:
    """A network's scores of being out of distribution.

    names: of `SCORES`. passes: with dropout. Raises ValueError for an unknown name, and for a score that the network
    cannot give: `memory` without one, `dropout` without such layers, `mahalanobis` without a classifier to be found.
    """

    def __init__(self, predictor: Predictor, names: Sequence[str], example: Tensor, *, passes: int = 8) -> None:
        self.predictor, self.names, self.passes = predictor, tuple(names), passes
        network = predictor.network
        self.classifier: nn.Module | None = None
        self.logit_moments = LogitMoments(network.num_classes)
        self.feature_moments = FeatureMoments(network.num_classes)
        self.dropouts = [one for one in network.modules() if isinstance(one, nn.modules.dropout._DropoutNd) and one.p]
        for name in self.names:
            if name not in SCORES:
                raise ValueError(f"there is no score {name!r}; there are {', '.join(SCORES)}")
        if self._wants("dropout", "dropout_entropy") and not self.dropouts:
            raise ValueError("dropout: this network has no dropout; leave these scores out")
        if self._wants("memory") and self._remembered(example) is None:
            raise ValueError("memory: this network has no memory of classes; leave this score out")
        if self._wants("mahalanobis"):
            self.classifier = self._find_classifier(example)

    @property
    def needs_training(self) -> bool:
        """Whether `learn` has to be called first."""
        return self._wants(*FROM_TRAINING)

    @torch.inference_mode()
    def learn(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Look at training pictures: (B, C, H, W) and their classes (B, H, W)."""
        for images, target in batches:
            logits, features = self._look(images)
            self.logit_moments.add(logits)
            if features is not None:
                self.feature_moments.add(features, target)

    @torch.inference_mode()
    def scores(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, C, H, W) -> predicted classes (B, H, W), and (B, H, W) float32 of each score, at the pictures' size."""
        logits, features = self._look(images)
        size = (images.shape[-2], images.shape[-1])
        found = {name: LOGIT_SCORES[name](logits, 1) for name in self.names if name in LOGIT_SCORES}
        if self._wants("standardised_max_logit"):
            found["standardised_max_logit"] = self.logit_moments.score(logits)
        if features is not None:
            found["mahalanobis"] = self.feature_moments.score(features, size)
        if self._wants("memory"):
            remembered = self._remembered(images)
            assert remembered is not None
            found["memory"] = distance_to_rows(*remembered, size)
        if self._wants("dropout", "dropout_entropy"):
            several = [self._several(image) for image in images.split(1)]
            found["dropout"] = torch.cat([one.mutual_information() for one in several])
            found["dropout_entropy"] = torch.cat([one.predictive_entropy() for one in several])
        return logits.argmax(dim=1), {name: found[name] for name in self.names}

    def _wants(self, *names: str) -> bool:
        return any(name in self.names for name in names)

    def _look(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits at the pictures' size, and what the classifier reads, where it is asked for."""
        if self.classifier is None:
            return self.predictor.logits(images), None
        with watched(self.classifier) as calls:
            logits = self.predictor.logits(images)
        features: Tensor = calls[self.classifier][-1].inputs[0]
        return logits, features.float()

    @torch.inference_mode()
    def _find_classifier(self, example: Tensor) -> nn.Module:
        network = self.predictor.network
        names = scoring(network, self.predictor.inputs(example))
        if not names:
            raise ValueError("mahalanobis: no classifier is found in this network; leave this score out")
        return dict(network.named_modules())[names[-1]]

    @torch.inference_mode()
    def _remembered(self, images: Tensor) -> tuple[Tensor, Tensor] | None:
        with autocast(self.predictor.device, self.predictor.precision):
            return self.predictor.network.beside_memory(self.predictor.inputs(images))

    def _several(self, image: Tensor) -> Passes:
        """Passes of (1, C, H, W) with dropout; BatchNorm stays as it is in prediction.

        A picture gives the same passes every time and whatever is in its batch, so that processes may share pictures.
        """
        several = Passes()
        devices = [self.predictor.device] if self.predictor.device.type == "cuda" else []
        with torch.random.fork_rng(devices), self._dropping():
            torch.manual_seed(0)
            for _ in range(self.passes):
                several.add(self.predictor.logits(image))
        return several

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        for one in self.dropouts:
            one.train()
        try:
            yield
        finally:
            for one in self.dropouts:
                one.eval()
