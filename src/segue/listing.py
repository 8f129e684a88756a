"""What there is: networks, data sets, recipes and backbones, a line each."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator

from segue import recipe as recipes
from segue.figures import CLASSES, HEIGHT, WIDTH, shipped


def lines(what: str, pattern: str = "*") -> Iterator[str]:
    """The lines of `segue list WHAT PATTERN`. Raises ValueError where no name matches."""
    kinds: dict[str, Callable[[str], Iterator[str]]] = {
        "networks": _networks,
        "datasets": _datasets,
        "recipes": _recipes,
        "backbones": _backbones,
    }
    found = list(kinds[what](pattern))
    if not found:
        inside = f"*{pattern.strip('*')}*"
        raise ValueError(f"no {what} match {pattern!r}; `segue list {what} '{inside}'` looks inside names, too")
    return iter(found)


def _networks(pattern: str) -> Iterator[str]:
    known = shipped()
    names = fnmatch.filter(known, pattern)
    if names:
        yield f"{'network':14} {'parameters':>10} {'GFLOP':>6} {'field':>6}  paper"
    for name in names:
        one = known[name]
        field = "all" if one.field is None else str(one.field)
        yield (
            f"{name:14} {one.parameters / 1e6:8.1f} M {one.gflop:6.1f} {field:>6}  "
            f"{one.authors}, {one.venue} {one.year}: {one.title}"
        )
    if names:
        yield ""
        yield (
            f"With the default backbone and {CLASSES} classes. GFLOP: a forward pass at {WIDTH}x{HEIGHT}, a "
            "multiplication and an addition being two."
        )
        yield "field: pixels along a side that a pixel's scores can depend on; `segue field NETWORK` tells why."


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
