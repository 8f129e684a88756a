"""The gallery holds what it names, and its commands are ones that can be typed."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from segue import cli, scheduling
from segue.explain import EXPLAINERS, explainers_of
from segue.models import create

DOCS = Path(__file__).parents[1] / "docs"
MOST = 3_000_000  # bytes of all pictures


@pytest.fixture(scope="module")
def gallery():
    """docs/gallery/make.py as a module."""
    spec = importlib.util.spec_from_file_location("gallery_make", DOCS / "gallery" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_picture_that_is_named_is_there_and_no_other():
    named = re.findall(r"\]\(gallery/([^)]+)\)", (DOCS / "gallery.md").read_text(encoding="utf-8"))
    kept = [path.name for path in (DOCS / "gallery").iterdir() if path.suffix not in {".py", ".toml", ""}]
    assert sorted(named) == sorted(kept)
    assert sum((DOCS / "gallery" / name).stat().st_size for name in kept) < MOST


def test_a_command_stands_below_every_picture(gallery):
    named = re.findall(r"\]\(gallery/([^)]+)\)", (DOCS / "gallery.md").read_text(encoding="utf-8"))
    assert [picture for picture, _ in gallery.pictures()] == named


def test_every_picture_of_a_network_is_in_the_gallery(gallery):
    shown = {words[words.index("--only") + 1] for _, words in gallery.pictures() if words[0] == "explain"}
    assert shown == {one.name for one in EXPLAINERS}


def test_the_commands_ask_for_what_the_networks_have(gallery, monkeypatch):
    begun = {}
    monkeypatch.setattr("segue.run.begin", lambda recipe, *, out, **_: begun.update({out: recipe}) or sys.exit(0))
    monkeypatch.chdir(DOCS.parent)
    for words in gallery.trainings():
        with pytest.raises(SystemExit, match="0"):
            cli.main(words)
    for _, words in gallery.pictures():
        if words[0] == "explain":
            recipe = begun[words[1]]
            network = create(recipe.network, 9, **recipe.model)
            assert words[words.index("--only") + 1] in {one.name for one in explainers_of(network)}
        else:
            assert words[0] == "schedule"
            assert scheduling.lines_of(words[1:], steps=0, lr=0.01)


def test_what_the_gallery_prints_is_what_is_printed(capsys):
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    ((words, shown),) = re.findall(r"^    \$ segue (.+)\n((?:(?:    .*)?\n)+)", text, re.MULTILINE)
    cli.main(words.split())
    printed = capsys.readouterr().out.rstrip().splitlines()
    lines = [line[4:] for line in shown.rstrip().splitlines()]
    gap = lines.index("...")
    assert lines[:gap] == printed[:gap]
    assert lines[gap + 1 :] == printed[-len(lines) + gap + 1 :]
