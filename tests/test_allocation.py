"""What is freed stays with the process: the system is not asked for the same pages again and again."""

import subprocess
import sys

import pytest

from segue import cli
from segue.allocation import CHOICES, keep_freed_memory

FAULTS = """
import resource, sys, torch
from segue.allocation import keep_freed_memory
print(keep_freed_memory() if sys.argv[1] == "kept" else None)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for turn in range(15):
    if turn == 5:
        before = faults()
    torch.zeros(50_000_000).add(1)
print(faults() - before)
"""


def plain(monkeypatch):
    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's alone")
def test_large_tensors_take_no_new_pages(monkeypatch):
    plain(monkeypatch)

    def run(how):
        answer = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        kept, count = answer.stdout.split()
        return kept, int(count)

    kept, few = run("kept")
    if kept == "False":
        pytest.skip("another C library than glibc")
    assert few * 4 < run("returned")[1]


@pytest.mark.parametrize("name", CHOICES)
def test_what_a_user_has_chosen_stays(name, monkeypatch):
    plain(monkeypatch)
    monkeypatch.setenv(name, "1")
    assert keep_freed_memory() is False


def test_the_command_line_keeps_it_but_where_memory_matters_more(monkeypatch):
    asked = []
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: asked.append(True))
    with pytest.raises(SystemExit):
        cli.main(["explain", "nowhere", "nothing.png"])
    assert not asked
    cli.main(["list", "networks"])
    assert asked
