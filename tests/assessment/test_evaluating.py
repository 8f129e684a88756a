import base64
import csv
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from segue.assessment import evaluate_run
from segue.assessment.writing import read_counts
from segue.data import open_folder
from segue.errors import DataError
from segue.evaluation import Boundaries, BoundaryF, Calibration, Cells, evaluate_probabilities
from segue.labels import IGNORE
from segue.metrics import miou_interval
from tests.assessment.untrained import LABELS, untrained


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    run = untrained(folder)
    return run, evaluate_run(run, boundary=True, cells="square")


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def elements(page: str) -> dict[str, object]:
    """The page's data, by the names of their elements."""
    found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', page, re.DOTALL)
    return {name: json.loads(text) for name, text in found}


def test_tables_pictures_and_the_page_are_written(evaluated):
    run, assessed = evaluated
    names = {path.name for path in (run / "evaluation" / "val").iterdir()}
    assert names == {
        "classes.csv", "classes.md", "pictures.csv", "metrics.json", "counts.npz", "confusion.png", "worst.png",
        "best.png", "calibration.png", "boundary.png", "evaluation.html",
    }  # fmt: skip
    measured = json.loads((assessed.folder / "metrics.json").read_text())
    for name in ("miou", "boundary_iou", "boundary_f", "segnet_boundary_f", "ece", "nll", "brier", "v_rand", "v_info"):
        assert 0 <= measured[name] <= (1 if name not in ("nll", "brier") else 10), name
    assert measured["miou_interval"][0] <= measured["miou"] <= measured["miou_interval"][1]
    assert measured["pictures"] == 5


def test_the_table_of_pictures_holds_each_once_the_worst_first(evaluated):
    _, assessed = evaluated
    rows = table(assessed.folder / "pictures.csv")
    assert sorted(row["name"] for row in rows) == ["000", "001", "002", "003", "004"]
    scores = [float(row["miou"]) for row in rows]
    assert scores == sorted(scores)
    assert set(rows[0]) == {"name", "miou", "pixel_accuracy", "pixels", "iou ground", "iou square", "iou other"}


def test_the_counts_give_the_interval_again(evaluated):
    _, assessed = evaluated
    names, counts, classes = read_counts(assessed.folder / "counts.npz")
    assert names == ["000", "001", "002", "003", "004"]
    assert classes == list(LABELS.classes)
    assert miou_interval(counts) == assessed.interval
    assert torch.equal(counts.sum(dim=0)[1], assessed.evaluation.table.sum(dim=1))


def test_a_file_of_counts_that_is_none_is_told_of(tmp_path):
    (tmp_path / "counts.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="evaluate the run again"):
        read_counts(tmp_path / "counts.npz")


def test_the_page_needs_no_network_and_holds_every_picture(evaluated):
    run, assessed = evaluated
    page = (assessed.folder / "evaluation.html").read_text(encoding="utf-8")
    assert not re.findall(r"https?://|src=\"(?!data:)|url\((?!data:)|fetch\(|import ", page)
    assert "default-src 'none'" in page
    data = elements(page)
    pictures = data["part-0"]
    assert data["data"]["names"] == [row["name"] for row in table(assessed.folder / "pictures.csv")]
    assert len(pictures) == 5
    shown = data["data"]["names"].index("003")
    drawn = pictures[shown]
    classes = np.frombuffer(zlib.decompress(base64.b64decode(drawn["classes"])), np.uint8)
    classes = classes.reshape(2, drawn["h"], drawn["w"])
    truth = open_folder(run.parent / "toy", "val", LABELS).target(3)
    assert np.array_equal(classes[0], truth)  # the toy's pictures are small enough to be shown as they are
    assert base64.b64decode(drawn["photo"])[:2] == b"\xff\xd8"


def test_the_page_knows_where_each_confusion_happens_most(evaluated):
    _, assessed = evaluated
    data = elements((assessed.folder / "evaluation.html").read_text(encoding="utf-8"))["data"]
    tables = {one.name: one.table(3) for one in assessed.evaluation.pictures}
    assert data["table"] == assessed.evaluation.table.tolist()
    for cell, places in data["examples"].items():
        row, column = divmod(int(cell), 3)
        counts = [int(tables[data["names"][place]][row, column]) for place in places]
        assert counts == sorted(counts, reverse=True)
        assert sum(counts) == int(assessed.evaluation.table[row, column])


def test_the_names_of_pictures_and_classes_cannot_end_the_pages_data():
    from segue.report.evaluation_page import _element

    text = _element("data", {"name": "</script><b>"})
    assert text.count("</script>") == 1
    assert json.loads(re.search(r">(.*)</script>", text).group(1)) == {"name": "</script><b>"}


def test_classes_have_swatches_and_their_own_boundary_and_calibration(evaluated):
    _, assessed = evaluated
    page = (assessed.folder / "evaluation.html").read_text(encoding="utf-8")
    for red, green, blue in LABELS.palette:
        assert f"background:rgb({red},{green},{blue})" in page
    rows = table(assessed.folder / "classes.csv")
    assert list(rows[0]) == ["class", "iou", "accuracy", "dice", "pixels", "boundary_iou", "ece"]


def test_an_unknown_class_of_cells_is_an_error_that_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="it knows ground, square, other"):
        evaluate_run(untrained(tmp_path), cells="axon")


class Fixed:
    """Probabilities that are a function of the pixels alone."""

    def probabilities(self, images):
        bright = images.float() / 255
        return torch.stack([bright[:, 0] * 3, bright[:, 1] * 4, bright[:, 2] * 3], dim=1).softmax(dim=1)


def some_pictures(count: int):
    rng = np.random.default_rng(count)
    for index in range(count):
        target = rng.integers(0, 3, (4, 5)).repeat(6, axis=0).repeat(6, axis=1).astype(np.uint8)
        target[rng.random(target.shape) < 0.05] = IGNORE
        yield rng.integers(0, 255, (24, 30, 3)).astype(np.uint8), target, f"picture {index}"


def measured(pictures):
    measures = [Boundaries(3), BoundaryF(3), Calibration(3), Cells(1)]

    def see(one):
        for measure in measures:
            measure.add(one)

    return evaluate_probabilities(Fixed(), pictures, 3, seen=see), measures


def test_what_uneven_parts_counted_adds_up_to_the_whole_to_the_last_bit():
    pictures = list(some_pictures(7))
    whole, measures = measured(pictures)
    parts = [measured(pictures[:1]), measured(pictures[1:5]), measured(pictures[5:])]
    total, counted = parts[2]
    for other, theirs in parts[:2]:
        total.merge(other)
        for measure, more in zip(counted, theirs, strict=True):
            measure.merge(more)
    assert torch.equal(total.table, whole.table)
    assert sorted(one.name for one in total.pictures) == sorted(one.name for one in whole.pictures)
    for measure, expected in zip(counted, measures, strict=True):
        assert measure.numbers() == expected.numbers()


def test_the_picture_scores_tables_are_those_of_the_pictures():
    evaluation, _ = measured(list(some_pictures(4)))
    assert torch.equal(sum(one.table(3) for one in evaluation.pictures), evaluation.table)
    assert torch.equal(evaluation.picture_counts().sum(dim=0)[0], evaluation.table.diagonal())
