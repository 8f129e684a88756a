"""`segue predict`: a trained model applied to files, of which nothing is lost or half written."""

from segue.predicting.files import Predicted, predict_files
from segue.predicting.jobs import Job, find_jobs
from segue.predicting.outputs import Wanted

__all__ = ["Job", "Predicted", "Wanted", "find_jobs", "predict_files"]
