"""The command line as a user meets it: what it prints, what it exits with, and that a mistake is one line."""

import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segue import cli
from segue import recipe as recipes
from tests.toy import RECIPE, toy


def segue(*words: object, capsys) -> tuple[int, str, str]:
    code = 0
    try:
        cli.main([str(word) for word in words])
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("trained")
    toy(home / "toy")
    made = recipes.override(recipes.from_dict(RECIPE, "test"), {"data": {"name": str(home / "toy")}}, "test")
    (home / "recipe.toml").write_text(recipes.to_toml(made))
    cli.main(["train", str(home / "recipe.toml"), "--out", str(home / "run")])
    return home


def test_keys_of_the_recipe_are_options(tmp_path, capsys):
    root = toy(tmp_path / "toy")
    words = "--training.steps 1 --training.batch 2 --augment.crop 32 32 --model.channels [4,8] --optim.name sgd"
    code, out, _ = segue("train", "unet", "--data", root, *words.split(), "--out", tmp_path / "run", capsys=capsys)
    assert code == 0
    recipe = recipes.read(tmp_path / "run" / "recipe.toml")
    assert recipe.model == {"channels": (4, 8)}
    assert (recipe.optim.name, recipe.training.steps, recipe.augment.crop) == ("sgd", 1, (32, 32))
    assert "report.html" in out


@pytest.mark.parametrize(
    ("words", "model"),
    [
        ("--model.rates 2 4 8 --model.dropout 0.2", {"rates": (2, 4, 8), "dropout": 0.2}),
        ("--model.rates 2,4,8", {"rates": (2, 4, 8)}),
        ("--model.rates [2,4,8]", {"rates": (2, 4, 8)}),
        ("--model.output-stride 8 --model.backbone resnet18", {"output_stride": 8, "backbone": "resnet18"}),
        ("--model.width=0.25", {"width": 0.25}),
    ],
)
def test_options_of_the_network_are_written_like_any_others(words, model, monkeypatch, capsys):
    begun = []
    monkeypatch.setattr("segue.run.begin", lambda recipe, **_: begun.append(recipe) or sys.exit(0))
    assert segue("train", *words.split(), "deeplabv3", "--data", "scenes", capsys=capsys)[0] == 0
    assert [recipe.model for recipe in begun] == [model]


def test_an_option_overrides_the_recipes_network(monkeypatch, capsys):
    begun = []
    monkeypatch.setattr("segue.run.begin", lambda recipe, **_: begun.append(recipe) or sys.exit(0))
    assert segue("train", "scenes", "--network", "segnet", capsys=capsys)[0] == 0
    assert [recipe.network for recipe in begun] == ["segnet"]


def test_an_option_overrides_the_recipes_key_and_leaves_the_others(trained, tmp_path, capsys):
    words = (
        "train",
        trained / "recipe.toml",
        "--optim.lr",
        "0.003",
        "--training.steps",
        "1",
        "--out",
        tmp_path / "run",
    )
    assert segue(*words, capsys=capsys)[0] == 0
    recipe = recipes.read(tmp_path / "run" / "recipe.toml")
    assert recipe.optim.lr == 0.003
    assert recipe.model == {"channels": (8, 16, 16)}


def test_evaluate_prints_a_table_and_writes_it(trained, capsys):
    code, out, _ = segue("evaluate", trained / "run", "--split", "val", capsys=capsys)
    assert code == 0
    assert "class 2" in out
    folder = trained / "run" / "evaluation" / "val"
    measured = json.loads((folder / "metrics.json").read_text())
    card = json.loads((trained / "run" / "model" / "card.json").read_text())
    assert measured["pictures"] == 5
    assert measured["miou"] == pytest.approx(
        card["measured"]["miou"], abs=0.02
    )  # training validates in bfloat16 as well
    names = {path.name for path in folder.iterdir()}
    assert names >= {"classes.csv", "classes.md", "pictures.csv", "confusion.png", "worst.png"}


