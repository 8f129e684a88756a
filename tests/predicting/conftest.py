"""A small model in a run's folder, and pictures to predict."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segue.labels import Labels
from segue.model import Card, Model, load
from segue.models import create
from segue.prediction import Preprocessing

LABELS = Labels(
    ("ground", "tree", "roof"), values={10: 0, 20: 1, 30: 2, 0: 255}, palette=((90, 60, 20), (0, 200, 0), (220, 0, 0))
)


def write_run(folder: Path, name: str, options: dict) -> Path:
    """A network with weights that say different things of different pixels, in a run's folder."""
    torch.manual_seed(0)
    network = create(name, 3, **options)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.normal_(module.weight, std=0.5)
    Model(network, Card(name, options, LABELS, Preprocessing())).save(folder / "model")
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """A U-Net that sees every class about as often, here and there."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "toy", "unet", {"channels": (4, 8, 8)})
    model = load(folder, "cpu")
    scores = model.predictor().logits(torch.from_numpy(picture(160, 160).transpose(2, 0, 1).copy())[None])
    with torch.no_grad():
        last = model.network.classify
        spread, middle = scores.std(dim=(0, 2, 3)), scores.mean(dim=(0, 2, 3))
        last.weight.div_(spread.view(-1, 1, 1, 1))
        last.bias.sub_(middle).div_(spread)
    model.save(folder / "model")
    return folder


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: blotches of a few pixels."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3)).astype(np.uint8)
    large = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(large)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Three pictures of two sizes, one of them in a folder below."""
    folder = tmp_path / "pictures"
    for index, (name, size) in enumerate({"a.png": (40, 56), "b.png": (40, 56), "below/c.png": (33, 41)}.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(*size, seed=index)).save(folder / name)
    return folder
