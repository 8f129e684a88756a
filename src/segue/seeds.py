"""One recipe trained several times, from one seed after the other: how much of a result is chance."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segue.files import write_text
from segue.log import best_row, read_log
from segue.options import Recipe
from segue.report import MEASURES, markdown_lines, text_lines
from segue.run import Finished, begin

TABLE = "seeds.md"


@dataclass(frozen=True)
class Series:
    """Runs of one recipe, and the table of their best validations, written beside the first one's log.

    signal: the one that stopped them early, 0 for none.
    """

    runs: list[Finished]
    cells: list[list[str]]
    path: Path
    signal: int

    def lines(self) -> str:
        """For the terminal."""
        return f"{text_lines(self.cells)}\n{self.path}"


def train_seeds(recipe: Recipe, seeds: int, *, out: str = "", init: str = "", command: Sequence[str] = ()) -> Series:
    """Train `seeds` times, with the recipe's seed and those after it; each run has a folder of its own, numbered.

    A run that is stopped ends the series; what is finished is in the table.
    """
    runs: list[Finished] = []
    for seed in range(recipe.training.seed, recipe.training.seed + seeds):
        one = replace(recipe, training=replace(recipe.training, seed=seed))
        runs.append(begin(one, out=out, init=init, command=command))
        if runs[-1].result.signal:
            break
    logs = {str(run.folder): read_log(run.folder / "log.csv") for run in runs}
    cells = seed_table({name: best_row(rows) for name, rows in logs.items() if rows})
    path = runs[0].folder / TABLE
    if os.environ.get("RANK", "0") == "0":
        write_text(path, markdown_lines(cells))
    return Series(runs, cells, path, runs[-1].result.signal)


def seed_table(best: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Run -> its best row; as cells of text: a line for each, then mean and standard deviation (of n - 1), per cent."""
    keys = [key for key in MEASURES if any(key in row for row in best.values())]
    cells = [["run", *(MEASURES[key] for key in keys)]]
    cells += [[name, *(f"{100 * row[key]:.2f}" for key in keys)] for name, row in best.items()]
    if len(best) > 1:
        columns = [[100 * row[key] for row in best.values()] for key in keys]
        cells.append(["mean", *(f"{statistics.fmean(column):.2f}" for column in columns)])
        cells.append(["deviation", *(f"{statistics.stdev(column):.2f}" for column in columns)])
    return cells
