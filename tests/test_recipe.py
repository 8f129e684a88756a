from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from segue import recipe as recipes
from segue.data import DATASETS
from segue.models import MODELS, create
from segue.options import Recipe
from segue.recipe import RecipeError

CAMVID = (360, 480)
"""Height and width of CamVid's pictures."""
BENCHMARKS = [name for name in recipes.shipped() if name != "scenes" and not name.endswith(("_camvid", "_camvid_cpu"))]
"""Recipes of the papers' own benchmarks."""
PRETRAINED = [name for name, path in recipes.shipped().items() if recipes.read(path).model.get("pretrained")]
"""Recipes that fetch ImageNet's weights."""


def read(tmp_path, text: str) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return recipes.read(path)


def test_a_recipe_sets_what_it_says_and_leaves_the_rest(tmp_path):
    recipe = read(tmp_path, 'network = "unet"\n[optim]\nlr = 0.5\n[model]\nbackbone = "resnet18"\n')
    assert recipe.optim.lr == 0.5
    assert recipe.optim.momentum == Recipe().optim.momentum
    assert recipe.model == {"backbone": "resnet18"}


def test_a_recipe_written_out_reads_back_the_same(tmp_path):
    recipe = read(
        tmp_path,
        'network = "unet"\n[model]\nchannels = [4, 8]\nbackbone = "a \\"b\\""\n'
        '[data]\nname = "x"\nclasses = ["a\\tb"]\n'
        "[data.map]\n0 = 1\n7 = 255\n[loss]\nweights = [0.5, 2]\n[training]\ntrackers = []\n",
    )
    assert read(tmp_path, recipes.to_toml(recipe, "a comment\nof two lines")) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[optim]\nlearning_rate = 1", r"there is no key optim\.learning_rate; known: optim\.name, optim\.lr"),
        ("[optim]\nmomentun = 1", r"there is no key optim\.momentun; did you mean optim\.momentum\?"),
        ("[optimm]\nlr = 1", r"there is no key optimm; did you mean optim\?"),
        ('[optim]\nlr = "fast"', r"optim\.lr = 'fast': it must be a number"),
        ("[training]\nsteps = 1.5", r"training\.steps = 1\.5: it must be a whole number"),
        ("[training]\nsteps = true", r"training\.steps = True: it must be a whole number"),
        ("[augment]\ncrop = [1, 2, 3]", r"augment\.crop = \[1, 2, 3\]: it must be a list of 2"),
        ("[augment]\ncrop = 3", r"augment\.crop = 3: it must be a list"),
        ('[optim]\nname = "adam"', r"optim\.name = 'adam': it must be one of sgd, adamw; did you mean adamw\?"),
        ('[loss]\nweights = "medium"', r"loss\.weights = 'medium': .*did you mean median\?"),
        ("[loss]\nmin_kept = -1", r"loss\.min_kept = -1: it must be 0 or more"),
        ("[loss]\nthreshold = 70", r"loss\.threshold = 70\.0: it must be a probability, from 0 to 1"),
        ("[optim]\nlr = -1", r"optim\.lr = -1\.0: it must be above 0"),
        ('[schedule]\npolicy = "inv"\ngamma = -0.1', r"schedule\.gamma = -0\.1: it must be 0 or more, but for sigmoid"),
        ("[data]\nshrink = 2", r"data\.shrink = 2\.0: it must be above 0 and at most 1"),
        ("[data.map]\nroad = 1", r"data\.map\.road = 1: a raw value is mapped to a class"),
        ("data = 3", r"data must be a table, not 3"),
        ("network = ", r"is not TOML"),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_mend(tmp_path, text, message):
    with pytest.raises(RecipeError, match=message) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "recipe.toml"))
    assert "\n" not in str(error.value)


def test_overriding_merges_key_by_key():
    recipe = recipes.from_dict({"model": {"backbone": "resnet18", "width": 0.5}}, "test")
    changed = recipes.override(recipe, {"model": {"width": 1.0}, "optim": {"lr": 2}}, "test")
    assert changed.model == {"backbone": "resnet18", "width": 1.0}
    assert changed.optim.lr == 2.0
    names = recipes.changed_keys(recipes.to_dict(recipe), recipes.to_dict(changed))
    assert names == ["model.width", "optim.lr"]


