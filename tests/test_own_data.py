"""Own data in every form, from the command line: trained on for two steps, evaluated, predicted, converted."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segue
from segue import cli
from segue.data import open_split
from segue.data.folder import understood
from segue.data.places import place
from tests.data.own import (
    COLOURS,
    coco_folder,
    labelme_folder,
    masks,
    picture_files,
    picture_of,
    save,
    yolo_folder,
)

QUICK = [
    "--training.steps", "2", "--training.batch", "2", "--augment.crop", "32", "32",
    "--training.precision", "float32", "--model.width", "0.125",
]  # fmt: skip
MADE = masks(12)


@pytest.fixture(autouse=True)
def place_to_train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train(data: Path, *words: str, workers: int = 0) -> Path:
    cli.main(["train", "unet", "--data", str(data), "--out", "run", "--data.workers", str(workers), *QUICK, *words])
    return Path("run")


def told(run: Path) -> dict[str, object]:
    return json.loads((run / "data.json").read_text())


def coloured_folder(root: Path) -> Path:
    table = np.array(list(COLOURS.values()), dtype=np.uint8)
    picture_files(root, MADE, lambda mask: table[mask])
    (root / "label_colors.txt").write_text("0 0 0 Void\n128 64 128 road\n0 128 192 car\n")
    return root


def test_colours_with_their_names_are_trained_on_and_predicted_as_colours(tmp_path, capsys):
    run = train(coloured_folder(tmp_path / "data"))
    said = capsys.readouterr().err
    assert "data: pictures and masks in images and masks: train 10, val 2" in said
    assert "masks of colours, named in label_colors.txt; #000000 ignored" in said
    assert told(run)["labels"]["classes"] == ["road", "car"]
    assert segue.load(run, "cpu").labels.classes == ("road", "car")
    cli.main(["predict", str(run), "data/images/03.png", "--out", "masks"])
    with Image.open("masks/03.png") as file:
        assert {colour for _, colour in file.convert("RGB").getcolors()} <= {COLOURS[1], COLOURS[2]}
        assert file.mode == "RGB"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "classes"),
    [
        (coco_folder, ["background", "train", "dog"]),
        (labelme_folder, ["background", "car", "road"]),
        (yolo_folder, ["background", "road", "car"]),
    ],
)
def test_annotations_are_trained_on_and_evaluated(tmp_path, make, classes):
    run = train(make(tmp_path / "data", MADE))
    assert told(run)["labels"]["classes"] == classes
    cli.main(["evaluate", str(run)])
    assert (run / "evaluation" / "val" / "metrics.json").is_file()
    cli.main(["train", "--resume", str(run), "--training.steps", "3", "--change-recipe"])
    assert told(run)["labels"]["classes"] == classes


@pytest.mark.slow
def test_an_archive_is_trained_on_by_worker_processes(tmp_path):
    root = picture_files(tmp_path / "mine", MADE, lambda mask: mask)
    with zipfile.ZipFile(tmp_path / "mine.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in root.rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path))
    run = train(tmp_path / "mine.zip", workers=2)
    assert told(run)["labels"]["classes"] == ["class 0", "class 1", "class 2"]


@pytest.mark.slow
def test_pictures_of_four_channels_of_16_bits_are_trained_on_evaluated_and_predicted(tmp_path, capsys):
    tifffile = pytest.importorskip("tifffile")
    for index, mask in enumerate(MADE):
        pixels = picture_of(mask, 4).astype(np.uint16) * 16
        path = tmp_path / "data" / "images" / f"{index:02d}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig", compression="deflate")
        save(tmp_path / "data" / "masks" / f"{index:02d}.png", mask)
    run = train(tmp_path / "data")
    assert "pictures of 4 channels of 16 bits: mean" in capsys.readouterr().err
    model = segue.load(run, "cpu")
    assert len(model.preprocessing.mean) == 4
    every = np.stack([tifffile.imread(path) for path in sorted((tmp_path / "data" / "images").iterdir())])
    assert np.abs(np.array(model.preprocessing.mean) / every.mean(axis=(0, 1, 2)) - 1).max() < 0.05
    cli.main(["evaluate", str(run)])
    cli.main(["predict", str(run), "data/images/03.tif", "--out", "masks"])
    with Image.open("masks/overlays/03.jpg") as overlay:
        assert overlay.size == (64, 48)
    save(tmp_path / "colour.png", picture_of(MADE[0]))
    with pytest.raises(SystemExit) as stop:
        cli.main(["predict", str(run), "colour.png", "--out", "masks"])
    assert stop.value.code == 1  # of the pictures, some could not be predicted
    assert "colour.png: has 3 channels, where the network takes 4" in capsys.readouterr().err


def test_a_mean_of_another_number_of_channels_is_one_line(tmp_path, capsys):
    picture_files(tmp_path / "data", MADE, lambda mask: mask)
    with pytest.raises(SystemExit):
        train(tmp_path / "data", "--data.mean", "1", "--data.std", "1")
    assert "data.mean has 1 numbers, but the pictures 3 channels" in capsys.readouterr().err


@pytest.mark.parametrize("make", [coco_folder, labelme_folder, yolo_folder])
def test_annotations_are_converted_to_index_masks_that_mean_the_same(tmp_path, make, capsys):
    make(tmp_path / "data", MADE)
    cli.main(["data", "convert", "data", "out"])
    assert "use it with: --data out" in capsys.readouterr().out
    before, after = understood(place("data")).labels, understood(place("out")).labels
    assert after.classes == before.classes
    for split in ("train", "val"):
        one, other = (open_split(name, "", split, labels) for name, labels in (("data", before), ("out", after)))
        assert [one.name(i) for i in range(len(one))] == [other.name(i) for i in range(len(other))]
        assert all(np.array_equal(one.target(i), other.target(i)) for i in range(len(one)))
        assert all(np.array_equal(one.image(i), other.image(i)) for i in range(len(one)))
    with Image.open(next(Path("out/train/masks").iterdir())) as file:
        assert file.mode == "P"


def test_colours_are_converted_and_what_is_ignored_stays_so(tmp_path):
    coloured_folder(tmp_path / "data")
    cli.main(["data", "convert", "data", "out"])
    assert Path("out/classes.txt").read_text() == "road\ncar\n"
    raw = np.asarray(Image.open(sorted(Path("out/train/masks").iterdir())[0]))
    assert set(np.unique(raw)) == {0, 1, 255}


def test_a_conversion_that_fails_leaves_nothing_behind(tmp_path, capsys):
    picture_files(tmp_path / "data", MADE, lambda mask: mask)
    (tmp_path / "data" / "images" / "07.png").write_bytes(b"broken")
    with pytest.raises(SystemExit) as stop:
        cli.main(["data", "convert", "data", "out"])
    assert stop.value.code == 2
    assert "07.png: cannot be decoded" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note.txt").write_text("mine")
    with pytest.raises(SystemExit):
        cli.main(["data", "convert", "data", "out"])
    assert "out: is there already; name a new folder" in capsys.readouterr().err
