"""Recipes: TOML -> frozen dataclasses -> objects. The one place that turns a name into a thing."""

from __future__ import annotations

import difflib
import functools
import tomllib
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from segue.options import LossOptions, Recipe, ScheduleOptions

SHIPPED = Path(__file__).parent / "recipes"


class RecipeError(ValueError):
    """A recipe says something that cannot be; the message names the key, the value and the mend."""


# Reading and writing


def shipped() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def find(name: str) -> Path | None:
    """A recipe's file: a path to a TOML file, or the name of a shipped one; None when it is neither."""
    if name.endswith(".toml"):
        path = Path(name).expanduser()
        if path.is_file():
            return path
        if (SHIPPED / path.name).is_file():  # `recipes/danet_camvid.toml`, typed away from a checkout
            return SHIPPED / path.name
        raise RecipeError(f"{name}: there is no such recipe; `segue list recipes` names those that are shipped")
    return shipped().get(name)


def read(path: Path) -> Recipe:
    """Read a recipe. Raises RecipeError for text that is not TOML, an unknown key or a value of a wrong type."""
    return from_dict(read_keys(path), str(path))


def read_keys(path: Path) -> dict[str, Any]:
    """The keys that a recipe's file sets, as nested dicts."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: is not TOML ({error})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read ({error})") from error


def from_dict(keys: Mapping[str, Any], where: str) -> Recipe:
    """Nested dicts -> a recipe; `where` begins the message of an error."""
    recipe = _build(Recipe, keys, where, "")
    assert isinstance(recipe, Recipe)
    _check(recipe, where)
    return recipe


def override(recipe: Recipe, changes: Mapping[str, Any], where: str) -> Recipe:
    """A recipe with some keys changed, which are given as nested dicts; the table [model] is merged key by key."""

    def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
        result = dict(old)
        for key, value in new.items():
            inner = result.get(key)
            nested = isinstance(value, Mapping) and isinstance(inner, Mapping)
            result[key] = merged(inner, value) if nested and inner is not None else value
        return result

    return from_dict(merged(to_dict(recipe), changes), where)


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Every key and its value, tuples as lists, as TOML has them."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): plain(inner) for key, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value

    tables = plain(asdict(recipe))
    assert isinstance(tables, dict)
    return tables


def to_toml(recipe: Recipe, comment: str = "") -> str:
    """A recipe as TOML, every value written out, ready to train again."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]

    def table(name: str, keys: Mapping[str, Any]) -> None:
        plain = {key: value for key, value in keys.items() if not isinstance(value, Mapping)}
        if name and (plain or not keys):
            lines.extend(["", f"[{name}]"])
        lines.extend(f"{_toml_key(key)} = {_toml_value(value)}" for key, value in plain.items())
        for key, value in keys.items():
            if isinstance(value, Mapping) and (value or not name):
                table(f"{name}.{key}" if name else key, value)

    table("", to_dict(recipe))
    return "\n".join(lines).lstrip("\n") + "\n"


