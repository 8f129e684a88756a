import csv
import json
import os
import re

import pytest

from segue.assessment.comparing import compare_runs, short_names
from segue.assessment.evaluating import evaluate_run
from segue.assessment.writing import read_counts
from segue.errors import DataError
from segue.metrics import miou_difference
from segue.options import InferenceOptions
from tests.assessment.untrained import untrained


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    runs = [untrained(folder, seed=seed) for seed in (0, 1)]
    (runs[0] / "log.csv").write_text("step,loss,miou\n5,1.5,0.2\n10,1.0,0.3\n")
    return runs, folder, compare_runs([str(run) for run in runs], out=str(folder / "comparison"))


def test_differences_are_those_of_paired_drawings_from_the_first_run(compared):
    runs, folder, _ = compared
    rows = list(csv.DictReader((folder / "comparison" / "comparison.csv").read_text().splitlines()))
    first, second = (read_counts(run / "evaluation" / "val" / "counts.npz")[1] for run in runs)
    expected = miou_difference(first, second)
    assert rows[0]["difference_value"] == ""
    assert float(rows[1]["difference_value"]) == pytest.approx(expected.value)
    assert float(rows[1]["difference_p"]) == pytest.approx(expected.p)
    assert float(rows[1]["milliseconds"]) > 0
    assert float(rows[1]["megabytes_of_maps"]) > 0
    assert rows[0]["parameters"] == rows[1]["parameters"]


def test_tables_pictures_and_a_page_that_needs_no_network_are_written(compared):
    _, folder, outcome = compared
    names = {path.name for path in (folder / "comparison").iterdir()}
    assert names == {
        "comparison.csv", "comparison.md", "comparison.json", "comparison.html", "curves.png", "pictures.png",
    }  # fmt: skip
    page = (folder / "comparison" / "comparison.html").read_text(encoding="utf-8")
    assert not re.findall(r"https?://|src=\"(?!data:)", page)
    assert len(json.loads((folder / "comparison" / "comparison.json").read_text())["runs"]) == 2
    assert "run1" in outcome.lines()


def test_runs_that_differ_in_their_seeds_alone_have_a_mean_and_a_deviation(compared):
    _, _, outcome = compared
    # The recipes are the same, even in their seeds: only the weights differ.
    assert any("differ in their seeds alone: mean IoU" in word for word in outcome.words)


def test_an_evaluation_is_used_again_until_the_model_changes(compared):
    runs, folder, _ = compared
    counts = runs[1] / "evaluation" / "val" / "counts.npz"
    before = counts.stat().st_mtime_ns
    compare_runs([str(run) for run in runs], out=str(folder / "again"))
    assert counts.stat().st_mtime_ns == before
    for name in ("model.safetensors", "card.json"):  # trained on; calibrated
        before = counts.stat().st_mtime_ns
        os.utime(runs[1] / "model" / name)
        compare_runs([str(run) for run in runs], out=str(folder / "again"))
        assert counts.stat().st_mtime_ns > before, name


def test_runs_that_were_looked_at_in_different_ways_are_not_compared(compared):
    runs, folder, _ = compared
    evaluate_run(runs[1], inference=InferenceOptions(mirror=True))
    with pytest.raises(DataError, match=r"in different ways .the whole picture at once, and mirrored as well"):
        compare_runs([str(run) for run in runs], out=str(folder / "again"))
    evaluate_run(runs[1])


def test_what_cannot_be_compared_is_refused_in_one_line(compared, tmp_path):
    runs, _, _ = compared
    with pytest.raises(DataError, match="name two runs or more"):
        compare_runs([str(runs[0])])
    with pytest.raises(DataError, match="named twice"):
        compare_runs([str(runs[0]), str(runs[0]) + "/"])
    other = untrained(tmp_path, pictures=3)
    evaluate_run(other)
    with pytest.raises(DataError, match="evaluated on other pictures"):
        compare_runs([str(runs[0]), str(other)], out=str(tmp_path / "out"))


@pytest.mark.parametrize("name", ["metrics.json", "counts.npz"])
def test_an_evaluation_that_is_broken_is_named_with_the_mend(tmp_path, name):
    runs = [untrained(tmp_path / one, pictures=2) for one in ("a", "b")]
    evaluate_run(runs[0])
    path = runs[0] / "evaluation" / "val" / name
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DataError, match=rf"{name}: .*; evaluate the run again"):
        compare_runs([str(run) for run in runs], out=str(tmp_path / "out"))


def test_runs_are_called_by_as_much_of_their_path_as_tells_them_apart(tmp_path):
    assert short_names([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    assert short_names([tmp_path / "x" / "a", tmp_path / "y" / "a"]) == ["x/a", "y/a"]
