"""--inference.* of predict and evaluate."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.options import InferenceOptions

InferenceKeys = Annotated[InferenceOptions, Parameter(name="--inference", show_default=True)]
