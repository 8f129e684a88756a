"""segue train."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from segue.cli.app import Given, app, positive
from segue.options import Recipe

RecipeKeys = Annotated[Recipe, Parameter(name="*", show_default=True)]


@app.command
def train(
    what: str = "",
    /,
    *,
    out: str = "",
    init: str = "",
    resume: str = "",
    change_recipe: bool = False,
    seeds: int = 1,
    recipe: RecipeKeys = Recipe(),  # noqa: B008  # frozen, and what cyclopts reads the options from
) -> None:
    """Train a network.

    ```
    segue train scenes                                    # a shipped recipe
    segue train unet --data ~/my-pictures                 # a folder of your own
    segue train deeplabv3 --data camvid --root ~/camvid   # a known data set
    segue train my.toml --optim.lr 0.02                   # any key overridden
    segue train --resume runs/unet-camvid                 # where it stopped
    ```

    Parameters
    ----------
    what
        A recipe (a TOML file, or a shipped one's name) or a network's name.
    out
        The run's folder; runs/NETWORK-DATA by default. It is numbered when it is taken.
    init
        A run's folder or a file of weights to start from: what fits is taken, the rest is listed.
    resume
        A run's folder to go on with.
    change_recipe
        Go on although the recipe has changed.
    seeds
        Train so many times, from one seed after the other, and say mean and deviation.
    recipe
        Any key of the recipe.
    """
    from segue import run

    changes = changes_of(recipe)
    if resume:
        if what or init:
            raise ValueError("--resume goes on with a run as it is: drop the recipe, the network and --init")
        if seeds != 1:
            raise ValueError("--resume goes on with one run: drop --seeds")
        finished = run.resume(resume, changes, change_recipe=change_recipe, command=sys.argv)
    else:
        if not what:
            raise ValueError("say what to train: a network or a recipe (`segue list recipes`, `segue list networks`)")
        chosen = chosen_recipe(what, changes)
        if seeds != 1:
            _train_seeds(chosen, positive("seeds", seeds), out, init)
            return
        finished = run.begin(chosen, out=out, init=init, command=sys.argv)
    if int(os.environ.get("RANK", "0")) == 0:
        if finished.result.signal:
            print(f"stopped at step {finished.result.step}; go on with: segue train --resume {finished.folder}")
        else:
            print(f"{finished.folder}: best mIoU {finished.result.best:.4f}; open {finished.folder / 'report.html'}")
    if finished.result.signal:
        sys.exit(128 + finished.result.signal)


def _train_seeds(recipe: Recipe, seeds: int, out: str, init: str) -> None:
    from segue.seeds import train_seeds

    series = train_seeds(recipe, seeds, out=out, init=init, command=sys.argv)
    if int(os.environ.get("RANK", "0")) == 0:
        print(series.lines())
        if series.signal:
            print(f"stopped; go on with the last one: segue train --resume {series.runs[-1].folder}")
    if series.signal:
        sys.exit(128 + series.signal)


def chosen_recipe(what: str, changes: Mapping[str, Any]) -> Recipe:
    """The recipe of this name, or one of the network of this name, with the changes."""
    from segue import recipe as recipes

    path = recipes.find(what)
    if path is not None:
        return recipes.override(recipes.read(path), changes, what)
    from segue.models import MODELS, unknown

    if what not in MODELS:
        listed = "see `segue list networks` and `segue list recipes`"
        raise ValueError(unknown("network or recipe", what, [*MODELS, *recipes.shipped()], listed))
    return recipes.from_dict({"network": what, **changes}, "the command line")


def changes_of(recipe: Recipe) -> dict[str, Any]:
    """What the command line says about the recipe, as nested dicts."""
    changes: dict[str, Any] = {}
    for keys in Given.names:
        value: Any = recipe
        for key in keys:
            value = value[key] if isinstance(value, Mapping) else getattr(value, key)
        place = changes
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        free = keys[0] == "model" or keys[:2] == ("data", "map")
        place[keys[-1].replace("-", "_")] = _plain(value) if free else value
    return changes


def _plain(text: Any) -> Any:
    """A value of a free table as TOML would read it: 0.5 is a number, true a truth, `2, 4` a list, resnet18 a text."""
    import tomllib

    if not isinstance(text, str):
        return text
    for toml in (text, f"[{text}]") if "," in text else (text,):
        try:
            return tomllib.loads(f"value = {toml}")["value"]
        except tomllib.TOMLDecodeError:
            continue
    return text
