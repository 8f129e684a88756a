"""The app that the verbs register with, and what they share: which keys were given, and checks of values."""

from __future__ import annotations

from dataclasses import fields

from cyclopts import App, Parameter
from cyclopts.argument import ArgumentCollection

from segue.options import Recipe

app = App(
    name="segue",
    help="Semantic segmentation from paper to pixels: train, evaluate and predict with the networks of the papers.",
    help_flags=["--help", "-h"],
    default_parameter=Parameter(consume_multiple=True, negative_iterable=()),
    result_action="return_value",
)


class Given:
    """Which keys of the recipe or the CRF were given on the command line, by their dotted names."""

    names: tuple[tuple[str, ...], ...] = ()


def _note_given(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    tables = {"crf", *(one.name for one in fields(Recipe))}
    given = []
    for argument in arguments:
        for token in argument.tokens:
            keys = (*argument.name.removeprefix("--").replace("-", "_").split("."), *token.keys)
            if keys == ("network",) or (keys[0] in tables and len(keys) > 1):
                given.append(keys)
    Given.names = tuple(given)


app.config = (_note_given,)


def positive(name: str, value: int) -> int:
    """The value of an option that counts something. Raises ValueError below 1."""
    if value < 1:
        raise ValueError(f"--{name} {value}: it must be 1 or more")
    return value
