import time
from dataclasses import replace

import numpy as np
import pytest

from segue import cli, data_speed
from segue import recipe as recipes
from segue.data_speed import DataSpeed, Some, advice, report_lines
from tests.data.test_shards import Made
from tests.toy import RECIPE, toy

SPEED = DataSpeed(
    pictures=256,
    size=(1024, 2048),
    crop=(512, 1024),
    cache="off",
    workers=2,
    cores=8,
    beside_processor=False,
    batch=8,
    read=60.0,
    kept=None,
    augment=10.0,
    collate=0.5,
    first=28.0,
    later=28.0,
    step=100.0,
    waiting=0.64,
)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    root = toy(tmp_path / "toy")
    return recipes.override(recipes.from_dict(RECIPE, "test"), {"data": {"name": str(root)}}, "test")


def test_every_stage_is_measured_with_the_network(recipe):
    speed = data_speed.measure(recipe, seconds=0.05)
    assert speed.pictures == 15
    assert speed.size == (48, 64)
    assert (speed.crop, speed.batch, speed.workers, speed.cache) == ((32, 32), 4, 0, "ram")
    assert 0 < speed.kept < speed.read  # it is not decoded again
    assert min(speed.augment, speed.collate, speed.first, speed.later) > 0
    assert speed.step > 0
    assert 0 < speed.waiting < 1  # without workers, the network waits for every picture


def test_a_slow_data_set_is_waited_for(recipe, monkeypatch):
    made = recipes.override(recipe, {"data": {"cache": "off", "workers": 1}, "training": {"batch": 2}}, "test")
    real = data_speed.Some.image

    def slow(self, index):
        time.sleep(0.05)
        return real(self, index)

    monkeypatch.setattr(data_speed.Some, "image", slow)
    speed = data_speed.measure(made, step_ms=10, seconds=0.1)
    # A picture takes 50 ms and more, a batch of two ten times as long as the step.
    assert speed.read >= 50
    assert speed.later < 21  # of 20, for those that were ready when the watch was started
    assert speed.waiting > 0.4
    assert (speed.step, speed.wanted) == (10, 200)


def test_some_pictures_stand_for_all():
    some = Some(Made(), 2)
    assert [some.name(index) for index in range(len(some))] == ["made.0", "made.2"]
    assert np.array_equal(some.image(1), Made().image(2))
    assert len(Some(Made(), 10)) == 3


def test_the_table_shows_rates_and_one_sentence():
    lines = report_lines(SPEED)
    assert lines[1].split() == ["read", "and", "decode", "60.00", "17", "2048x1024,", "picture", "and", "mask"]
    assert lines[-1].startswith("The network waits 64.0% of its time. ")
    assert "  in the first epoch" not in "".join(lines)
    assert len(report_lines(replace(SPEED, kept=1.0))) == len(lines) + 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"waiting": 0.01}, "Loading is fast enough."),
        ({}, 'Decoding is 85% of the loader\'s work: keep decoded pictures with data.cache = "ram"'),
        ({"read": 3.0}, "The network could take 80 pictures/s: set data.workers = 2."),
        ({"kept": 10.0, "workers": 1, "cache": "ram"}, "The network could take 80 pictures/s: set data.workers = 2."),
        ({"kept": 60.0, "workers": 1, "cache": "disk"}, "set data.workers = 6."),
        ({"kept": 1.0, "workers": 7, "step": 5.0, "cache": "ram"}, "Augmentation is 87% of the loader's work"),
        ({"kept": 60.0, "workers": 7, "step": 5.0, "cache": "disk"}, "The processor has no core to spare"),
    ],
)
def test_the_advice_is_what_helps(changes, said):
    speed = replace(SPEED, **{"workers": 1, **changes} if "read" in changes else changes)
    assert said in advice(speed)


def test_the_verb_measures_a_folder(recipe, capsys):
    words = ("benchmark", "data", "--data", recipe.data.name, "--step-ms", "5", "--seconds", "0.05")
    cli.main([*words, "--data.workers", "0", "--training.batch", "2"])
    out = capsys.readouterr().out
    assert "ms a step" in out
    assert "The network waits" in out


@pytest.mark.parametrize("wrong", [["--step-ms", "-1"], ["--seconds", "0"], ["nonsense"]])
def test_what_cannot_be_measured_is_one_line(wrong, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["benchmark", "data", *wrong])
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
