"""Receptive fields: the recurrence for a path of layers, the field of any network, and what is used of it."""

from segue.field.effective import Effective, NoGradient, effective_field
from segue.field.recurrence import Field, Layer, parse_layer, recurrence
from segue.field.steps import Step
from segue.field.trace import trace

__all__ = ["Effective", "Field", "Layer", "NoGradient", "Step", "effective_field", "parse_layer", "recurrence", "trace"]
