"""Kinds of values, as annotations state them: whether a value is of one, and what people call it."""

from __future__ import annotations

import collections.abc
import numbers
import types
from typing import Any, Union, get_args, get_origin

SEQUENCES = (collections.abc.Sequence, list, tuple)
NAMES = {
    bool: ("true or false", "truths"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
}
"""In the singular and the plural."""


def is_kind(value: object, kind: Any) -> bool:
    """Whether a value is what an annotation says: a whole number is a number too, but true is neither."""
    if kind is Any:
        return True
    if kind in (int, float):
        number = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, number) and not isinstance(value, bool)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(is_kind(value, one) for one in arguments)
    if origin in SEQUENCES:
        return isinstance(value, list | tuple) and all(is_kind(one, arguments[0]) for one in value)
    return isinstance(value, origin or kind)


def numbers_in(value: object) -> list[float]:
    """A number, or those in a list."""
    return [one for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, int | float)]


def described(kind: Any) -> str:
    """What a value of a kind is called: `a list of whole numbers`. What no recipe can hold is not named."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(described(one) for one in arguments if described(one)))
    if origin in SEQUENCES:
        return f"a list of {NAMES[arguments[0]][1]}"
    if origin is collections.abc.Callable:
        return "a function"
    return NAMES[kind][0] if kind in NAMES else ""