def _toml_key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return f'"{escaped}"'
    return "[" + ", ".join(_toml_value(inner) for inner in value) + "]"


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of the keys whose values differ."""
    names = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            names += changed_keys(before, after, f"{prefix}{key}.")
        elif before != after:
            names.append(prefix + key)
    return names


def _build(cls: type[Any], keys: Any, where: str, prefix: str) -> Any:
    if not isinstance(keys, Mapping):
        raise RecipeError(f"{where}: {prefix.rstrip('.')} must be a table, not {keys!r}")
    hints = get_type_hints(cls)
    known = [one.name for one in fields(cls)]
    values: dict[str, Any] = {}
    for key, value in keys.items():
        if key not in known:
            raise RecipeError(f"{where}: there is no key {prefix}{key}; {_nearest(key, known, prefix)}")
        hint = hints[key]
        if is_dataclass(hint) and isinstance(hint, type):
            values[key] = _build(hint, value, where, f"{prefix}{key}.")
        else:
            try:
                values[key] = _value(hint, value)
            except (TypeError, ValueError) as error:
                raise RecipeError(f"{where}: {prefix}{key} = {value!r}: {error}") from error
    return cls(**values)


def _nearest(key: str, known: Sequence[str], prefix: str) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(prefix + name for name in known)}"


def _value(hint: Any, value: Any) -> Any:
    """A TOML value as the annotated type; TypeError or ValueError says what is wanted."""
    origin = get_origin(hint)
    if hint is object or hint is Any:
        return tuple(value) if isinstance(value, list) else value
    if origin is Literal:
        allowed = get_args(hint)
        if value not in allowed:
            near = difflib.get_close_matches(str(value), [str(one) for one in allowed], n=1)
            raise ValueError(
                f"it must be one of {', '.join(map(str, allowed))}" + (f"; did you mean {near[0]}?" if near else "")
            )
        return value
    if origin in (Union, types.UnionType):
        reasons = []
        for option in get_args(hint):
            try:
                return _value(option, value)
            except (TypeError, ValueError) as error:
                reasons.append(str(error))
        raise TypeError(", or ".join(reasons))
    if origin is tuple:
        inner = get_args(hint)
        if not isinstance(value, list | tuple):
            raise TypeError("it must be a list")
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(_value(inner[0], one) for one in value)
        if len(value) != len(inner):
            raise ValueError(f"it must be a list of {len(inner)}")
        return tuple(_value(one, item) for one, item in zip(inner, value, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise TypeError("it must be a table")
        return {str(key): _value(get_args(hint)[1], one) for key, one in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        names = {int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false"}
        raise TypeError(f"it must be {names.get(hint, hint.__name__)}")
    return value


def _check(recipe: Recipe, where: str) -> None:
    """Bounds that types do not say."""
    data, augment, optim, how = recipe.data, recipe.augment, recipe.optim, recipe.training
    rules: list[tuple[bool, str, object, str]] = [
        (0 < data.shrink <= 1, "data.shrink", data.shrink, "above 0 and at most 1"),
        (len(data.mean) == len(data.std), "data.std", data.std, "as long as data.mean"),
        (all(one > 0 for one in data.std), "data.std", data.std, "above 0 for each channel"),
        (data.workers >= -1, "data.workers", data.workers, "-1 or more"),
        (min(augment.crop) >= 0, "augment.crop", augment.crop, "two sizes, or 0 0"),
        (0 < augment.scale[0] <= augment.scale[1], "augment.scale", augment.scale, "low and high, both above 0"),
        (0 < augment.max_share <= 1, "augment.max_share", augment.max_share, "above 0 and at most 1"),
        (augment.photometric >= 0, "augment.photometric", augment.photometric, "0 or more"),
        (0 <= augment.rare <= 1, "augment.rare", augment.rare, "from 0 to 1"),
        (optim.lr > 0, "optim.lr", optim.lr, "above 0"),
        (optim.head_lr > 0, "optim.head_lr", optim.head_lr, "above 0"),
        (0 <= optim.momentum < 1, "optim.momentum", optim.momentum, "from 0 to below 1"),
        (optim.weight_decay >= 0, "optim.weight_decay", optim.weight_decay, "0 or more"),
        (optim.clip >= 0, "optim.clip", optim.clip, "0 or more"),
        (0 <= recipe.loss.smoothing < 1, "loss.smoothing", recipe.loss.smoothing, "from 0 to below 1"),
        (0 <= recipe.loss.threshold <= 1, "loss.threshold", recipe.loss.threshold, "a probability, from 0 to 1"),
        (recipe.loss.min_kept >= 0, "loss.min_kept", recipe.loss.min_kept, "0 or more"),
        (0 <= recipe.schedule.floor <= 1, "schedule.floor", recipe.schedule.floor, "from 0 to 1"),
        (recipe.schedule.warmup >= 0, "schedule.warmup", recipe.schedule.warmup, "0 or more"),
        (recipe.schedule.stepsize > 0, "schedule.stepsize", recipe.schedule.stepsize, "above 0"),
        (
            recipe.schedule.gamma >= 0 or recipe.schedule.policy == "sigmoid",
            "schedule.gamma",
            recipe.schedule.gamma,
            "0 or more, but for sigmoid",
        ),
        (how.batch > 0, "training.batch", how.batch, "above 0"),
        (how.per_device >= 0, "training.per_device", how.per_device, "0 or more"),
        (how.validation_batch > 0, "training.validation_batch", how.validation_batch, "above 0"),
        (how.steps > 0 or how.epochs > 0, "training.epochs", how.epochs, "above 0, or training.steps"),
        (how.steps >= 0, "training.steps", how.steps, "0 or more"),
        (min(how.validate_every, how.save_every) >= 0, "training.validate_every", how.validate_every, "0 or more"),
        (0 <= how.ema < 1, "training.ema", how.ema, "from 0 to below 1"),
    ]
    for holds, key, value, wanted in rules:
        if not holds:
            shown = list(value) if isinstance(value, tuple) else value
            raise RecipeError(f"{where}: {key} = {shown}: it must be {wanted}")
    raw_values(data.map, f"{where}: data.map")


def raw_values(table: Mapping[str, int], where: str) -> dict[int, int]:
    """A table [data.map] as numbers. Raises RecipeError for what is no raw value or no class."""
    for raw, label in table.items():
        if not raw.isdecimal() or not (0 <= label <= 255):
            raise RecipeError(f"{where}.{raw} = {label}: a raw value is mapped to a class, or to 255")
    return {int(raw): label for raw, label in table.items()}


# Objects


def build_policy(options: ScheduleOptions, steps: int) -> Callable[[int], float]:
    """The learning-rate policy; poly falls over what the warm-up leaves of `steps`."""
    from segue import schedule

    policies: dict[str, Callable[[], schedule.Policy]] = {
        "fixed": schedule.fixed,
        "step": lambda: schedule.step(gamma=options.gamma, stepsize=options.stepsize),
        "exp": lambda: schedule.exp(gamma=options.gamma),
        "inv": lambda: schedule.inv(gamma=options.gamma, power=options.power),
        "multistep": lambda: schedule.multistep(gamma=options.gamma, stepvalues=options.stepvalues),
        "poly": lambda: schedule.poly(
            power=options.power, max_iter=max(1, steps - options.warmup), floor=options.floor
        ),
        "sigmoid": lambda: schedule.sigmoid(gamma=options.gamma, stepsize=options.stepsize),
    }
    return schedule.linear_warmup(policies[options.policy](), options.warmup, ratio=options.warmup_ratio)


def build_criterion(options: LossOptions, weights: Sequence[float] | None) -> Callable[..., Any]:
    """The criterion of each segmentation map; `weights` per class, or None."""
    import torch

    from segue import losses

    weight = torch.tensor(weights, dtype=torch.float32) if weights is not None else None
    if options.name == "ohem":
        if options.smoothing:
            raise RecipeError("loss.smoothing is for cross_entropy; ohem picks pixels by their unsmoothed loss")
        return functools.partial(losses.ohem, threshold=options.threshold, min_kept=options.min_kept, weight=weight)
    return functools.partial(losses.cross_entropy, weight=weight, smoothing=options.smoothing)


def resolve_crop(recipe: Recipe, first_size: tuple[int, int]) -> Recipe:
    """Fill in a crop of 0 0: the first picture's size as the network sees it, 512 at most, in multiples of 32."""
    if min(recipe.augment.crop) > 0:
        return recipe
    sides = [min(512, max(32, round(side * recipe.data.shrink / 32) * 32)) for side in first_size]
    return replace(recipe, augment=replace(recipe.augment, crop=(sides[0], sides[1])))
