"""Two real processes share an evaluation, and find what one finds."""

import json
import os
import socket
import subprocess
import sys

import pytest

from segue.assessment.team import Team
from tests.assessment.test_anomalies import held_out_run
from tests.assessment.untrained import untrained


def test_shares_are_uneven_where_they_must_be_and_hold_each_picture_once():
    shares = [list(Team(index, 3).share(7)) for index in range(3)]
    assert sorted(index for share in shares for index in share) == list(range(7))
    assert [len(share) for share in shares] == [3, 2, 2]


def test_one_process_alone_gathers_its_own():
    assert Team().gather("mine") == ["mine"]
    assert Team().first


def segue(*words: object, processes: int) -> None:
    """The command line, in so many processes, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "segue", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if processes > 1:
        environment |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    running = [
        subprocess.Popen(
            command,
            env=environment | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    for one in running:
        _, errors = one.communicate(timeout=500)
        assert one.returncode == 0, errors


@pytest.mark.slow
def test_two_processes_find_to_the_last_bit_what_one_finds(tmp_path):
    run = untrained(tmp_path, pictures=5)  # three for one process, two for the other
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, processes in zip(folders, (1, 2), strict=True):
        words = ("--out", folder, "--boundary", "--cells", "square", "--device", "cpu")
        segue("evaluate", run, *words, processes=processes)
    for name in ("metrics.json", "classes.csv", "pictures.csv", "classes.md", "evaluation.html"):
        one, two = ((folder / name).read_bytes() for folder in folders)
        assert one.replace(b"run on one", b"run on two") == two, name
    assert json.loads((folders[1] / "metrics.json").read_text())["pictures"] == 5


@pytest.mark.slow
def test_two_processes_find_the_anomalies_that_one_finds(tmp_path):
    run = held_out_run(tmp_path)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, processes in zip(folders, (1, 2), strict=True):
        words = ("--scores", "energy", "standardised_max_logit", "--least-predicted", 20, "--device", "cpu")
        segue("anomalies", run, *words, "--out", folder, processes=processes)
    for name in ("scores.csv", "scores.json", "pictures.csv"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
