"""`segue explain` and `segue field` as a user meets them."""

import numpy as np
import pytest
import torch
from PIL import Image

from segue import cli
from segue.labels import Labels
from segue.model import Card, Model
from segue.models import create
from segue.prediction import Preprocessing


def segue(*words, capsys):
    code = 0
    try:
        cli.main([str(word) for word in words])
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A model, a picture and its mask, in the data's own values: 10 and 20."""
    folder = tmp_path_factory.mktemp("home")
    labels = Labels(("ground", "house"), values={10: 0, 20: 1, 0: 255})
    torch.manual_seed(0)  # of some seeds, a network as narrow has a score that no pixel reaches
    model = Model(create("unet", 2, width=1 / 16), Card("unet", {"width": 1 / 16}, labels, Preprocessing()))
    model.save(folder / "run" / "model")
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(folder / "street.png")
    mask = np.full((48, 64), 10, np.uint8)
    mask[:, 30:] = 20
    Image.fromarray(mask).save(folder / "mask.png")
    return folder


def test_explain_writes_pictures_and_a_page_below_the_run(home, capsys):
    words = ["explain", home / "run", home / "street.png", "--label", home / "mask.png", "--point", "10,20", "30,40"]
    code, out, _ = segue(*words, "--only", "prediction", "confidence", capsys=capsys)
    assert code == 0
    folder = home / "run" / "explain" / "street"
    assert {path.name for path in folder.iterdir()} == {"prediction.png", "confidence.png", "explain.html"}
    assert str(folder / "explain.html") in out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--point", "10;20"], "--point 10;20: write a pixel as x,y"),
        (["--point", "64,2"], "--point 64,2: it is not in the picture, which is 64x48"),
        (["--class", "hous"], "there is no class 'hous'"),
        (["--only", "gates"], "--only gates: this network has prediction, confidence"),
        (["--layer", "middle"], "the network has no layer 'middle'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(home, words, complaint, tmp_path, capsys):
    code, _, err = segue("explain", home / "run", home / "street.png", *words, "--out", tmp_path / "out", capsys=capsys)
    assert code == 2
    assert err.startswith(f"segue: {complaint}")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_picture_that_is_not_there(home, capsys):
    code, _, err = segue("explain", home / "run", home / "nowhere.png", capsys=capsys)
    assert code == 2
    assert "nowhere.png: there is no such picture" in err


def test_a_mask_with_an_unknown_value_is_refused(home, tmp_path, capsys):
    Image.fromarray(np.full((48, 64), 33, np.uint8)).save(tmp_path / "mask.png")
    code, _, err = segue("explain", home / "run", home / "street.png", "--label", tmp_path / "mask.png", capsys=capsys)
    assert code == 2
    assert "has label 33" in err


def test_field_prints_the_recurrence_of_a_path(capsys):
    code, out, _ = segue("field", "3s2p1", "3s2p1", capsys=capsys)
    assert code == 0
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["picture", "1", "1", "0"],
        ["3s2p1", "3", "2", "0"],
        ["3s2p1", "7", "4", "0"],
    ]


def test_field_prints_a_networks_path_and_its_end(capsys):
    code, out, _ = segue("field", "deeplabv1", "--model", '{"width": 0.0625}', "--module", "backbone", capsys=capsys)
    assert code == 0
    lines = out.splitlines()
    assert any(line.split()[-4:] == ["435", "8", "0", "backbone.fc6"] for line in lines)
    assert lines[-1] == "backbone: at most 435 pixels along each side"


def test_field_says_why_a_network_sees_everything(capsys):
    code, out, _ = segue("field", "pspnet", "--model", '{"backbone": "resnet18", "width": 0.25}', capsys=capsys)
    assert code == 0
    assert "the whole picture, by pooling to" in out.splitlines()[-1]


def test_field_measures_a_run_over_a_picture(home, tmp_path, capsys):
    out = tmp_path / "field.png"
    words = ("field", home / "run", "--image", home / "street.png", "--point", "20,20", "--out", out)
    code, printed, _ = segue(*words, capsys=capsys)
    assert code == 0
    assert f"is drawn in {out}" in printed
    with Image.open(out) as file:
        assert min(file.size) > 300


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["unett"], "there is no network, run or layer 'unett'; did you mean 'unet'?"),
        (["3", "x"], "'x' is not a layer"),
        (["unet", "--model", "{"], "--model '{': is not JSON"),
        (["unet", "--model", '{"depth": 3}'], "there is no option of unet 'depth'"),
        (["unet", "--module", "middle"], "the network has no module 'middle'"),
        (["3s2p1", "--image", "street.png"], "a path of layers has no weights to measure"),
    ],
)
def test_fields_mistakes_are_one_line(words, complaint, capsys):
    code, _, err = segue("field", *words, capsys=capsys)
    assert code == 2
    assert err.startswith(f"segue: {complaint}")
