"""segue: semantic segmentation from paper to pixels.

The names below are the public ones; they are imported when they are first used, so that `import segue` and the command
line are quick. Everything else may change without notice.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segue.labels import IGNORE, Labels
    from segue.model import Model, Prediction, load
    from segue.models import MODELS, Network, create

__version__ = version("segue")

_HOMES = {
    "IGNORE": "segue.labels",
    "Labels": "segue.labels",
    "MODELS": "segue.models",
    "Model": "segue.model",
    "Network": "segue.models",
    "Prediction": "segue.model",
    "create": "segue.models",
    "load": "segue.model",
}
_MODULES = ("convert", "crf", "explain", "losses", "metrics", "schedule")

__all__ = ["IGNORE", "MODELS", "Labels", "Model", "Network", "Prediction", "__version__", "create", "load"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"segue.{name}")
    raise AttributeError(f"module 'segue' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
