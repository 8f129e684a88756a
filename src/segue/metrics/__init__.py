"""Measures of a segmentation: functions of tensors, on whatever device these are.

What is counted are integers, so that counts of pictures and processes can be added up in any order, to the last bit.
"""

from segue.metrics.anomaly import Bounded, Detection, anomaly_counts, detection, detection_curves
from segue.metrics.anomaly_components import ComponentScores, ComponentSummary, component_scores, summarise_components
from segue.metrics.bootstrap import Difference, Interval, miou_difference, miou_interval
from segue.metrics.boundary import WIDTHS, boundary_f, boundary_iou_counts, segnet_boundary_f, trimap_counts
from segue.metrics.calibration import (
    calibration_counts,
    calibration_error,
    fit_temperature,
    largest_gap,
    proper_scores,
    reliability,
)
from segue.metrics.components import connected_components
from segue.metrics.confusion import Summary, accuracy, confusion, dice, iou, iou_of, marginals, summarise
from segue.metrics.membranes import Agreement, agreement, membrane_agreement, thinned

__all__ = [
    "WIDTHS",
    "Agreement",
    "Bounded",
    "ComponentScores",
    "ComponentSummary",
    "Detection",
    "Difference",
    "Interval",
    "Summary",
    "accuracy",
    "agreement",
    "anomaly_counts",
    "boundary_f",
    "boundary_iou_counts",
    "calibration_counts",
    "calibration_error",
    "component_scores",
    "confusion",
    "connected_components",
    "detection",
    "detection_curves",
    "dice",
    "fit_temperature",
    "iou",
    "iou_of",
    "largest_gap",
    "marginals",
    "membrane_agreement",
    "miou_difference",
    "miou_interval",
    "proper_scores",
    "reliability",
    "segnet_boundary_f",
    "summarise",
    "summarise_components",
    "thinned",
    "trimap_counts",
]