def test_predict_writes_masks_in_the_datas_own_values_and_overlays(trained, tmp_path, capsys):
    pictures = trained / "toy" / "val" / "images"
    code, out, _ = segue("predict", trained / "run", pictures, "--out", tmp_path / "masks", capsys=capsys)
    assert code == 0
    assert "5 of 5 files predicted" in out
    with Image.open(tmp_path / "masks" / "001.png") as mask:
        assert mask.mode == "P"
        assert mask.size == (57, 41)
        assert np.asarray(mask).max() <= 2
    assert (tmp_path / "masks" / "overlays" / "001.jpg").is_file()


def test_predict_takes_files_and_patterns(trained, tmp_path, capsys):
    pictures = trained / "toy" / "val" / "images"
    code, *_ = segue(
        "predict", trained / "run", pictures / "000.png", pictures / "00[12].png", "--out", tmp_path, "--no-overlays",
        capsys=capsys,
    )  # fmt: skip
    assert code == 2  # a pattern without a star is no pattern
    code, *_ = segue(
        "predict", trained / "run", pictures / "000.png", f"{pictures}/00*.png", "--out", tmp_path, "--no-overlays",
        capsys=capsys,
    )  # fmt: skip
    assert code == 0
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [f"00{i}.png" for i in range(5)]


