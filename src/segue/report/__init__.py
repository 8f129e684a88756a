"""Tables, pictures and the one-file HTML of a run.

Every function takes plain data and writes one file, or returns text. The same data give the same bytes. Pictures have
a white ground of their own, so that they read the same on a light page and on a dark one.
"""

from segue.report.anomalies import (
    BOUNDED,
    ScoreMap,
    anomaly_table,
    detection_picture,
    html_lines,
    markdown_lines,
    score_maps_picture,
    text_lines,
)
from segue.report.calibration import Reliability, calibration_picture, trimap_picture
from segue.report.classes import labels_picture
from segue.report.confusion import confusion_picture
from segue.report.curves import curves
from segue.report.evaluation_page import EVALUATION_PAGE, EvaluationPage, write_evaluation_page
from segue.report.iterations import Sharpening, iterations_picture
from segue.report.measures import MEASURES
from segue.report.page import facts, figure, section, tiles, write_page, write_report
from segue.report.predictions import Panel, predictions_picture
from segue.report.tables import html_table, markdown_table, text_table
from segue.report.thumbnails import Thumbnail, side_for, thumbnail

__all__ = [
    "BOUNDED",
    "EVALUATION_PAGE",
    "MEASURES",
    "EvaluationPage",
    "Panel",
    "Reliability",
    "ScoreMap",
    "Sharpening",
    "Thumbnail",
    "anomaly_table",
    "calibration_picture",
    "confusion_picture",
    "curves",
    "detection_picture",
    "facts",
    "figure",
    "html_lines",
    "html_table",
    "iterations_picture",
    "labels_picture",
    "markdown_lines",
    "markdown_table",
    "predictions_picture",
    "score_maps_picture",
    "section",
    "side_for",
    "text_lines",
    "text_table",
    "thumbnail",
    "tiles",
    "trimap_picture",
    "write_evaluation_page",
    "write_page",
    "write_report",
]
