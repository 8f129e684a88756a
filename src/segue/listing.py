"""What there is: networks, data sets, recipes and backbones, a line each."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator

from segue import recipe as recipes


def lines(what: str, pattern: str = "*") -> Iterator[str]:
    """The lines of `segue list WHAT PATTERN`."""
    kinds: dict[str, Callable[[str], Iterator[str]]] = {
        "networks": _networks,
        "datasets": _datasets,
        "recipes": _recipes,
        "backbones": _backbones,
    }
    return kinds[what](pattern)


def _networks(pattern: str) -> Iterator[str]:
    from segue.models import MODELS

    for name in fnmatch.filter(MODELS, pattern):
        paper = MODELS[name].paper
        yield f"{name:14} {paper.authors}, {paper.venue} {paper.year}: {paper.title}"


def _datasets(pattern: str) -> Iterator[str]:
    from segue.data import DATASETS

    for name in fnmatch.filter(DATASETS, pattern):
        yield f"{name:17} {DATASETS[name].summary()}"


def _recipes(pattern: str) -> Iterator[str]:
    for name, path in recipes.shipped().items():
        if fnmatch.fnmatch(name, pattern):
            first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
            yield f"{name:26} {first}"


def _backbones(pattern: str) -> Iterator[str]:
    from segue.backbones import names

    yield from names(pattern)
