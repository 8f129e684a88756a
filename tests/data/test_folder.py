import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segue.cli import main
from segue.data import open_split
from segue.data.folder import folder_labels, in_validation, open_folder
from segue.data.loading import TrainingSamples, WholePictures
from segue.data.transforms import Augmentation
from segue.errors import DataError
from segue.labels import IGNORE, Labels
from tests.toy import toy, write_pictures

TWO = Labels(classes=("a", "b"))


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def plain(root: Path, count: int = 20) -> Path:
    write_pictures(root, "all", count)
    for name in ("images", "masks"):
        (root / "all" / name).rename(root / name)
    (root / "all").rmdir()
    return root


LAYOUTS = ("{split}/images {split}/masks", "images/{split} masks/{split}", "{split} {split}annot")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_found(tmp_path, layout):
    made = toy(tmp_path / "made")
    for split in ("train", "val"):
        for kind, place in zip(("images", "masks"), layout.format(split=split).split(), strict=True):
            target = tmp_path / "data" / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(made / split / kind, target, dirs_exist_ok=True)
    data = open_folder(tmp_path / "data", "train")
    assert len(data) == 15
    assert len(open_folder(tmp_path / "data", "val")) == 5
    assert data.target(0).shape == (48, 64)


def test_a_folder_without_splits_is_split_by_name(tmp_path):
    root = plain(tmp_path)
    train, val = open_folder(root, "train"), open_folder(root, "val")
    assert len(train) + len(val) == 20
    assert [val.name(i) for i in range(len(val))] == [f"{i:03d}" for i in range(20) if in_validation(f"{i:03d}")]
    with pytest.raises(DataError, match="has no test split"):
        open_folder(root, "test")


def test_a_picture_stays_on_its_side_when_others_come(tmp_path):
    before = {name for i in range(200) if in_validation(name := f"img{i}")}
    assert 20 < len(before) < 60
    assert all(in_validation(name) for name in before)


def test_masks_may_have_an_ending(tmp_path):
    root = plain(tmp_path)
    for path in list((root / "masks").iterdir()):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    assert len(open_folder(root, "train")) > 0


def test_masks_of_0_and_255_are_background_and_foreground(tmp_path):
    root = plain(tmp_path)
    for path in (root / "masks").iterdir():
        save(path, ((np.asarray(Image.open(path)) > 0) * 255).astype(np.uint8))
    labels = folder_labels(root)
    assert labels.classes == ("background", "foreground")
    assert labels.read(np.array([0, 255], dtype=np.uint8)).tolist() == [0, 1]
    assert labels.write(np.array([0, 1], dtype=np.uint8)).tolist() == [0, 255]


def test_255_is_ignored_beside_other_classes(tmp_path):
    root = toy(tmp_path)
    path = root / "train" / "masks" / "000.png"
    changed = np.array(Image.open(path))
    changed[0, 0] = 255
    save(path, changed)
    assert open_folder(root, "train").target(0)[0, 0] == IGNORE
    assert folder_labels(root).classes == ("class 0", "class 1", "class 2")


def test_names_come_from_classes_txt(tmp_path):
    root = toy(tmp_path)
    (root / "classes.txt").write_text("ground\nsquare\nbox\n")
    assert folder_labels(root).classes == ("ground", "square", "box")


def test_the_recipes_map_is_taken_as_it_is(tmp_path):
    labels = folder_labels(toy(tmp_path), {0: 255, 1: 0, 2: 1}, ("square", "box"))
    assert open_folder(tmp_path, "train", labels).target(0).max() == IGNORE


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: there is no such folder"):
        open_split(str(tmp_path / "nowhere"), "", "train")


def test_an_unknown_data_set_offers_the_nearest():
    with pytest.raises(DataError, match="did you mean camvid"):
        open_split("camvit", "", "train")


def test_the_name_of_a_data_set_is_no_folder(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["data", "convert", "camvid", str(tmp_path / "out")])
    assert "camvid: is a data set by name, where a folder or a zip archive is wanted" in capsys.readouterr().err


