import numpy as np
import pytest
from accelerate import Accelerator

from segue import recipe as recipes
from segue import run
from segue.data.cache import CachePlan, KeptDataSet
from segue.data.class_index import ClassIndex
from segue.data.folder import open_folder
from segue.data.sampling import rare_classes
from segue.errors import DataError
from segue.feed import Balance, balance_classes, class_table, describe_plan, keep_pictures
from segue.labels import Labels
from segue.options import DataOptions
from segue.recipe import RecipeError
from tests.data.counting import Counting
from tests.toy import RECIPE, toy

THREE = Labels(classes=("ground", "box", "disc"))


@pytest.fixture
def splits(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    root = toy(tmp_path / "toy")
    return tuple(Counting(open_folder(root, split, THREE)) for split in ("train", "val"))


@pytest.fixture(scope="module")
def accelerator():
    return Accelerator(cpu=True)


def recipe(root, /, **changes):
    made = recipes.override(recipes.from_dict(RECIPE, "test"), {"data": {"name": str(root)}}, "test")
    return recipes.override(made, changes, "test")


def test_the_table_says_share_weight_and_how_often_a_class_is_drawn():
    index = ClassIndex(np.array([[90, 0, 0], [81, 9, 0]]))
    balance = Balance((1.0, 2.5, 0.0), rare_classes(index, 0.5))
    assert class_table(THREE.classes, index, balance) == [
        "class   of pixels  in pictures  weight  crops centred on it",
        "ground     95.00%         100%    1.00                 4.5%",
        "box         5.00%          50%    2.50                45.5%",
        "disc        0.00%           0%    0.00                 0.0%",
    ]


def test_without_counts_there_is_no_table():
    assert class_table(THREE.classes, None, Balance(None, None)) == []


def test_masks_are_counted_only_where_something_is_made_of_it(splits, accelerator, tmp_path):
    said: list[str] = []
    assert balance_classes(recipe(tmp_path), splits[0], accelerator, said.append) == Balance(None, None)
    assert splits[0].masks_read == 0
    assert said == []
    weighted = recipe(tmp_path, loss={"weights": "median"})
    weights = balance_classes(weighted, splits[0], accelerator, said.append).weights
    assert splits[0].masks_read == 15
    assert sorted(weights)[1] == pytest.approx(1.0)  # the median class has weight 1
    assert weights[0] < 1  # the ground is frequent
    assert len(said) == 4


def test_weights_of_the_wrong_number_are_refused(splits, accelerator, tmp_path):
    with pytest.raises(RecipeError, match=r"loss\.weights lists 2 numbers for 3 classes"):
        balance_classes(recipe(tmp_path, loss={"weights": [1, 2]}), splits[0], accelerator, print)


@pytest.mark.parametrize("cache", ["auto", "ram", "disk", True])
def test_kept_pictures_are_read_once_in_both_splits(splits, accelerator, cache):
    kept = keep_pictures(*splits, DataOptions(cache=cache), accelerator, lambda text: None)
    for _ in range(2):
        for data in kept:
            assert isinstance(data, KeptDataSet)
            for index in range(len(data)):
                data.image(index), data.target(index)
    assert [(one.images_read, one.masks_read) for one in splits] == [(15, 15), (5, 5)]


@pytest.mark.parametrize("cache", ["off", False])
def test_nothing_is_kept_where_nobody_wants_it(splits, accelerator, cache):
    assert keep_pictures(*splits, DataOptions(cache=cache), accelerator, print) == splits
    assert splits[0].images_read == 0


def test_drawn_pictures_cannot_be_kept_on_disk(accelerator):
    from segue.data import open_split

    drawn = open_split("scenes", "", "val")
    with pytest.raises(
        DataError, match=r'data\.cache = "disk": scenes has no files to know again; take "ram" or "off"'
    ):
        keep_pictures(drawn, drawn, DataOptions(cache="disk"), accelerator, lambda text: None)


def test_what_becomes_of_pictures_is_said():
    def said(plan: CachePlan) -> str:
        return describe_plan(plan, DataOptions(), free=20 * 10**9)

    assert "kept in memory (about 1.0 GB of 20.0 GB free)" in said(CachePlan("ram", 10**9, 10**10))
    assert "75% of the decoded pictures (about 20.0 GB) fit" in said(CachePlan("ram", 20 * 10**9, 15 * 10**9))
    assert 'data.cache = "ram" keeps what fits' in said(CachePlan("off", 10**12))


def test_a_run_says_its_classes_and_its_result_does_not_hang_on_the_cache(splits, tmp_path, capsys):
    changes = {"loss": {"weights": "enet"}, "augment": {"rare": 0.4}, "training": {"steps": 6, "validate_every": 6}}
    logs = []
    for cache in ("off", "ram"):
        made = recipe(tmp_path / "toy", **changes, data={"cache": cache})
        folder = run.begin(made, out=str(tmp_path / cache)).folder
        names, values = (row.split(",") for row in (folder / "log.csv").read_text().splitlines())
        logs.append([pair for pair in zip(names, values, strict=True) if pair[0] not in TIMES])
    assert logs[0] == logs[1]
    assert "crops centred on it" in capsys.readouterr().err


TIMES = ("images_per_s", "waiting", "seconds")
