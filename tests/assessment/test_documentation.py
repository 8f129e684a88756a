"""docs/evaluation.md is true: its commands run, and leave what it says."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from segue import cli
from segue.anomalies import SCORES
from segue.report import MEASURES
from tests.assessment.test_anomalies import held_out_run
from tests.assessment.untrained import untrained

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "evaluation.md").read_text()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    home = tmp_path_factory.mktemp("documentation")
    (home / "runs").mkdir()
    for name, seed in (("unet", 0), ("unet-2", 1)):
        shutil.move(untrained(home / "whole", seed=seed), home / "runs" / name)
    shutil.move(held_out_run(home / "held"), home / "runs" / "held")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for line in re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL).group(1).strip().splitlines():
            cli.main(shlex.split(line)[1:])
    return home


def test_the_commands_leave_the_files_that_the_page_lists(place):
    section = PAGE[PAGE.index("## `segue evaluate`") : PAGE.index("### The measures")]
    listed = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(.*?)`", row)
    }
    assert {path.name for path in (place / "runs" / "unet" / "evaluation" / "val").iterdir()} == listed
    assert (place / "comparison" / "comparison.html").is_file()
    assert (place / "runs" / "held" / "anomalies" / "val" / "anomalies.html").is_file()


def test_every_measure_and_every_score_is_explained():
    words = PAGE.casefold()
    assert [name for name in MEASURES.values() if name.casefold().removeprefix("mean ") not in words] == []
    assert [name for name in SCORES if f"`{name}`" not in PAGE] == []


def test_every_file_that_is_linked_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert [link for link in links if "://" not in link and not (ROOT / "docs" / link).exists()] == []
    assert "docs/evaluation.md" in (ROOT / "README.md").read_text()
