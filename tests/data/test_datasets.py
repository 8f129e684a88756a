"""What every data set by name must do, on its miniature."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segue.data import DATASETS, open_split
from segue.data.source import DataSet, read_target
from segue.errors import DataError
from segue.labels import IGNORE
from tests.data.miniatures import HEIGHT, MINIATURES, WIDTH

SPLITS = [(name, split) for name, miniature in MINIATURES.items() for split in miniature.splits]
NAMES = sorted(MINIATURES)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Every miniature, made when it is first asked for."""
    made: dict[str, Path] = {}

    def root(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            MINIATURES[name].write(made[name])
        return made[name]

    return root


def names(data: DataSet) -> tuple[str, ...]:
    return tuple(data.name(index) for index in range(len(data)))


def check_classes(name: str, data: DataSet, index: int = 0) -> None:
    """A target holds the classes that the miniature says, and is written back as the data set's own values."""
    miniature, target = MINIATURES[name], data.target(index)
    assert data.image(index).shape == (HEIGHT, WIDTH, 3)
    assert target.shape == (HEIGHT, WIDTH)
    held = set(np.unique(target).tolist())
    assert held <= set(miniature.meaning.values())
    assert len(held - {IGNORE}) >= 2
    own = {label: miniature.written.get(raw, raw) for raw, label in miniature.meaning.items()}
    written = data.labels.write(target)
    if data.labels.colour_key:
        written = np.vectorize(lambda packed: data.labels.colour_key[packed >> 16, packed >> 8 & 255, packed & 255])(
            written.astype(int) @ (1 << 16, 1 << 8, 1)
        )
    assert written.tolist() == np.vectorize(own.get)(target).tolist()


def test_every_data_set_has_a_miniature():
    assert set(DATASETS) - set(MINIATURES) == {"scenes", "bdd_anomaly3"}


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_a_split_is_found_where_its_archives_put_it(name, split, roots):
    data = open_split(name, str(roots(name)), split)
    assert names(data) == MINIATURES[name].splits[split]
    check_classes(name, data)


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_a_split_is_read_from_a_zip_as_it_is(name, split, roots, tmp_path):
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(roots(name).rglob("*")):
            file.write(path, path.relative_to(roots(name)))
    data = open_split(name, str(archive), split)
    assert names(data) == MINIATURES[name].splits[split]
    check_classes(name, data)


@pytest.mark.parametrize("name", [name for name in NAMES if DATASETS[name].inside])
def test_the_root_may_be_a_folder_inside(name, roots):
    declaration = DATASETS[name]
    split = next(iter(MINIATURES[name].splits))
    inner = roots(name)
    for part in declaration.inside.split("/"):
        inner = inner / part if (inner / part).is_dir() else inner
        assert names(open_split(name, str(inner), split)) == MINIATURES[name].splits[split]


@pytest.mark.parametrize("name", NAMES)
def test_anomalies_are_told_apart(name, roots):
    miniature = MINIATURES[name]
    for split in miniature.splits:
        data = open_split(name, str(roots(name)), split)
        if not miniature.anomalies:
            assert data.anomalies is None
            continue
        assert data.anomalies is not None
        assert names(data.anomalies) == names(data)
        target = data.anomalies.target(0)
        assert target.shape == data.target(0).shape
        assert set(np.unique(target).tolist()) <= set(miniature.anomalies.values())
        known = data.target(0) != IGNORE
        if data.labels.classes != data.anomalies.labels.classes:
            assert not target[known].any()  # what has a class is in distribution
    if miniature.anomalies:
        assert {0, 1} <= set(np.unique(target).tolist())


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_is_told_of_in_one_line(name, tmp_path):
    split = next(iter(DATASETS[name].splits))
    with pytest.raises(DataError) as caught:
        open_split(name, str(tmp_path), split)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{tmp_path}: no {split} split of {name} here, without ")
    assert f"segue download {name}" in message


@pytest.mark.parametrize("name", NAMES)
def test_a_split_that_there_is_not_is_told_of(name, tmp_path):
    with pytest.raises(DataError, match=f"{name} has no split 'trian'; it has {next(iter(DATASETS[name].splits))}"):
        open_split(name, str(tmp_path), "trian")
    for split in DATASETS[name].hidden:
        with pytest.raises(DataError, match=f"the masks of {split} are not public; "):
            open_split(name, str(tmp_path), split)


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_travels_to_another_process(name, roots):
    data = open_split(name, str(roots(name)), next(iter(DATASETS[name].splits)))
    again = pickle.loads(pickle.dumps(data))
    assert again.target(0).tolist() == data.target(0).tolist()


def test_a_picture_without_a_mask_is_named(roots, tmp_path):
    MINIATURES["ade20k"].write(tmp_path)
    annotations = tmp_path / "ADEChallengeData2016" / "annotations" / "training"
    (annotations / "ADE_train_00000002.png").unlink()
    with pytest.raises(DataError, match=r"images/training/ADE_train_00000002.jpg: has no mask ADE.*ing/.*00002.png; "):
        open_split("ade20k", str(tmp_path), "train")


def test_a_mask_without_a_picture_is_named(tmp_path):
    MINIATURES["cityscapes"].write(tmp_path)
    (tmp_path / "leftImg8bit" / "train" / "aachen" / "aachen_000001_000019_leftImg8bit.png").unlink()
    with pytest.raises(DataError, match=r"aachen_000001_000019_gtFine_labelIds.png: has no picture leftImg8bit/train/"):
        open_split("cityscapes", str(tmp_path), "train")


def test_a_name_that_a_list_has_and_no_file_is_told_of(tmp_path):
    MINIATURES["lip"].write(tmp_path)
    (tmp_path / "LIP" / "train_images" / "77_471474.jpg").unlink()
    with pytest.raises(DataError, match=r"train_id.txt: lists 77_471474, which has no picture LIP/train_images/77_"):
        open_split("lip", str(tmp_path), "train")


def test_what_is_missing_is_said_and_what_is_there_is_not(tmp_path):
    MINIATURES["cityscapes"].write(tmp_path)
    (tmp_path / "gtFine").rename(tmp_path / "gt")
    with pytest.raises(DataError, match=r"no val split of cityscapes here, without gtFine/val; name"):
        open_split("cityscapes", str(tmp_path), "val")


def test_a_value_that_no_class_has_is_told_of(tmp_path):
    MINIATURES["coco_stuff_164k"].write(tmp_path)
    mask = tmp_path / "stuffthingmaps" / "train2017" / "000000000009.png"
    Image.fromarray(np.full((HEIGHT, WIDTH), 11, np.uint8)).save(mask)  # street sign, one of the empty ids
    data = open_split("coco_stuff_164k", str(tmp_path), "train")
    with pytest.raises(
        DataError, match=r"000000000009.png: pixel \(0, 0\) has label 11, which none of the 171 classes"
    ):
        data.target(0)


def test_hidden_files_are_no_pictures(tmp_path):
    MINIATURES["ade20k"].write(tmp_path)
    (tmp_path / "ADEChallengeData2016" / "images" / "training" / "._ADE_train_00000001.jpg").write_bytes(b"\0")
    assert len(open_split("ade20k", str(tmp_path), "train")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if "train" in MINIATURES[name].splits or name == "nyudv2"])
def test_every_data_set_trains(name, roots, tmp_path):
    from segue import recipe as recipes
    from segue import run
    from segue.model import load, mask_image

    recipe = recipes.from_dict(
        {
            "network": "unet",
            "model": {"channels": [4, 8]},
            "data": {"name": name, "root": str(roots(name)), "workers": 0, "val": "train"},
            "training": {"steps": 1, "batch": 1, "precision": "float32"},
        },
        "the test",
    )
    if name == "nyudv2":
        recipe = recipes.override(recipe, {"training": {"validation_batch": 64}}, "the test")
    finished = run.begin(recipe, out=str(tmp_path / "run"))
    model = load(finished.folder)
    assert model.labels == DATASETS[name].labels
    data = open_split(name, str(roots(name)), "train")
    image = data.image(0)
    predicted = model.predict(image).labels
    mask_image(predicted, model.labels).save(tmp_path / "predicted.png")
    assert np.array_equal(read_target(tmp_path / "predicted.png", data.labels), predicted)