def test_a_broken_picture_is_named_and_the_others_are_predicted(trained, tmp_path, capsys):
    for index in range(2):
        Image.new("RGB", (40, 30)).save(tmp_path / f"good{index}.jpg")
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "good0.jpg").read_bytes()[:300])
    code, _, err = segue("predict", trained / "run", tmp_path, "--out", tmp_path / "out", capsys=capsys)
    assert code == 1
    assert "broken.jpg: cannot be decoded" in err
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["good0.png", "good1.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train",), "say what to train"),
        (("train", "unett"), "did you mean 'unet'?"),
        (("train", "qqq"), "there is no network or recipe 'qqq'; see `segue list networks` and `segue list recipes`"),
        (("train", "unet", "--data", "/nowhere/at/all"), "/nowhere/at/all: there is no such folder"),
        (("train", "unet", "--optim.lrr", "1"), "--optim.lr"),
        (("train", "unet", "--optim.lr", "fast"), '"fast"'),
        (("train", "unet", "--optim.lr", "-1"), "optim.lr = -1.0: it must be above 0"),
        (("train", "nothing.toml"), "nothing.toml: there is no such recipe"),
        (("train", "--resume", "/nowhere"), "/nowhere: is not a run's folder"),
        (("evaluate", "/nowhere"), "/nowhere: holds no model"),
        (("predict", "/nowhere", "x.jpg"), "x.jpg: there is no such picture"),
        (("list",), "say what to list: networks, datasets, recipes or backbones"),
        (("list", "nets"), "networks"),
        (("list", "networks", "fcn8"), "no networks match 'fcn8'; `segue list networks '*fcn8*'` looks inside"),
        (("unknown",), "unknown"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = segue(*words, capsys=capsys)
    assert code == 2
    assert message in err
    assert err.startswith("segue: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_whose_name_is_no_text_is_named(trained, tmp_path, capsys):
    shutil.copytree(trained / "toy" / "train", tmp_path / "own")
    for folder in ("images", "masks"):
        place = tmp_path / "own" / folder
        (place / "000.png").rename(place / os.fsdecode(b"stra\xdfe.png"))
    for words in (
        ("train", "unet", "--data", str(tmp_path / "own")),
        ("predict", str(trained / "run"), str(tmp_path / "own" / "images"), "--out", str(tmp_path / "out")),
    ):
        code, _, err = segue(*words, capsys=capsys)
        assert code == 2
        assert "stra\\udcdfe" in err.splitlines()[-1]
        assert "is no text in UTF-8; rename the file" in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_pipe_without_the_letters_of_a_table_gets_question_marks(trained, monkeypatch, tmp_path):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    cli.main(["evaluate", str(trained / "run"), "--out", str(tmp_path / "out")])
    assert b"\n???" in written.getvalue()
    assert b"evaluation.html" in written.getvalue()


def test_pictures_of_other_bits_than_those_of_training_are_refused(trained, tmp_path, capsys):
    tifffile = pytest.importorskip("tifffile")
    toy(tmp_path / "deep")
    for path in (tmp_path / "deep" / "val" / "images").iterdir():
        tifffile.imwrite(path.with_suffix(".tif"), np.asarray(Image.open(path)).astype(np.uint16) * 256)
        path.unlink()
    images = tmp_path / "deep" / "val" / "images"
    code, _, err = segue("predict", trained / "run", images, "--out", tmp_path / "out", capsys=capsys)
    assert code == 1
    assert "000.tif: holds uint16, where the network takes uint8; take it out" in err
    assert list((tmp_path / "out").glob("*.png")) == []
    code, _, err = segue("evaluate", trained / "run", "--data", tmp_path / "deep", capsys=capsys)
    assert code == 2
    assert "deep, 000: holds uint16, where the network takes uint8" in err


def test_a_folder_that_cannot_be_made_is_one_line_and_exit_code_2(trained, tmp_path, capsys):
    (tmp_path / "file").write_text("text")
    out = tmp_path / "file" / "out"
    for words in (
        ("train", "scenes", "--training.steps", "1", "--out", str(out)),
        ("evaluate", str(trained / "run"), "--out", str(out)),
        ("predict", str(trained / "run"), str(trained / "toy" / "val" / "images"), "--out", str(out)),
        ("download", "ade20k", "--root", str(out)),
    ):
        code, _, err = segue(*words, capsys=capsys)
        assert (code, err.splitlines()[-1].startswith("segue: ")) == (2, True), words
        assert str(tmp_path / "file") in err.splitlines()[-1]
        assert "a file is where a folder should be: name another" in err.splitlines()[-1]


def test_a_full_device_is_a_line(monkeypatch, capsys):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nSee the documentation")

    monkeypatch.setattr("segue.run.begin", full)
    code, _, err = segue("train", "scenes", capsys=capsys)
    assert code == 2
    assert err.startswith("segue: the device's memory is full: take a smaller training.per_device")


def test_a_bug_is_no_users_error(monkeypatch):
    def wrong(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr("segue.run.begin", wrong)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["train", "scenes"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model.width", "wide"), "width = 'wide': it must be a number"),
        (("--model.channels", "4,eight"), "channels = '4,eight': it must be a list of whole numbers"),
        (("--model.width", "-1"), "width = -1: it must be above 0"),
        (("--model.channels", "4,0"), "channels = (4, 0): it must be above 0"),
        (("--model.valid", "maybe"), "valid = 'maybe': it must be true or false"),
        (("--model.depth", "3"), "there is no option of unet 'depth'"),
        (("--model.criterion", "3"), "model.criterion follows from"),
        (("--data.train", "none"), "has no none split"),
        (("--loss.weights", "1", "2"), "loss.weights lists 2 numbers for 3 classes"),
    ],
)
def test_a_wrong_wish_is_refused_before_anything_is_written(options, message, capsys, tmp_path, monkeypatch):
    root = toy(tmp_path / "toy")
    monkeypatch.chdir(tmp_path)
    code, _, err = segue("train", "unet", "--data", root, *options, capsys=capsys)
    assert code == 2
    assert message in err
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_of_another_class_count_is_refused(trained, tmp_path, capsys):
    other = toy(tmp_path / "toy", classes=4)
    code, _, err = segue("evaluate", trained / "run", "--data", other, capsys=capsys)
    assert code == 2
    assert "pixel" in err or "classes" in err


def test_weights_that_do_not_belong_to_their_card_are_refused(trained, tmp_path, capsys):
    import shutil

    shutil.copytree(trained / "run", tmp_path / "run")
    card = tmp_path / "run" / "model" / "card.json"
    content = json.loads(card.read_text())
    content["labels"]["classes"].append("fourth")
    content["labels"]["palette"].append([1, 2, 3])
    content["labels"]["values"]["3"] = 3
    card.write_text(json.dumps(content))
    code, _, err = segue("evaluate", tmp_path / "run", capsys=capsys)
    assert code == 2
    assert "classify.bias is (3,), where unet with 4 classes has (4,)" in err


@pytest.mark.parametrize("what", ["networks", "datasets", "recipes"])
def test_everything_can_be_listed(what, capsys):
    code, out, _ = segue("list", what, capsys=capsys)
    assert code == 0
    assert len(out.splitlines()) >= 1


def test_backbones_are_listed_by_pattern(capsys):
    out = segue("list", "backbones", "resnet1*", capsys=capsys)[1]
    assert "resnet18" in out.splitlines()


def test_help_names_the_keys_of_the_recipe(capsys):
    out = segue("train", "--help", capsys=capsys)[1]
    for option in ("--optim.lr", "--training.batch", "--augment.crop", "--resume", "--init"):
        assert option in out


@pytest.fixture
def tuned(trained, tmp_path) -> Path:
    """The trained run with CRF parameters that were found for it."""
    import shutil

    run = Path(shutil.copytree(trained / "run", tmp_path / "run"))
    (run / "crf").mkdir()
    best = {"bilateral_sxy": 20.0, "bilateral_srgb": 10.0, "iterations": 2}
    (run / "crf" / "best.json").write_text(json.dumps({"crf": best}))
    return run


def test_evaluate_with_the_crf_takes_what_was_found_for_the_run(tuned, capsys):
    code, out, err = segue("evaluate", tuned, "--crf", capsys=capsys)
    assert code == 0
    assert "class 2" in out
    assert "bilateral_sxy 20, bilateral_srgb 10, bilateral_compat 4, normalization symmetric, iterations 2" in err
    assert "best.json" in err
    folder = tuned / "evaluation" / "val-crf"
    assert {"metrics.json", "classes.csv", "worst.png", "iterations.png"} <= {path.name for path in folder.iterdir()}


def test_a_parameter_of_the_crf_switches_it_on_and_wins(tuned, tmp_path, capsys):
    pictures = tuned.parent / "pictures"
    pictures.mkdir()
    Image.new("RGB", (40, 30), (200, 30, 90)).save(pictures / "one.png")
    words = ("predict", tuned, pictures, "--out", tmp_path / "masks", "--crf.bilateral-sxy", "67")
    code, out, err = segue(*words, capsys=capsys)
    assert code == 0
    assert "1 of 1 files predicted" in out
    assert "bilateral_sxy 67, bilateral_srgb 10" in err
    assert "--crf.*" in err


def test_a_crf_without_updates_predicts_what_the_network_does(trained, tmp_path, capsys):
    pictures = trained / "toy" / "val" / "images"
    for name, words in (("with", ("--crf.iterations", "0")), ("without", ())):
        out = tmp_path / name
        assert segue("predict", trained / "run", pictures, "--out", out, "--no-overlays", *words, capsys=capsys)[0] == 0
    for path in (tmp_path / "with").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "without" / path.name).read_bytes()


def test_the_crf_of_a_network_that_takes_no_rgb_is_refused_in_one_line(tuned, tmp_path, capsys):
    from segue.labels import Labels
    from segue.model import Card, Model
    from segue.models import create
    from segue.prediction import Preprocessing

    options = {"channels": [4, 8], "in_channels": 4}
    card = Card("unet", options, Labels(("a", "b", "c")), Preprocessing((1.0,) * 4, (1.0,) * 4))
    Model(create("unet", 3, **options), card).save(tuned / "model")
    pictures = tuned.parent / "toy.png"
    Image.new("RGB", (40, 30)).save(pictures)
    code, _, err = segue("predict", tuned, pictures, "--crf", "--out", tmp_path / "masks", capsys=capsys)
    assert code == 2
    assert err == "segue: the CRF compares red, green and blue, but this network takes 4 channels: no CRF\n"


def test_a_wrong_parameter_of_the_crf_is_refused_in_one_line(trained, capsys):
    code, _, err = segue("evaluate", trained / "run", "--crf.bilateral-sxy", "-1", capsys=capsys)
    assert code == 2
    assert "bilateral_sxy = -1.0: it must be above 0" in err
    assert err.count("\n") == 1


def test_boundaries_are_measured_when_they_are_asked_for(trained, tmp_path, capsys):
    code, out, _ = segue("evaluate", trained / "run", "--boundary", "--out", tmp_path / "with", capsys=capsys)
    assert code == 0
    assert "boundary F" in out
    measured = json.loads((tmp_path / "with" / "metrics.json").read_text())
    assert 0 <= measured["boundary_f"] <= 1
    assert "boundary F" not in segue("evaluate", trained / "run", "--out", tmp_path / "without", capsys=capsys)[1]
