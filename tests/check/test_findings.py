"""Each kind of finding, on a folder that has nothing else wrong with it."""

import base64
import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segue import cli
from segue.check import check
from segue.check.checking import class_rows
from segue.data.folder import in_validation
from segue.data.sharding import shard_splits
from segue.errors import DataError
from segue.progress import ProgressLine

RNG = np.random.default_rng(0)


def scene(height: int = 48, width: int = 64, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A picture unlike any other, and its mask: a square of each class on class 0."""
    mask = np.zeros((height, width), dtype=np.uint8)
    for label in range(1, classes):
        top, left = RNG.integers(0, height - 14), RNG.integers(0, width - 14)
        mask[top : top + 14, left : left + 14] = label
    mask[: classes * 2, :6] = np.arange(classes).repeat(2)[:, None]  # every class is in every mask
    coarse = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture), mask


def save(path: Path, array: np.ndarray, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **how)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A sound folder: 8 training pictures and 4 for validation."""
    monkeypatch.chdir(tmp_path)
    for split, count in (("train", 8), ("val", 4)):
        for index in range(count):
            picture, mask = scene()
            save(tmp_path / "data" / split / "images" / f"{index:03d}.png", picture)
            save(tmp_path / "data" / split / "masks" / f"{index:03d}.png", mask)
    return tmp_path / "data"


def findings(folder: Path) -> dict[str, tuple[bool, str]]:
    checked = check(str(folder), workers=1)
    return {one.kind: (one.grave, one.sentence) for one in checked.findings}


def only(folder: Path, kind: str) -> tuple[bool, str]:
    found = findings(folder)
    assert list(found) == [kind]
    return found[kind]


def test_a_sound_folder_has_nothing_wrong(folder):
    assert findings(folder) == {}


def test_pictures_without_a_mask_are_counted_and_the_first_is_named(folder):
    for index in (2, 5, 6):
        (folder / "train" / "masks" / f"00{index}.png").unlink()
    grave, sentence = only(folder, "Pictures without a mask")
    assert grave
    assert sentence == (f"{folder}/train/images/002.png: has no mask (and 2 others); add it, or take the picture out")


def test_a_mask_without_a_picture_is_named(folder):
    (folder / "val" / "images" / "001.png").unlink()
    grave, sentence = only(folder, "Masks without a picture")
    assert grave
    assert sentence == f"{folder}/val/masks/001.png: has no picture; add the picture, or take the mask out"


def test_two_files_of_one_name_are_named(folder):
    save(folder / "train" / "images" / "003.bmp", scene()[0])
    grave, sentence = only(folder, "Two files of one name")
    assert grave
    assert "003.png: has the same name as 003.bmp; one of the two must go" in sentence


def test_a_truncated_picture_is_named_and_the_others_are_still_looked_at(folder):
    path = folder / "train" / "images" / "004.png"
    path.write_bytes(path.read_bytes()[:800])
    (folder / "val" / "masks" / "002.png").write_bytes(b"nothing")
    grave, sentence = only(folder, "Files that cannot be read")
    assert grave
    assert sentence.startswith(f"{path}: cannot be decoded (")
    assert "and 1 more cannot be read" in sentence


@pytest.mark.parametrize("quality", [50, 95])
def test_a_truncated_jpeg_is_found_though_it_is_decoded_small(folder, quality):
    picture, _ = scene(256, 256)
    path = save(folder / "train" / "images" / "001.jpg", picture, quality=quality)
    (folder / "train" / "images" / "001.png").unlink()
    save(folder / "train" / "masks" / "001.png", np.arange(256 * 256).reshape(256, 256).astype(np.uint8) % 3)
    assert findings(folder) == {}
    path.write_bytes(path.read_bytes()[:-200])
    assert only(folder, "Files that cannot be read")[1].startswith(f"{path}: cannot be decoded (")


def test_a_mask_of_another_size_is_named_with_both_sizes(folder):
    save(folder / "train" / "masks" / "003.png", scene(24, 32)[1])
    grave, sentence = only(folder, "Sizes that differ")
    assert grave
    assert "train/images/003.png: picture 64x48, mask 32x24 (width x height); make them the same size" in sentence


def test_a_picture_that_its_tag_turns_away_from_its_mask_is_named(folder):
    picture, mask = scene(48, 64)
    save(folder / "train" / "images" / "003.png", picture, exif=_tag(6))
    save(folder / "train" / "masks" / "003.png", mask)
    grave, sentence = only(folder, "Masks that were not turned with their pictures")
    assert grave
    assert "003.png: its EXIF tag turns it by a quarter, but its mask lies as the camera held it" in sentence


def test_a_mask_drawn_on_the_turned_picture_is_fine(folder):
    picture, mask = scene(48, 64)
    save(folder / "train" / "images" / "003.png", picture, exif=_tag(6))
    save(folder / "train" / "masks" / "003.png", np.rot90(mask, -1))
    assert findings(folder) == {}


def test_a_picture_that_its_tag_turns_upside_down_is_doubtful(folder):
    save(folder / "train" / "images" / "003.png", scene()[0], exif=_tag(3))
    grave, sentence = only(folder, "EXIF tags that the mask does not have")
    assert not grave
    assert "train/images/003.png: its EXIF tag turns or mirrors it, its mask has none" in sentence


def _tag(turned: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = turned
    return exif


def test_masks_saved_as_jpeg_are_named_and_stop_training(folder):
    for index in range(2):
        (folder / "train" / "masks" / f"00{index}.png").unlink()
        _, mask = scene(48, 64)
        save(folder / "train" / "masks" / f"00{index}.jpg", mask * 100, quality=80)
    found = findings(folder)
    grave, sentence = found["Masks with blurred edges"]
    assert grave
    assert "since JPEG changes labels (and 1 other); export masks as PNG" in sentence


def test_a_smoothed_mask_is_named(folder):
    mask = Image.fromarray(scene()[1] * 80).resize((32, 24), Image.Resampling.BILINEAR).resize((64, 48))
    mask.save(folder / "val" / "masks" / "003.png")
    found = findings(folder)
    grave, sentence = found["Masks with blurred edges"]
    assert grave
    assert f"{folder}/val/masks/003.png: holds" in sentence
    assert "since it was smoothed" in sentence


def test_smoothed_masks_alone_are_one_finding(folder):
    for path in folder.glob("*/masks/*.png"):
        save(path, np.asarray(Image.fromarray(scene()[1] * 80).resize((32, 24), Image.Resampling.BILINEAR)))
        save(folder / path.parent.parent / "images" / path.name, scene(24, 32)[0])
    grave, sentence = findings(folder)["Masks with blurred edges"]
    assert grave
    assert "(and 11 others)" in sentence
    assert "Not understood" not in findings(folder)


def test_foreground_of_1_and_of_255_is_told(folder):
    for index, path in enumerate(sorted(folder.glob("*/masks/*.png"))):
        save(path, (scene(classes=2)[1] * (255 if index in (2, 5) else 1)).astype(np.uint8))
    grave, sentence = only(folder, "Foreground that is 1 in some masks and 255 in others")
    assert grave
    assert f"{folder}/train/masks/002.png: holds 255 but no 1 (and 1 other)" in sentence


def test_255_beside_1_is_ignored_as_ever(folder):
    for path in folder.glob("*/masks/*.png"):
        mask = scene(classes=2)[1]
        mask[-1] = 255
        save(path, mask)
    assert not findings(folder)


def test_a_split_that_chance_left_empty_is_grave(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [name for name in map(str, range(9)) if not in_validation(name)][:3]
    for name in names:
        picture, mask = scene()
        save(tmp_path / "few" / "images" / f"{name}.png", picture)
        save(tmp_path / "few" / "masks" / f"{name}.png", mask)
    grave, sentence = only(tmp_path / "few", "Empty split")
    assert grave
    assert "val holds no picture with a mask; add some, or make train/ and val/ folders" in sentence


def test_a_value_that_no_class_has_is_named_with_its_pixels(folder):
    _, mask = scene()
    mask[5, 7:10] = 200
    save(folder / "val" / "masks" / "001.png", mask)
    grave, sentence = only(folder, "Values that are no class")
    assert grave
    assert "val/masks/001.png: holds 200 at 3 pixels, which none of the 3 classes has" in sentence
    assert "[data.map]" in sentence


def test_a_map_says_what_values_mean_as_in_a_recipe(folder, capsys):
    for split in ("train", "val"):
        for file in (folder / split / "masks").iterdir():
            mask = np.asarray(Image.open(file))
            save(file, np.array([9, 70, 200], dtype=np.uint8)[mask])
    words = ["check", str(folder), "--workers", "1", "--map.9", "255", "--map.70", "1", "--map.200", "0"]
    cli.main([*words, "--classes", "near", "far"])
    out = capsys.readouterr().out
    assert "masks of values, mapped by [data.map]" in out
    assert Path("checks/data/classes.csv").read_text().splitlines()[1].startswith("0,near,")
    with pytest.raises(SystemExit) as stop:
        cli.main([*words[:-2]])  # 200 is then none
    assert stop.value.code == 1
    assert "holds 200 at" in capsys.readouterr().out


def test_names_of_classes_may_be_given(folder):
    checked = check(str(folder), workers=1, classes=("ground", "box", "square"))
    assert checked.found.labels.classes == ("ground", "box", "square")
    assert not checked.findings


def test_a_data_set_by_name_takes_no_map(tmp_path):
    with pytest.raises(DataError, match="camvid declares its classes itself"):
        check("camvid", str(tmp_path), values={0: 255})


def test_one_mask_that_names_do_not_fit_is_told_and_the_others_are_understood(folder):
    (folder / "classes.txt").write_text("ground\nbox\nsquare\n")
    _, mask = scene()
    mask[5:9, 7:10] = 77
    save(folder / "train" / "masks" / "001.png", mask)
    grave, sentence = only(folder, "Values that are no class")
    assert grave
    assert "train/masks/001.png: holds 77 at 12 pixels, which none of the 3 classes has" in sentence


def test_a_mask_of_ignored_pixels_alone_is_doubtful_until_all_are(folder):
    save(folder / "train" / "masks" / "002.png", np.full((48, 64), 255, dtype=np.uint8))
    grave, sentence = only(folder, "Masks of ignored pixels alone")
    assert not grave
    assert "train/masks/002.png: holds nothing but ignored pixels; finish it" in sentence


def test_a_mask_that_is_mostly_ignored_is_told_of(folder):
    mask = np.full((48, 64), 255, dtype=np.uint8)
    mask[0, :3] = (0, 1, 2)
    save(folder / "train" / "masks" / "002.png", mask)
    assert not only(folder, "Masks of hardly anything but ignored pixels")[0]


def test_the_same_picture_in_two_splits_is_grave(folder):
    picture = (folder / "train" / "images" / "001.png").read_bytes()
    (folder / "val" / "images" / "003.png").write_bytes(picture)
    grave, sentence = only(folder, "The same picture in two splits")
    assert grave
    assert f"{folder}/train/images/001.png: is also in val, as {folder}/val/images/003.png" in sentence


def test_a_picture_encoded_anew_is_known_again(folder):
    with Image.open(folder / "train" / "images" / "001.png") as file:
        larger = file.convert("RGB").resize((96, 72), Image.Resampling.LANCZOS)
    larger.save(folder / "val" / "images" / "003.jpg", quality=80)
    (folder / "val" / "images" / "003.png").unlink()
    save(folder / "val" / "masks" / "003.png", scene(72, 96)[1])
    grave, sentence = only(folder, "Pictures in two splits that look the same")
    assert not grave
    assert "train/images/001.png: looks like" in sentence
    assert "val/images/003.jpg, which is in val" in sentence


def test_the_same_picture_with_two_masks_is_told_of(folder):
    picture = (folder / "train" / "images" / "001.png").read_bytes()
    (folder / "train" / "images" / "003.png").write_bytes(picture)
    assert "their masks differ" not in findings(folder)
    grave, sentence = only(folder, "The same picture with different masks")
    assert not grave
    assert sentence.endswith("keep the right mask")
    mask = (folder / "train" / "masks" / "001.png").read_bytes()
    (folder / "train" / "masks" / "003.png").write_bytes(mask)
    assert only(folder, "The same picture twice")[1].endswith("take one out")


def test_a_class_that_a_split_lacks_is_told_of(folder):
    for path in (folder / "val" / "masks").iterdir():
        save(path, np.minimum(np.asarray(Image.open(path)), 1))
    _, sentence = only(folder, "Classes that val lacks")
    assert sentence.startswith("class 2: does not occur in val")


def test_a_class_that_training_does_not_show_is_told_of(folder):
    (folder / "classes.txt").write_text("ground\nbox\nsquare\nnever\n")
    for path in (folder / "train" / "masks").iterdir():
        save(path, np.minimum(np.asarray(Image.open(path)), 1))
    found = findings(folder)
    assert found["Classes that training does not show"][1].startswith(
        "square: occurs in other splits, but not in train"
    )
    assert found["Classes that do not occur"][1].startswith("never: occurs in no mask")
    assert not any(grave for grave, _ in found.values())


def test_rare_classes_are_told_of_with_their_share(folder):
    for path in (folder / "train" / "masks").iterdir():
        mask = np.asarray(Image.open(path)).copy()
        mask[mask == 2] = 0
        save(path, mask)
    mask[0, 0] = 2
    save(path, mask)
    _, sentence = only(folder, "Rare classes")
    assert sentence.startswith("class 2: has 0.0041% of the training pixels, in 1 picture of 8")  # 1 of 8 * 48 * 64


def test_tiny_pictures_are_told_of(folder):
    picture, mask = scene(20, 30)
    save(folder / "train" / "images" / "002.png", picture)
    save(folder / "train" / "masks" / "002.png", mask)
    grave, sentence = only(folder, "Tiny pictures")
    assert not grave
    assert "train/images/002.png: is 30x20" in sentence


def test_pictures_of_another_kind_than_most_are_named(folder):
    save(folder / "train" / "images" / "002.png", RNG.integers(0, 60_000, (48, 64)).astype(np.uint16))
    grave, sentence = only(folder, "Pictures of different kinds")
    assert grave
    assert "002.png: has 1 channels of uint16, where most have 3 of uint8" in sentence


def test_masks_of_colours_beside_masks_of_values_are_not_understood(folder):
    save(folder / "train" / "masks" / "002.png", np.zeros((48, 64, 3), dtype=np.uint8))
    grave, sentence = findings(folder)["Not understood"]
    assert grave
    assert "002.png one of colours; save all masks alike" in sentence


def test_the_page_shows_the_findings_with_pictures_and_needs_no_network(folder, tmp_path):
    _, mask = scene()
    mask[5, 7:10] = 200
    save(folder / "val" / "masks" / "001.png", mask)
    checked = check(str(folder), out=str(tmp_path / "told"), workers=1)
    page = checked.page.read_text()
    assert page.count("data:image/jpeg;base64,") == 1
    assert "holds 200 at 3 pixels" in page
    assert "http" not in page.replace("http-equiv", "")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "told" / "findings.csv").read_text())))
    assert [row["grave"] for row in rows] == ["yes"]
    assert rows[0]["file"].endswith("val/masks/001.png")
    with Image.open(tmp_path / "told" / "classes.png") as picture:
        assert picture.width >= 640
    shares = list(csv.DictReader(io.StringIO((tmp_path / "told" / "classes.csv").read_text())))
    assert [row["name"] for row in shares] == ["class 0", "class 1", "class 2", "ignored"]


