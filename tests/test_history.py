"""What a run keeps of its network over training."""

import numpy as np
import pytest
import torch

from segue import history
from segue import recipe as recipes
from segue.explain import Subject
from segue.explain.mcibi import kept_memories, memory
from segue.labels import Labels
from segue.models import create
from segue.run import begin
from tests.toy import RECIPE, toy


def test_tensors_come_back_in_the_order_of_the_steps(tmp_path):
    for step in (20, 100, 3):
        history.keep(tmp_path, step, {"memory": torch.full((2, 3), float(step))})
    assert [(step, float(tensors["memory"][0, 0])) for step, tensors in history.kept(tmp_path)] == [
        (3, 3.0),
        (20, 20.0),
        (100, 100.0),
    ]


def test_nothing_is_written_of_a_network_that_remembers_nothing(tmp_path):
    history.keep(tmp_path, 1, create("segnet_basic", 2, width=0.125).remembered())
    assert list(tmp_path.iterdir()) == []
    assert history.kept(tmp_path) == []
    assert history.kept(None) == []


def test_the_drift_of_the_memory_is_drawn_of_what_was_kept(tmp_path):
    network = create("mcibi", 2, backbone="resnet18c", width=0.25, channels=16, transform_channels=8, context="none")
    torch.nn.init.uniform_(network.memory.rows)
    subject = Subject(network, torch.zeros(1, 3, 8, 8), np.zeros((8, 8, 3), np.uint8), Labels(("a", "b")), (8, 8))
    assert len(memory(subject).sheet.rows[0]) == 1
    for step in (1, 2):
        history.keep(tmp_path, step, network.remembered())
    subject.run = tmp_path
    assert len(memory(subject).sheet.rows[0]) == 2


@pytest.mark.slow
def test_a_run_keeps_the_memory_at_each_validation(tmp_path):
    toy(tmp_path / "toy")
    keys = {
        "network": "mcibi",
        "model": {
            "backbone": "resnet18c", "width": 0.25, "channels": 16, "transform_channels": 8, "context": "none",
        },
        "data": {"name": str(tmp_path / "toy")},
        "training": {"steps": 4, "validate_every": 2},
    }  # fmt: skip
    base = {key: value for key, value in RECIPE.items() if key not in ("network", "model")}
    recipe = recipes.override(recipes.from_dict(base, "test"), keys, "test")
    run = begin(recipe, out=str(tmp_path / "run")).folder
    model = torch.stack([tensors["memory"] for _, tensors in history.kept(run)])
    assert model.shape == (2, 3, 16)
    assert not torch.equal(model[0], model[1])
    assert len(kept_memories(Subject(*[None] * 4, (1, 1), run=run))) == 2
