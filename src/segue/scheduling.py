"""Learning-rate policies drawn over each other, from words: policies with any parameters, and recipes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from segue import recipe as recipes
from segue import schedule
from segue.data import DATASETS
from segue.files import write_atomically
from segue.options import Recipe
from segue.report.curves import COLOURS

POINTS = 4000  # steps that are drawn at most
Parameters = dict[str, float | tuple[int, ...]]


@dataclass(frozen=True)
class Line:
    """One line: what it is, and the rate of each step. head: of the recipe whose backbone is the line before it."""

    name: str
    rates: np.ndarray
    head: bool = False


@dataclass(frozen=True)
class Kind:
    """A policy: its parameters with what they are when not given, for so many steps, and how it is made of them."""

    defaults: Callable[[int], Parameters]
    make: Callable[..., schedule.Policy]


KINDS: dict[str, Kind] = {
    "fixed": Kind(lambda steps: {}, schedule.fixed),
    "step": Kind(lambda steps: {"gamma": 0.1, "stepsize": max(1, steps // 4)}, schedule.step),
    "exp": Kind(lambda steps: {"gamma": round(0.999 ** (1000 / steps), 6)}, schedule.exp),
    "inv": Kind(lambda steps: {"gamma": 0.1, "power": 0.75}, schedule.inv),
    "multistep": Kind(
        lambda steps: {"gamma": 0.5, "stepvalues": (steps // 5, steps // 2, 9 * steps // 10)}, schedule.multistep
    ),
    "poly": Kind(lambda steps: {"power": 0.9, "max_iter": steps, "floor": 0.0}, schedule.poly),
    "sigmoid": Kind(lambda steps: {"gamma": -10 / steps, "stepsize": steps // 2}, schedule.sigmoid),
    "cosine": Kind(lambda steps: {"max_iter": steps}, schedule.cosine),
}
WARMUP: Parameters = {"warmup": 0, "ratio": 0.1}
RISES = {"linear": schedule.linear_warmup, "constant": schedule.constant_warmup, "exponential": schedule.exp_warmup}
WHOLE = ("stepsize", "stepvalues", "max_iter", "warmup")
"""Parameters that count iterations."""


def parse(word: str, steps: int, lr: float) -> Line:
    """A policy of `steps` iterations from a base rate: `poly`, `step:gamma=0.5,stepsize=200`.

    stepvalues are written with slashes, 200/500/900. Every policy takes warmup (iterations), ratio (share of the rate
    that it begins with) and rise (linear, constant or exponential) besides; poly and cosine then end at the last step.
    Raises ValueError for an unknown name or parameter, with those that there are.
    """
    name, _, rest = word.partition(":")
    if name not in KINDS:
        raise ValueError(
            f"there is no policy or recipe {name!r}; policies are {', '.join(KINDS)}, recipes: segue list recipes"
        )
    given = dict(_pair(word, part) for part in rest.split(",") if part)
    rise = given.pop("rise", "linear")
    if rise not in RISES:
        raise ValueError(f"{word}: rise is one of {', '.join(RISES)}")
    allowed = {**KINDS[name].defaults(steps), **WARMUP}
    for key in given:
        if key not in allowed:
            raise ValueError(f"{word}: {name} has no {key}; it has {', '.join([*allowed, 'rise'])}")
    values = {key: _value(word, key, text) for key, text in given.items()}
    warmup = int(values.pop("warmup", 0))  # type: ignore[arg-type]
    ratio = float(values.pop("ratio", WARMUP["ratio"]))  # type: ignore[arg-type]
    parameters = {**KINDS[name].defaults(max(1, steps - warmup)), **values}
    policy = RISES[str(rise)](KINDS[name].make(**parameters), warmup, ratio=ratio)
    told = [f"{key} {_plain(value)}" for key, value in parameters.items() if key != "floor" or value]
    told += [f"{rise} warm-up over {warmup} from {ratio:g}"] if warmup else []
    return Line(f"{name} ({', '.join(told)})" if told else name, _rates(policy, steps, lr))


def _pair(word: str, part: str) -> tuple[str, str]:
    key, equals, value = part.partition("=")
    if not equals or not value:
        raise ValueError(
            f"{word}: write parameters as name=value, with commas between them: step:gamma=0.5,stepsize=200"
        )
    return key.strip(), value.strip()


def _value(word: str, key: str, text: str) -> float | tuple[int, ...]:
    try:
        if key == "stepvalues":
            return tuple(int(value) for value in text.split("/"))
        number = int(text) if key in WHOLE else float(text)
    except ValueError as error:
        wanted = "whole numbers with slashes between them" if key == "stepvalues" else "a number"
        raise ValueError(f"{word}: {key} = {text}: it must be {wanted}") from error
    if not math.isfinite(number):
        raise ValueError(f"{word}: {key} = {text}: it must be a number")
    if key in WHOLE and number < (0 if key == "warmup" else 1):
        raise ValueError(f"{word}: {key} = {text}: it must be {'0' if key == 'warmup' else '1'} or more")
    if key == "gamma" and number < 0 and not word.startswith("sigmoid"):
        raise ValueError(f"{word}: gamma = {text}: it must be 0 or more, but for sigmoid")
    return number


def _plain(value: float | tuple[int, ...]) -> str:
    return "/".join(str(one) for one in value) if isinstance(value, tuple) else f"{value:g}"


def _rates(policy: schedule.Policy, steps: int, lr: float) -> np.ndarray:
    return lr * np.array([policy(step) for step in range(steps)])


def recipe_lines(word: str, recipe: Recipe, steps: int = 0) -> list[Line]:
    """A recipe's rates: the backbone's, and the head's where it has one of its own.

    steps: instead of the recipe's. Raises ValueError where the recipe counts epochs of data whose size is not known.
    """
    steps = steps or recipe.training.steps or _steps_of_epochs(word, recipe)
    factors = _rates(recipes.build_policy(recipe.schedule, steps), steps, recipe.optim.lr)
    name = f"{word} ({recipe.schedule.policy})"
    if recipe.optim.head_lr == 1:
        return [Line(name, factors)]
    return [
        Line(f"{name}, backbone", factors),
        Line(f"{name}, head: {recipe.optim.head_lr:g} times", factors * recipe.optim.head_lr, head=True),
    ]


def _steps_of_epochs(word: str, recipe: Recipe) -> int:
    splits = DATASETS[recipe.data.name].splits if recipe.data.name in DATASETS else {}
    split = splits.get(recipe.data.train)
    if split is None:
        raise ValueError(
            f"{word}: trains for {recipe.training.epochs:g} epochs of {recipe.data.name}, whose size is not known "
            "here: say --steps"
        )
    return max(1, math.ceil(recipe.training.epochs * split.pictures / recipe.training.batch))


def lines_of(words: Sequence[str], *, steps: int, lr: float) -> list[Line]:
    """The lines that words ask for: policies with parameters, shipped recipes, recipes' files, runs' folders.

    steps: of policies, 0 for 1000, and instead of each recipe's own. lr: the policies' base rate.
    """
    lines: list[Line] = []
    for word in words:
        run = Path(word) / "recipe.toml"
        path = run if run.is_file() else recipes.find(word)
        lines += [parse(word, steps or 1000, lr)] if path is None else recipe_lines(word, recipes.read(path), steps)
    return lines


def draw(lines: Sequence[Line], path: Path, *, log: bool = False) -> None:
    """Draw the rates over each other. log: powers of ten upwards. Writes a PNG."""
    with matplotlib.style.context(["default", {"text.parse_math": False, "font.family": "DejaVu Sans"}]):
        figure = Figure(figsize=(10, 5.6 + 0.24 * len(lines)), dpi=150, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        _plot(axes, lines, log)
        write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", metadata={"Software": None}))


def _plot(axes: Axes, lines: Sequence[Line], log: bool) -> None:
    colour = -1
    for line in lines:
        colour += not line.head  # a recipe's head has its backbone's colour, dashed
        steps = np.unique(np.linspace(0, len(line.rates) - 1, min(POINTS, len(line.rates))).round().astype(int))
        axes.plot(
            steps,
            line.rates[steps],
            color=COLOURS[colour % len(COLOURS)],
            linestyle="--" if line.head else ("-", "-.", ":")[colour // len(COLOURS) % 3],
            linewidth=2,
            drawstyle="steps-post",
            label=line.name,
        )
    axes.set_title("learning rate", loc="left", fontsize=12, fontweight="bold", color="#1c1e22")
    axes.set_xlabel("step", loc="right", color="#686c74")
    if log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlim(0, max(len(line.rates) for line in lines))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="y", color="#e4e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.1), frameon=False, fontsize=9)


def summary(line: Line) -> str:
    """A line in words: the rate at its beginning, its middle and its end."""
    places = (0, len(line.rates) // 2, len(line.rates) - 1)
    return f"{line.name}: " + ", ".join(f"{line.rates[place]:.3g} at step {place}" for place in places)