def test_poly_falls_over_what_the_warm_up_leaves():
    recipe = recipes.from_dict({"schedule": {"warmup": 10, "power": 1.0}}, "test")
    policy = recipes.build_policy(recipe.schedule, steps=30)
    assert [policy(t) for t in (0, 5, 10, 20, 30)] == pytest.approx([0, 0.5, 1, 0.5, 0])


@pytest.mark.parametrize("name", recipes.shipped())
def test_a_shipped_recipe_reads_and_names_a_network_and_says_what_it_measured(name):
    path = recipes.shipped()[name]
    assert recipes.read(path).network in MODELS
    comment = path.read_text().splitlines()
    assert comment[0].startswith("# ")
    assert comment[1].split()[:4] == ["#", "segue", "train", name]


@pytest.mark.parametrize("name", recipes.shipped())
def test_a_shipped_recipe_names_a_data_set_with_its_splits(name):
    data = recipes.read(recipes.shipped()[name]).data
    assert data.name in DATASETS
    assert {data.train, data.val} <= set(DATASETS[data.name].splits)


@pytest.mark.parametrize("name", recipes.shipped())
def test_a_shipped_recipes_network_can_be_built(name):
    recipe = recipes.read(recipes.shipped()[name])
    options = {key: value for key, value in recipe.model.items() if key != "pretrained"}  # nothing is fetched
    with torch.device("meta"):
        network = create(recipe.network, num_classes=21, **options)
    assert any(True for _ in network.parameters())
    if recipe.model.get("pretrained"):
        assert network.backbone is not None


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_shipped_recipe_feeds_its_encoder_what_the_weights_were_trained_on(name):
    recipe = recipes.read(recipes.shipped()[name])
    trained = timm.get_pretrained_cfg(str(recipe.model.get("backbone", "vgg16")))
    assert trained is not None
    assert trained.hf_hub_id
    assert recipe.data.mean == pytest.approx([255 * one for one in trained.mean])
    assert recipe.data.std == pytest.approx([255 * one for one in trained.std])


@pytest.mark.parametrize("network", MODELS)
@pytest.mark.parametrize("size", ["camvid", "camvid_cpu"])
def test_every_network_has_recipes_for_camvid_whose_crops_fit_its_pictures(network, size):
    recipe = recipes.read(recipes.shipped()[f"{network}_{size}"])
    assert (recipe.network, recipe.data.name) == (network, "camvid")
    seen = [round(side * recipe.data.shrink) for side in CAMVID]
    assert all(0 < crop <= side for crop, side in zip(recipe.augment.crop, seen, strict=True))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmarks_recipe_that_was_not_run_says_so(name):
    assert recipes.shipped()[name].read_text().splitlines()[0].endswith(" Not measured yet.")


def test_the_docs_list_every_benchmarks_recipe():
    page = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(name.strip(" `") for row in rows for name in row.split(",")) == BENCHMARKS


@pytest.mark.parametrize(
    "names",
    [
        [name for name in BENCHMARKS if name.startswith("refinenet_")],
        [name for name in BENCHMARKS if name.endswith("_ade20k") and not name.startswith("refinenet_")],
    ],
    ids=["RefineNet", "MCIBI and what it is measured against"],
)
def test_recipes_of_the_same_authors_train_alike(names):
    first, *others = (recipes.read(recipes.shipped()[name]) for name in names)
    for other in others:
        assert other.optim == first.optim
        assert other.schedule == first.schedule
        assert other.training == first.training
        assert replace(other.augment, crop=first.augment.crop) == first.augment


def test_an_unknown_recipe_file_lists_the_shipped_ones():
    with pytest.raises(RecipeError, match="there is no such recipe"):
        recipes.find("nothing.toml")


def test_a_crop_of_nothing_is_the_first_pictures_in_multiples_of_32():
    recipe = recipes.resolve_crop(Recipe(), (360, 480))
    assert recipe.augment.crop == (352, 480)
    assert recipes.resolve_crop(Recipe(), (4000, 20)).augment.crop == (512, 32)
