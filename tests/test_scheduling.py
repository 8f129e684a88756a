"""Learning-rate policies out of words, and recipes' own."""

import numpy as np
import pytest
import torch
from PIL import Image

from parity import load
from segue import cli, recipe, scheduling
from segue.options import Recipe, ScheduleOptions, TrainingOptions


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("fixed", "fixed"),
        ("step:gamma=0.1,stepsize=50", "step"),
        ("exp:gamma=0.999", "exp"),
        ("inv:gamma=0.1,power=0.75", "inv"),
        ("multistep:gamma=0.5,stepvalues=200/500/900", "multistep"),
        ("poly:power=0.9", "poly"),
        ("sigmoid:gamma=-0.01,stepsize=500", "sigmoid"),
    ],
)
def test_words_give_the_rates_of_the_sheet(word, key):
    line = scheduling.parse(word, 1000, 0.01)
    load("lr_policies").check(key, torch.from_numpy(line.rates), tolerance=1e-6)


def test_a_warm_up_comes_first_and_the_policy_ends_at_the_last_step():
    rates = scheduling.parse("poly:power=1,warmup=10,ratio=0.2,rise=linear", 110, 1.0).rates
    assert rates[0] == pytest.approx(0.2)
    assert rates[5] == pytest.approx(0.6)
    assert rates[10] == 1.0
    assert rates[-1] == pytest.approx(1 / 100)
    assert scheduling.parse("fixed:warmup=10,ratio=0.2,rise=constant", 20, 1.0).rates[9] == pytest.approx(0.2)


def test_parameters_are_told_in_the_name():
    assert scheduling.parse("multistep:stepvalues=3/5", 10, 1.0).name == "multistep (gamma 0.5, stepvalues 3/5)"


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("polly", "there is no policy or recipe 'polly'; policies are fixed, step"),
        ("poly:gamma=2", "poly has no gamma; it has power, max_iter, floor"),
        ("step:stepsize=0", "stepsize = 0: it must be 1 or more"),
        ("step:gamma", "write parameters as name=value"),
        ("step:gamma=a", "gamma = a: it must be a number"),
        ("exp:gamma=inf", "gamma = inf: it must be a number"),
        ("inv:gamma=-0.1", "gamma = -0.1: it must be 0 or more, but for sigmoid"),
        ("multistep:stepvalues=3,5", "write parameters as name=value"),
        ("poly:rise=sudden", "rise is one of linear, constant, exponential"),
    ],
)
def test_what_cannot_be_is_refused(word, complaint):
    with pytest.raises(ValueError, match=complaint):
        scheduling.parse(word, 100, 0.01)


def test_a_recipe_has_a_line_for_its_backbone_and_one_for_its_head():
    own = recipe.read(recipe.shipped()["danet_camvid"])
    backbone, head = scheduling.recipe_lines("danet_camvid", own)
    assert len(backbone.rates) == own.training.steps
    assert backbone.rates[0] == own.optim.lr
    np.testing.assert_allclose(head.rates, own.optim.head_lr * backbone.rates)
    assert (backbone.head, head.head) == (False, True)


def test_epochs_are_counted_in_the_datas_pictures():
    known = Recipe(training=TrainingOptions(epochs=2, batch=8), data=recipe.read(recipe.shipped()["unet_camvid"]).data)
    (line,) = scheduling.recipe_lines("mine", known)
    assert len(line.rates) == 92  # 2 * 367 / 8
    with pytest.raises(ValueError, match="epochs of nowhere, whose size is not known here: say --steps"):
        scheduling.recipe_lines("mine", recipe.from_dict({"data": {"name": "nowhere"}}, "test"))


def test_a_recipes_policy_is_the_one_it_trains_with():
    own = Recipe(schedule=ScheduleOptions("step", gamma=0.5, stepsize=3, warmup=2), training=TrainingOptions(steps=9))
    (line,) = scheduling.recipe_lines("mine", own)
    assert (line.rates / own.optim.lr).tolist() == [0, 0.5, 1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_the_verb_draws_policies_and_recipes_over_each_other(tmp_path, capsys):
    out = tmp_path / "rates.png"
    cli.main(["schedule", "poly", "step:stepsize=100", "danet_camvid", "--steps", "300", "--out", str(out), "--log"])
    with Image.open(out) as file:
        assert min(file.size) > 500
    printed = capsys.readouterr().out
    assert printed.count("at step 299") == 4


def test_the_verb_tells_of_a_mistake_in_a_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["schedule", "poli", "--out", str(tmp_path / "rates.png")])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("segue: there is no policy or recipe 'poli'")
    assert list(tmp_path.iterdir()) == []
