"""Tables, pictures and the one-file HTML of a run.

Every function takes plain data and writes one file, or returns text. The same data give the same bytes. Pictures have
a white ground of their own, so that they read the same on a light page and on a dark one.
"""

from segue.report.anomalies import ALONE, BOUNDED, ScoreMap, anomaly_table, detection_picture, score_maps_picture
from segue.report.calibration import Reliability, calibration_picture, trimap_picture
from segue.report.cells import html_lines, markdown_lines, text_lines
from segue.report.classes import labels_picture
from segue.report.comparison import Columns, columns_picture, comparison_curves
from segue.report.confusion import confusion_picture
from segue.report.curves import curves
from segue.report.evaluation_page import EVALUATION_PAGE, EvaluationPage, write_evaluation_page
from segue.report.iterations import Sharpening, iterations_picture
from segue.report.measures import MEASURES, as_number, in_percent
from segue.report.page import facts, figure, section, tiles, write_page, write_report
from segue.report.predictions import Panel, predictions_picture
from segue.report.tables import html_table, markdown_table, text_table
from segue.report.text import escaped
from segue.report.thumbnails import Thumbnail, side_for, thumbnail

__all__ = [
    "ALONE",
    "BOUNDED",
    "EVALUATION_PAGE",
    "MEASURES",
    "Columns",
    "EvaluationPage",
    "Panel",
    "Reliability",
    "ScoreMap",
    "Sharpening",
    "Thumbnail",
    "anomaly_table",
    "as_number",
    "calibration_picture",
    "columns_picture",
    "comparison_curves",
    "confusion_picture",
    "curves",
    "detection_picture",
    "escaped",
    "facts",
    "figure",
    "html_lines",
    "html_table",
    "in_percent",
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
