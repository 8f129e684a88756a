"""Trained models measured: on a split, against anomalies, and beside each other."""

from segue.assessment.evaluating import Assessed, evaluate_run

__all__ = ["Assessed", "evaluate_run"]
