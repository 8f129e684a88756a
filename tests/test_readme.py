"""The README's lines are true: its commands run, and so does its Python, in a folder like the one it speaks of."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from segue import cli
from tests.toy import write_pictures

README = (Path(__file__).parents[1] / "README.md").read_text()
QUICK = ["--training.steps", "2", "--training.batch", "2", "--augment.crop", "32", "32", "--data.workers", "0"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    home = tmp_path_factory.mktemp("readme")
    write_pictures(home, "pictures", 12)
    return home


def test_the_commands_run_in_their_order(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    lines = [line for block in blocks("sh") for line in block.strip().splitlines()]
    assert len(lines) >= 8
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "segue"
        new = words[1] == "train" and "--resume" not in words
        small = ["--model.width", "0.125"] if new and "scenes" not in words else []
        cli.main([*words[1:], *(QUICK + small if new else [])])
    assert sorted(path.name for path in (place / "masks").glob("*.png")) == [f"{i:03d}.png" for i in range(12)]
    assert (place / "runs" / "unet-pictures" / "report.html").is_file()
    assert "unet" in capsys.readouterr().out


def test_the_python_runs(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    if not Path("runs/unet-pictures").is_dir():
        cli.main(["train", "unet", "--data", "pictures", *QUICK, "--model.width", "0.125"])
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert "(48, 64) (3, 48, 64)" in capsys.readouterr().out
    with Image.open("overlay.png") as overlay:
        assert overlay.size == (64, 48)


def test_every_file_that_is_linked_is_there():
    root = Path(__file__).parents[1]
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert [link for link in links if "://" not in link and not (root / link).exists()] == []
