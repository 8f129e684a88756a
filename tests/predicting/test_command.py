"""`segue predict` as it is typed."""

import json

import numpy as np
import pytest
from PIL import Image

from segue import cli
from segue.model import load
from tests.predicting.conftest import LABELS


def segue(*words: object) -> int:
    try:
        cli.main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_every_option_has_its_word(run, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    words = "--inference.window 24 32 --inference.overlap 0.25 --inference.blend uniform --inference.scales 0.75 1.25"
    more = "--inference.mirror --inference.batch 2 --confidence --probabilities uint8 --no-overlays --skip-existing"
    assert segue("predict", run, pictures, "--out", out, *words.split(), *more.split()) == 0
    assert "3 of 3 files predicted; masks are in" in capsys.readouterr().out
    how = json.loads((out / "manifest.jsonl").read_text().splitlines()[0])["how"]
    assert how["inference.window"] == [24, 32]
    assert how["inference.scales"] == [0.75, 1.25]
    assert how["inference.mirror"]
    wanted = load(run).predict(
        pictures / "a.png", window=(24, 32), overlap=0.25, blend="uniform", scales=(0.75, 1.25), mirror=True
    )
    with Image.open(out / "a.png") as mask:
        assert np.array_equal(LABELS.read(np.asarray(mask)), wanted.labels)
    assert {path.name for path in out.iterdir()} == {
        "a.png", "b.png", "below", "confidence", "probabilities", "manifest.jsonl",
    }  # fmt: skip
    assert segue("predict", run, pictures, "--out", out, *words.split(), *more.split()) == 0
    assert "0 of 3 files predicted, 3 were there; masks are in" in capsys.readouterr().out


def test_a_file_that_cannot_be_predicted_makes_the_exit_code_1(run, pictures, tmp_path, capsys):
    (pictures / "b.png").write_bytes(b"no picture")
    assert segue("predict", run, pictures, "--out", tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert "b.png: cannot be decoded" in told
    assert "1 of 3 files could not be predicted: " in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--inference.window", "0"), "window 0: give one side"),
        (("--inference.overlap", "1"), "overlap 1: it must be"),
        (("--inference.scales", "-1"), "scales -1: give"),
        (("--inference.blend", "linear"), '"gaussian", "uniform"'),
        (("--probabilities", "int8"), '"uint8", "float16"'),
        (("--processes", "-1"), "--processes -1: it must be 0 or more"),
        (("--device", "gpu9"), "device 'gpu9': is not there; this machine has cpu"),
    ],
)
def test_a_wrong_word_is_one_line_and_nothing_is_written(words, message, run, pictures, tmp_path, capsys):
    assert segue("predict", run, pictures, "--out", tmp_path / "out", *words) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