def test_a_data_set_without_its_root_says_so():
    with pytest.raises(DataError, match="say where it lies with --root"):
        open_split("camvid", "", "train")


def test_a_picture_without_a_mask_is_named(tmp_path):
    root = toy(tmp_path)
    (root / "train" / "masks" / "003.png").unlink()
    with pytest.raises(DataError, match=r"images/003\.png: has no mask"):
        open_folder(root, "train", TWO)


def test_a_mask_without_a_picture_is_named(tmp_path):
    root = toy(tmp_path)
    (root / "train" / "images" / "003.png").unlink()
    with pytest.raises(DataError, match=r"masks/003\.png: has no picture"):
        open_folder(root, "train", TWO)


def test_two_pictures_of_one_name_are_refused(tmp_path):
    root = toy(tmp_path)
    shutil.copy(root / "train" / "images" / "003.png", root / "train" / "images" / "003.bmp")
    with pytest.raises(DataError, match="same name"):
        open_folder(root, "train", TWO)


def test_a_mask_of_another_size_is_named(tmp_path):
    root = toy(tmp_path)
    save(root / "val" / "masks" / "001.png", np.zeros((10, 12), dtype=np.uint8))
    with pytest.raises(DataError, match=r"/images/001\.png: the picture is 57x41, its mask 12x10"):
        WholePictures(open_folder(root, "val", TWO))[1]


def test_a_mask_that_lies_as_the_camera_held_it_is_told_apart(tmp_path):
    root = toy(tmp_path)
    save(root / "val" / "masks" / "001.png", np.zeros((57, 41), dtype=np.uint8))
    with pytest.raises(DataError, match="turn the mask as the picture's EXIF tag turns the picture"):
        WholePictures(open_folder(root, "val", TWO))[1]


def test_a_truncated_jpeg_is_named(tmp_path):
    root = toy(tmp_path)
    picture = root / "train" / "images" / "000.png"
    jpeg = picture.with_suffix(".jpg")
    Image.open(picture).save(jpeg)
    picture.unlink()
    jpeg.write_bytes(jpeg.read_bytes()[:700])
    data = open_folder(root, "train", Labels(classes=("a", "b", "c")))
    samples = TrainingSamples(data, Augmentation((32, 32)), seed=0)
    with pytest.raises(DataError, match=r"000\.jpg: cannot be decoded .*truncated"):
        [samples[position] for position in range(15)]


def test_a_mask_with_colours_is_named(tmp_path):
    root = toy(tmp_path)
    save(root / "val" / "masks" / "000.png", np.zeros((48, 64, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"000\.png: a mask of colours, where one value per pixel is needed"):
        open_folder(root, "val", TWO).target(0)


def test_a_label_outside_the_map_is_named_with_its_pixel(tmp_path):
    root = toy(tmp_path)
    wrong = np.zeros((48, 64), dtype=np.uint8)
    wrong[5, 7] = 9
    save(root / "val" / "masks" / "000.png", wrong)
    with pytest.raises(DataError, match=r"000\.png: pixel \(5, 7\) has label 9.*\[data\.map\]"):
        open_folder(root, "val", TWO).target(0)


def test_a_16_bit_mask_needs_a_map_of_its_values(tmp_path):
    root = toy(tmp_path)
    wide = np.full((48, 64), 300, dtype=np.uint16)
    save(root / "val" / "masks" / "000.png", wide)
    with pytest.raises(DataError, match=r"000\.png: a 16-bit mask \(values 300 to 300\)"):
        open_folder(root, "val", TWO).target(0)
    declared = Labels(classes=("a", "b"), values={300: 1, 0: 0})
    assert (open_folder(root, "val", declared).target(0) == 1).all()


def test_palette_masks_are_read_by_index(tmp_path):
    root = toy(tmp_path)
    path = root / "val" / "masks" / "000.png"
    with Image.open(path) as file:
        image = file.convert("L")
    before = np.asarray(image).copy()
    image.putpalette([200, 30, 60] * 256)
    image.save(path)
    with Image.open(path) as file:
        assert file.mode == "P"
    assert np.array_equal(open_folder(root, "val", Labels(classes=("a", "b", "c"))).target(0), before)