def test_the_page_shows_a_picture_though_the_first_of_its_split_is_broken(folder):
    (folder / "train" / "images" / "000.png").write_bytes(b"broken")
    save(folder / "train" / "masks" / "003.png", scene(24, 32)[1])
    page = check(str(folder), workers=1).page.read_text()
    address = page.split("data:image/jpeg;base64,")[1].split('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(address))) as both:
        assert both.width == 2 * 156 + 4  # picture and mask


def test_the_exit_code_is_0_1_or_2(folder, capsys):
    def code(*words: str) -> int:
        try:
            cli.main(["check", *words, "--workers", "1"])
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    assert code(str(folder)) == 0
    assert "Nothing is wrong." in capsys.readouterr().out
    (folder / "train" / "masks" / "002.png").unlink()
    assert code(str(folder)) == 1
    assert "wrong  " in capsys.readouterr().out
    assert code(str(folder / "nowhere")) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert code("camvid") == 2
    assert "say where it lies with --root" in capsys.readouterr().err


def test_a_folder_without_split_folders_is_checked_in_its_two_parts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for index in range(12):
        picture, mask = scene()
        save(tmp_path / "all" / "images" / f"{index}.png", picture)
        save(tmp_path / "all" / "masks" / f"{index}.png", mask)
    (tmp_path / "all" / "masks" / "7.png").unlink()
    checked = check(str(tmp_path / "all"), workers=1)
    assert {split.name: len(split.data) for split in checked.found.splits} == {
        "train": sum(not in_validation(str(i)) for i in range(12) if i != 7),
        "val": sum(in_validation(str(i)) for i in range(12) if i != 7),
    }
    assert [one.sentence.count(" other") for one in checked.findings] == [0]


def test_an_archive_is_checked_as_it_is_by_several_processes(folder, tmp_path):
    for index in range(8, 40):
        picture, mask = scene()
        save(folder / "train" / "images" / f"{index:03d}.png", picture)
        save(folder / "train" / "masks" / f"{index:03d}.png", mask)
    (folder / "train" / "images" / "020.png").write_bytes(b"broken")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, Path("set") / path.relative_to(folder))
    alone, together = check(str(folder), workers=1), check(str(tmp_path / "set.zip"), workers=2)
    told = [one.sentence.replace(f"{tmp_path}/set.zip/set", str(folder)) for one in together.findings]
    assert told == [one.sentence for one in alone.findings]
    assert len(told) == 1
    assert [split.labelled.tolist() for split in together.found.splits] == [
        split.labelled.tolist() for split in alone.found.splits
    ]


