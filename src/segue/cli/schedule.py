"""segue schedule."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.app import app


@app.command
def schedule(
    what: Annotated[tuple[str, ...], Parameter(consume_multiple=True)],
    /,
    *,
    steps: int = 0,
    lr: float = 0.01,
    log: Annotated[bool, Parameter(negative=())] = False,
    out: str = "schedule.png",
) -> None:
    """Draw learning-rate policies over each other, or a recipe's own rates.

    ```
    segue schedule poly step multistep sigmoid               # usual parameters
    segue schedule poly:power=2 step:gamma=0.5,stepsize=200  # your own
    segue schedule poly:warmup=50,ratio=0.1,rise=linear      # a warm-up before
    segue schedule multistep:stepvalues=200/500/900          # where it falls
    segue schedule danet_camvid runs/unet-camvid             # recipes and runs
    ```

    Policies: fixed, step, exp, inv, multistep, poly, sigmoid (it falls for gamma < 0 and grows for gamma > 0), cosine.

    Parameters
    ----------
    what
        Policies, recipes (shipped ones or TOML files) and runs' folders.
    steps
        How many iterations; 1000 for policies and a recipe's own by default.
    lr
        The policies' base rate; recipes have their own.
    log
        Powers of ten upwards.
    out
        Where the picture goes.
    """
    from pathlib import Path

    from segue import scheduling

    if not what:
        raise ValueError(f"name policies ({', '.join(scheduling.KINDS)}), recipes or runs")
    if steps < 0 or not lr > 0:
        raise ValueError(f"--steps {steps} --lr {lr:g}: steps must be 0 or more, lr above 0")
    lines = scheduling.lines_of(what, steps=steps, lr=lr)
    scheduling.draw(lines, Path(out), log=log)
    for line in lines:
        print(scheduling.summary(line))
    print(f"drawn in {out}")
