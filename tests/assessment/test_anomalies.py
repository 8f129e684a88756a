import csv
import json

import numpy as np
import pytest
import torch

from segue import recipe as recipes
from segue.anomalies import Scorer
from segue.assessment.anomalies import Sizes, evaluate_anomalies
from segue.data import open_folder
from segue.labels import Labels
from segue.metrics import anomaly_counts, detection
from segue.model import Card, Model, ModelError, load
from segue.models import create
from segue.prediction import Preprocessing, as_batch
from tests.assessment.untrained import LABELS, untrained
from tests.toy import RECIPE, write_pictures


def held_out_run(folder, classes=("ground", "other")):
    """A run that was not shown squares."""
    data = folder / "toy"
    write_pictures(data, "train", 4)
    write_pictures(data, "val", 5)
    (data / "classes.txt").write_text("\n".join(LABELS.classes) + "\n")
    run = folder / "run"
    torch.manual_seed(0)
    labels = Labels(classes, values={0: 0, 1: 255, 2: 1, 255: 255})
    Model(create("unet", 2, channels=[4, 8]), Card("unet", {"channels": [4, 8]}, labels, Preprocessing())).save(
        run / "model"
    )
    recipe = {**RECIPE, "data": {"name": str(data), "workers": 0, "hold_out": ["square"]}}
    (run / "recipe.toml").write_text(recipes.to_toml(recipes.from_dict(recipe, "a test"), "a test"))
    (run / "data.json").write_text(json.dumps({"labels": LABELS.to_dict()}))
    return run


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    run = held_out_run(tmp_path_factory.mktemp("anomalies"))
    names = ("max_softmax", "energy", "standardised_max_logit", "mahalanobis")
    return run, evaluate_anomalies(run, scores=names, sizes=Sizes(20, 10))


def test_measures_are_those_of_all_pixels_in_one_ranking(found):
    run, outcome = found
    data = open_folder(run.parent / "toy", "val", LABELS)
    scorer = Scorer(load(run).predictor(), ["energy"], as_batch([data.image(0)]))
    counts = sum(
        anomaly_counts(
            scorer.scores(as_batch([data.image(index)]))[1]["energy"][0],
            torch.from_numpy((data.target(index) == 1).astype(np.uint8)),
        )
        for index in range(len(data))
    )
    row = next(row for row in outcome.rows if row["score"] == "energy")
    assert row["auroc"] == detection(counts).auroc.value
    assert row["ap_low"] <= row["ap"] <= row["ap_high"]
    assert 0 <= row["f1_star"] <= 1


def test_tables_curves_maps_and_a_page_are_written(found):
    run, outcome = found
    folder = run / "anomalies" / "val"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "scores.csv", "scores.md", "scores.json", "pictures.csv", "curves.png", "maps.png", "anomalies.html",
    }  # fmt: skip
    rows = list(csv.DictReader((folder / "pictures.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["000", "001", "002", "003", "004"]
    assert all(int(row["anomalous_pixels"]) > 0 for row in rows)
    assert "mahalanobis" in outcome.lines()
    assert "AP by chance" in outcome.lines()


def test_the_known_classes_stand_beside_the_scores(found):
    _, outcome = found
    assert outcome.facts["mean IoU of the known classes"].endswith("%")


def test_data_without_anomalies_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(ModelError, match=r"marks no anomalies; name a data set that does .*streethazards"):
        evaluate_anomalies(untrained(tmp_path))
