"""segue benchmark."""

from __future__ import annotations

from cyclopts import App

from segue.cli.app import app
from segue.cli.train import RecipeKeys, changes_of, chosen_recipe
from segue.options import Recipe

benchmark = App(name="benchmark", help="Measure how fast things are on this machine.")
app.command(benchmark)


@benchmark.command
def data(
    what: str = "",
    /,
    *,
    step_ms: float = 0.0,
    seconds: float = 3.0,
    recipe: RecipeKeys = Recipe(),  # noqa: B008  # frozen, and what cyclopts reads the options from
) -> None:
    """Measure how fast pictures are read, augmented and collated, and how long the network waits for them.

    ```
    segue benchmark data danet_camvid --root ~/camvid         # with its network
    segue benchmark data --data ~/my-pictures --step-ms 90    # for a device
    ```

    Parameters
    ----------
    what
        A recipe (a TOML file, or a shipped one's name) or a network's name; U-Net by default.
    step_ms
        Take a step of the network to last so many milliseconds, on a device of its own; 0 measures the network here.
    seconds
        About how long each stage is measured.
    recipe
        Any key of the recipe.
    """
    if step_ms < 0:
        raise ValueError(f"--step-ms {step_ms:g}: it must be above 0, or 0 to measure the network")
    if not 0 < seconds <= 600:
        raise ValueError(f"--seconds {seconds:g}: it must be above 0 and at most 600")
    changes = changes_of(recipe)
    from segue import data_speed

    speed = data_speed.measure(chosen_recipe(what or "unet", changes), step_ms=step_ms, seconds=seconds)
    print("\n".join(data_speed.report_lines(speed)))
