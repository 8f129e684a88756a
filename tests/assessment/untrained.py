"""A run without training: a tiny network's first weights, and a recipe that names a small folder of pictures."""

from pathlib import Path

import torch

from segue import recipe as recipes
from segue.labels import Labels
from segue.model import Card, Model
from segue.models import create
from segue.prediction import Preprocessing
from tests.toy import RECIPE, write_pictures

LABELS = Labels(("ground", "square", "other"))


def untrained(folder: Path, *, pictures: int = 5, seed: int = 0, network: str = "unet", **options) -> Path:
    """`folder`/run, whose data are `folder`/toy with so many validation pictures."""
    data = folder / "toy"
    if not data.is_dir():
        write_pictures(data, "train", 4)
        write_pictures(data, "val", pictures)
    run = folder / f"run{seed}" if seed else folder / "run"
    options = options or {"channels": [4, 8]}
    torch.manual_seed(seed)
    Model(create(network, 3, **options), Card(network, options, LABELS, Preprocessing())).save(run / "model")
    recipe = {**RECIPE, "network": network, "model": options, "data": {"name": str(data), "workers": 0}}
    text = recipes.to_toml(recipes.from_dict(recipe, "a test"), "a test")
    (run / "recipe.toml").write_text(text, encoding="utf-8")
    return run
