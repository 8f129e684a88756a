import math

import pytest

from segue import recipe as recipes
from segue.errors import DataError
from segue.log import best_row, read_log, write_log
from segue.seeds import seed_table, train_seeds
from tests.toy import RECIPE, toy


def test_the_table_holds_each_run_their_mean_and_their_deviation():
    cells = seed_table({"a": {"miou": 0.5, "lr": 1}, "b": {"miou": 0.6, "lr": 1}})
    assert cells == [["run", "mean IoU"], ["a", "50.00"], ["b", "60.00"], ["mean", "55.00"], ["deviation", "7.07"]]
    assert len(seed_table({"a": {"miou": 0.5}})) == 2


def test_logs_are_read_as_they_were_written(tmp_path):
    rows = [{"step": 5, "miou": 0.1}, {"step": 10, "miou": 0.30000000000000004, "val_loss": math.pi}]
    write_log([{**one, "val_loss": one.get("val_loss", 0)} for one in rows], tmp_path / "log.csv")
    found = read_log(tmp_path / "log.csv")
    assert found[1] == rows[1]
    assert best_row(found)["step"] == 10
    assert read_log(tmp_path / "none.csv") == []
    (tmp_path / "log.csv").write_text("step,miou\n5,high\n")
    with pytest.raises(DataError, match="is not what `segue train` writes"):
        read_log(tmp_path / "log.csv")


@pytest.mark.slow
def test_runs_are_numbered_and_start_from_one_seed_after_the_other(tmp_path):
    data = toy(tmp_path / "toy")
    content = {**RECIPE, "data": {"name": str(data), "workers": 0}}
    content["training"] = {**RECIPE["training"], "steps": 2, "validate_every": 2, "seed": 7}
    series = train_seeds(recipes.from_dict(content, "a test"), 2, out=str(tmp_path / "run"))
    assert [one.folder.name for one in series.runs] == ["run", "run-2"]
    seeds = [recipes.read(one.folder / "recipe.toml").training.seed for one in series.runs]
    assert seeds == [7, 8]
    logs = [read_log(one.folder / "log.csv") for one in series.runs]
    assert logs[0][-1]["loss"] != logs[1][-1]["loss"]
    assert (tmp_path / "run" / "seeds.md").is_file()
    assert "deviation" in series.lines()