def test_splits_that_are_parts_of_one_another_by_design_hold_no_copies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    lists = voc / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name in "abcd":
        picture, mask = scene()
        save(voc / "JPEGImages" / f"{name}.jpg", picture)
        save(voc / "SegmentationClass" / f"{name}.png", mask)
    for split, names in (("train", "ab"), ("val", "cd"), ("trainval", "abcd")):
        (lists / f"{split}.txt").write_text("\n".join(names))
    checked = check("voc2012", str(tmp_path), workers=1)
    assert checked.grave == 0
    kinds = {one.kind: one.sentence for one in checked.findings}
    assert set(kinds) == {"Splits that are not here", "Classes that do not occur"}
    assert "no trainaug split of voc2012 here" in kinds["Splits that are not here"]
    (voc / "JPEGImages" / "c.jpg").write_bytes((voc / "JPEGImages" / "a.jpg").read_bytes())
    found = {one.kind: one.sentence for one in check("voc2012", str(tmp_path), workers=1).findings}
    assert "JPEGImages/a.jpg: is also in val, as" in found["The same picture in two splits"]


def test_masks_that_are_no_files_are_counted_by_their_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, values in (("train-volume", None), ("train-labels", (0, 255))):
        pages = [
            Image.fromarray(scene()[0][..., 0] if values is None else scene(classes=2)[1] * 255) for _ in range(30)
        ]
        pages[0].save(tmp_path / f"{name}.tif", save_all=True, append_images=pages[1:])
    checked = check("isbi2012", str(tmp_path), workers=1)
    assert checked.findings == ()
    assert all(float(row[2].rstrip("%")) > 1 for row in class_rows(checked.found)[:2])


def test_tar_shards_are_checked(folder):
    picture = (folder / "train" / "images" / "001.png").read_bytes()
    (folder / "val" / "images" / "003.png").write_bytes(picture)
    for _ in shard_splits(str(folder), "", (), Path("shards"), 10**6, ProgressLine(every_in_file=0)):
        pass
    checked = check("shards", workers=1)
    assert {split.name: len(split.data) for split in checked.found.splits} == {"train": 8, "val": 4}
    assert {one.kind for one in checked.findings} == {"Pictures in two splits that look the same"}
