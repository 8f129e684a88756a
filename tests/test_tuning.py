"""The search for CRF parameters, on a small network that has learned a little."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segue import cli, sharpening, tuning
from segue import recipe as recipes
from segue.options import CRFOptions, CRFSearch
from segue.tuning import refined, tune
from tests.toy import RECIPE, toy

SMALL = CRFSearch(pictures=3, sxy=(10.0, 30.0), srgb=(10.0,), compat=(0.0, 4.0), refinements=1, iterations=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("tuned")
    toy(home / "toy")
    made = recipes.override(recipes.from_dict(RECIPE, "test"), {"data": {"name": str(home / "toy")}}, "test")
    (home / "recipe.toml").write_text(recipes.to_toml(made))
    cli.main(["train", str(home / "recipe.toml"), "--out", str(home / "run")])
    return home / "run"


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "crf" / "search.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_finer_step_is_half_of_the_coarse_one_and_never_reaches_zero():
    assert refined((30.0, 50.0, 100.0), 50.0) == (40.0, 50.0, 75.0)
    assert refined((30.0, 50.0, 100.0), 100.0) == (75.0, 100.0, 125.0)
    assert refined((1.0, 5.0), 1.0) == (1.0, 3.0)
    assert refined((7.0,), 7.0) == (7.0,)


def test_a_search_keeps_every_combination_and_its_best(run):
    tuned = tune(run, SMALL)
    found = rows(run)
    assert [row["stage"] for row in found[:6]] == ["without CRF", "default", *["coarse"] * 4]
    assert {row["stage"] for row in found[6:]} == {"fine"}
    assert len({tuple(row.values())[1:4] for row in found}) == len(found)  # nothing is tried twice
    best = max(float(row["miou"]) for row in found[1:])
    content = json.loads((run / "crf" / "best.json").read_text())
    assert content["measured"]["miou"] == best == tuned.best >= tuned.default
    assert CRFOptions(**content["crf"]) == tuned.options == sharpening.crf_options(run, {})
    assert tuned.tried == len(found) - 1
    assert {path.name for path in (run / "crf").iterdir()} == {
        "search.csv",
        "search.json",
        "best.json",
        "iterations.png",
    }
    with Image.open(run / "crf" / "iterations.png") as picture:
        assert np.asarray(picture).std() > 10


def test_a_killed_search_goes_on_to_the_same_table_and_best(run, monkeypatch, capsys):
    tune(run, SMALL)
    whole = {name: (run / "crf" / name).read_bytes() for name in ("search.csv", "best.json", "iterations.png")}
    shutil.rmtree(run / "crf")
    confusion, calls = tuning.confusion, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 15:
            raise KeyboardInterrupt
        return confusion(*arguments)

    monkeypatch.setattr(tuning, "confusion", killed)
    with pytest.raises(KeyboardInterrupt):
        tune(run, SMALL)
    before = rows(run)
    assert 0 < len(before) < len(whole["search.csv"].splitlines()) - 1
    assert not (run / "crf" / "best.json").exists()
    calls[:] = [1] * 100  # from here on it counts, and is not killed
    tune(run, SMALL)
    assert f"goes on with {len(before)} results" in capsys.readouterr().err
    assert {name: (run / "crf" / name).read_bytes() for name in whole} == whole
    measured = len(calls) - 100
    assert measured == 3 * (len(rows(run)) - len(before))  # three pictures of each new row, and none of an old one


def test_other_settings_begin_anew_and_the_earlier_search_is_kept(run, capsys):
    quick = CRFSearch(pictures=1, sxy=(10.0,), srgb=(10.0,), compat=(4.0,), refinements=0, iterations=1)
    tune(run, quick)
    first = (run / "crf" / "search.csv").read_text()
    tune(run, CRFSearch(pictures=1, sxy=(10.0,), srgb=(10.0,), compat=(5.0,), refinements=0, iterations=1))
    assert "begins anew, since compat changed; the earlier search is kept as search-1.csv" in capsys.readouterr().err
    assert (run / "crf" / "search-1.csv").read_text() == first
    assert rows(run)[-1]["bilateral_compat"] == "5.0"


def test_the_command_says_what_the_crf_is_worth(run, capsys):
    words = "--pictures 2 --sxy 10 --srgb 10 --compat 4 --refinements 0 --iterations 1"
    cli.main(["tune-crf", str(run), *words.split()])
    out = capsys.readouterr().out
    assert "mean IoU of 2 pictures: without CRF" in out
    assert "with the best of 2 combinations" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--pictures 0", "--pictures 0: it must be 1 or more"),
        ("--sxy 0", "--sxy 0.0: give one number or more, each above 0"),
        ("--iterations -1", "must be 0 or more"),
    ],
)
def test_a_senseless_search_is_refused_in_one_line(trained, words, message, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["tune-crf", str(trained), *words.split()])
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (trained / "crf").exists()


def test_a_file_of_parameters_that_cannot_be_used_is_named(run):
    (run / "crf").mkdir()
    (run / "crf" / "best.json").write_text('{"crf": {"bilateral_sxyz": 3}}')
    with pytest.raises(sharpening.SharpeningError, match=r"best\.json: is not what `segue tune-crf` writes"):
        sharpening.crf_options(run, {})
