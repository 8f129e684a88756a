"""What a network has not been trained on: scores of being out of distribution."""

from segue.anomalies.moments import FeatureMoments, LogitMoments, distance_to_rows
from segue.anomalies.scorer import FROM_TRAINING, SCORES, Scorer
from segue.anomalies.scores import LOGIT_SCORES, Passes, energy, entropy, max_logit, max_softmax

__all__ = [
    "FROM_TRAINING",
    "LOGIT_SCORES",
    "SCORES",
    "FeatureMoments",
    "LogitMoments",
    "Passes",
    "Scorer",
    "distance_to_rows",
    "energy",
    "entropy",
    "max_logit",
    "max_softmax",
]
