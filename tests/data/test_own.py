"""What a folder is taken to be: kinds of masks, files that name classes, annotations, archives."""

import json
import shutil
import zipfile
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from segue.data import open_split
from segue.data.folder import in_validation, understand, understood
from segue.data.folder.class_table import read_class_table
from segue.data.folder.shapes import Area, draw, filled, run_lengths, unpacked_run_lengths
from segue.data.places import place
from segue.data.source import FileDataSet
from segue.errors import DataError
from segue.labels import IGNORE
from tests.data.own import (
    COLOURS,
    SIZE,
    coco_folder,
    corners,
    labelme_folder,
    masks,
    picture_files,
    picture_of,
    save,
    yolo_folder,
)

MADE = masks(12)


def targets(root: Path) -> dict[str, np.ndarray]:
    """name -> classes, of training and validation together."""
    labels = understood(place(root)).labels
    found = {}
    for split in ("train", "val"):
        data = open_split(str(root), "", split, labels)
        found |= {data.name(index): data.target(index) for index in range(len(data))}
    return found


def same(root: Path, *, names: str = "{:02d}") -> bool:
    found = targets(root)
    return len(found) == len(MADE) and all(
        np.array_equal(found[names.format(index)], mask) for index, mask in enumerate(MADE)
    )


def coloured(mask: np.ndarray) -> np.ndarray:
    table = np.array([COLOURS[label] for label in range(3)], dtype=np.uint8)
    return table[mask]


# Kinds of masks


def test_masks_of_values_count_up_from_0(tmp_path):
    root = picture_files(tmp_path, MADE, lambda mask: mask)
    known = understood(root)
    assert known.lines == (
        "pictures and masks in images and masks: train 10, val 2 (a fifth of the names validates)",
        "masks of values 0 to 2, each a class",
    )
    assert same(root)


def test_a_folder_of_few_names_says_that_chance_divided_it(tmp_path):
    validating = [name for name in (f"{index:03d}" for index in range(50)) if in_validation(name)]
    for name in (*validating[:3], "a"):
        save(tmp_path / "images" / f"{name}.png", picture_of(MADE[0]))
        save(tmp_path / "masks" / f"{name}.png", MADE[0])
    assert understood(tmp_path).lines[:2] == (
        "pictures and masks in images and masks: train 1, val 3 (a fifth of the names validates)",
        "so many validate by the chance of few names; make train/ and val/ folders to say which do",
    )


def test_a_folder_whose_names_all_validate_is_refused(tmp_path):
    name = next(name for name in (f"{index:03d}" for index in range(50)) if in_validation(name))
    save(tmp_path / "images" / f"{name}.png", picture_of(MADE[0]))
    save(tmp_path / "masks" / f"{name}.png", MADE[0])
    with pytest.raises(DataError, match=r"none falls into train; make train/ and val/ folders to say which do"):
        understood(tmp_path)


def test_colours_are_classes_without_a_file_that_names_them(tmp_path):
    root = picture_files(tmp_path, MADE, coloured)
    known = understood(root)
    assert known.labels.classes == ("#000000", "#0080c0", "#804080")  # by red, green and blue
    assert known.lines[1] == "masks of colours, each colour a class"
    order = np.array([0, 2, 1], dtype=np.uint8)
    assert all(np.array_equal(found, order[MADE[int(name)]]) for name, found in targets(root).items())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("label_colors.txt", "0 0 0\tVoid\n128 64 128\troad\n0 128 192\tcar\n7 7 7\tnever\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nvoid:0,0,0::\nroad:128,64,128::\ncar:0,128,192::\n"),
        ("class_dict.csv", "name,r,g,b\nVoid,0,0,0\nroad,128,64,128\ncar,0,128,192\n"),
        ("classes.json", '{"void": [0, 0, 0], "road": "#804080", "car": [0, 128, 192]}'),
        (
            "classes.json",
            '[{"name": "unlabelled", "color": [0, 0, 0]}, {"name": "road", "color": [128, 64, 128]},'
            ' {"name": "car", "color": [0, 128, 192]}]',
        ),
    ],
)
def test_files_that_give_colours_names_are_read(tmp_path, name, text):
    root = picture_files(tmp_path, MADE, coloured)
    (root / name).write_text(text)
    known = understood(root)
    assert known.labels.classes[:2] == ("road", "car")
    assert known.labels.palette[:2] == ((128, 64, 128), (0, 128, 192))
    assert "#000000 ignored" in known.lines[1]
    order = np.array([IGNORE, 0, 1], dtype=np.uint8)
    assert all(np.array_equal(found, order[MADE[int(name)]]) for name, found in targets(root).items())
    raw = coloured(MADE[0])
    assert np.array_equal(known.labels.write(known.labels.read(raw)), raw)


def test_a_colour_that_the_file_does_not_name_is_told_with_its_share(tmp_path):
    root = picture_files(tmp_path, MADE, coloured)
    (root / "classes.txt").write_text("0 0 0 ground\n128 64 128 road\n")
    with pytest.raises(DataError, match=r"the colour \(0, 128, 192\) that classes.txt does not name \(4\.69% of all"):
        understood(root)  # 12 * 12 of 48 * 64


def test_grey_saved_as_red_green_and_blue_is_read_as_values(tmp_path):
    root = picture_files(tmp_path, MADE, lambda mask: np.repeat(mask[..., None], 3, axis=2))
    (root / "classes.txt").write_text("ground\nroad\ncar\n")
    known = understood(root)
    assert known.labels.classes == ("ground", "road", "car")
    assert known.lines[1].endswith("(red, green and blue alike)")
    assert same(root)
    assert known.labels.write(MADE[0]).shape == (*SIZE, 3)


def test_binary_masks_saved_as_red_green_and_blue_are_background_and_foreground(tmp_path):
    root = picture_files(tmp_path, MADE, lambda mask: np.repeat((mask > 0)[..., None] * np.uint8(255), 3, axis=2))
    assert understood(root).labels.classes == ("background", "foreground")
    assert set(np.unique(np.stack(list(targets(root).values())))) == {0, 1}


def test_palette_masks_keep_their_colours_and_are_read_by_index(tmp_path):
    root = picture_files(tmp_path, MADE, lambda mask: mask)
    for path in (root / "masks").iterdir():
        with Image.open(path) as file:
            picture = file.copy()
        picture.putpalette([channel for colour in COLOURS.values() for channel in colour])
        picture.save(path)
    known = understood(root)
    assert known.lines[1] == "palette masks of values 0 to 2, each a class"
    assert known.labels.palette == tuple(COLOURS.values())
    assert same(root)
    (root / "classes.txt").write_text("0 128 192 car\n128 64 128 road\n0 0 0 ground\n")  # colours decide, not the order
    assert understood(root).labels.classes == ("car", "road", "ground")
    assert understood(root).labels.values == {2: 0, 1: 1, 0: 2, 255: IGNORE}


def test_masks_of_16_bit_ids_give_each_id_a_class(tmp_path):
    ids = np.array([0, 1000, 33_001], dtype=np.uint16)
    root = picture_files(tmp_path, MADE, lambda mask: ids[mask])
    known = understood(root)
    assert known.labels.classes == ("value 0", "value 1000", "value 33001")
    assert known.lines[1] == "16-bit masks of 3 values, each a class"
    assert same(root)
    assert np.array_equal(known.labels.write(MADE[0]), ids[MADE[0]])


def test_grey_levels_in_even_steps_are_classes_white_among_them(tmp_path):
    levels = np.array([0, 128, 255], dtype=np.uint8)
    root = picture_files(tmp_path, MADE, lambda mask: levels[mask])
    assert understood(root).labels.classes == ("value 0", "value 128", "value 255")
    assert same(root)


def test_255_is_ignored_and_so_is_a_class_called_void(tmp_path):
    root = picture_files(tmp_path, MADE, lambda mask: np.where(mask == 2, 255, mask).astype(np.uint8))
    assert understood(root).lines[1] == "masks of values 0 to 1, each a class; 255 ignored"
    shutil.rmtree(root / "masks")
    picture_files(root, MADE, lambda mask: mask)
    (root / "classes.txt").write_text("ground\nvoid\ncar\n")
    known = understood(root)
    assert known.labels.classes == ("ground", "car")
    assert dict(known.labels.values) == {0: 0, 2: 1, 1: IGNORE, 255: IGNORE}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.json", '{"0": "ground", "1": "road", "2": "car"}'),
        ("classes.json", '{"classes": {"ground": 0, "road": 1, "car": 2}}'),
        ("labels.json", '[{"id": 0, "name": "ground"}, {"id": 1, "name": "road"}, {"id": 2, "name": "car"}]'),
        ("classes.csv", "Pixel Value, Class\n0, ground\n1, road\n2, car\n"),
        ("classes.txt", "0: ground\n1: road\n2: car\n"),
        ("classes.txt", "\ufeffground\n\nroad\n# a remark\ncar\n"),
    ],
)
def test_files_that_give_values_names_are_read(tmp_path, name, text):
    root = picture_files(tmp_path, MADE, lambda mask: mask)
    (root / name).write_text(text, encoding="utf-8")
    assert understood(root).labels.classes == ("ground", "road", "car")
    assert same(root)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("classes.json", "{", r"classes\.json: is not JSON"),
        ("classes.json", "3", r"classes\.json: names no class"),
        ("classes.json", '{"road": [1, 2]}', r"classes\.json: road has \[1, 2\]; it must be a value, or a colour"),
        ("classes.txt", "\n", r"classes\.txt: names no class"),
        ("classes.txt", "300 0 0 road\n0 0 0 car\n", r"classes\.txt: road has the colour \(300, 0, 0\)"),
        ("classes.csv", "name,r,g,b\nroad,a,0,0\n", r"classes\.csv: road has the red 'a'"),
    ],
)
def test_a_file_that_names_no_classes_is_told(tmp_path, name, text, line):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=line):
        read_class_table(tmp_path / name)


def test_more_values_than_names_are_told(tmp_path):
    root = picture_files(tmp_path, MADE, lambda mask: mask)
    (root / "classes.txt").write_text("ground\nroad\n")
    with pytest.raises(DataError, match="masks hold the value 2, but only 2 classes are named"):
        understood(root)


def test_jpeg_masks_are_refused_by_name(tmp_path):
    root = picture_files(tmp_path, MADE, lambda mask: mask)
    for path in list((root / "masks").iterdir()):
        save(path.with_suffix(".jpg"), np.asarray(Image.open(path)) * 100, quality=90)
        path.unlink()
    with pytest.raises(DataError, match=r"masks/\d\d\.jpg: is a JPEG: masks hold \d+ values.*save masks as PNG"):
        understood(root)


def test_ids_of_things_are_refused(tmp_path):
    rng = np.random.default_rng(0)

    def things(mask: np.ndarray) -> np.ndarray:
        blocks = rng.permutation(60_000)[: mask.size // 16].astype(np.uint16)
        return blocks.reshape(SIZE[0] // 4, SIZE[1] // 4).repeat(4, axis=0).repeat(4, axis=1)

    root = picture_files(tmp_path, MADE, things)
    with pytest.raises(DataError, match=r"\d{4} different values .*if they number things instead of kinds"):
        understood(root)


# Layouts


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("a_{}.jpg", "a_{}_mask.png"),
        ("img_{}.jpg", "mask_{}.png"),
        ("{}_sat.jpg", "{}_mask.png"),
        ("{}.jpg", "{}.png"),
        ("image{}.png", "mask{}.png"),
        ("a_{}_leftImg8bit.png", "a_{}_gtFine_labelIds.png"),
        ("a_{}_leftImg8bit.png", "a_{}_gtFine_labelTrainIds.png"),
    ],
)
def test_pictures_and_masks_may_lie_side_by_side(tmp_path, picture, mask):
    for index, one in enumerate(MADE):
        save(tmp_path / picture.format(f"{index:02d}"), picture_of(one))
        save(tmp_path / mask.format(f"{index:02d}"), one)
    arrangement = understand(tmp_path)
    pairs = [pair for split in ("train", "val") for pair in arrangement.listing(split).whole()]
    assert sorted((pair.image.name, pair.mask.name) for pair in pairs) == [
        (picture.format(f"{index:02d}"), mask.format(f"{index:02d}")) for index in range(len(MADE))
    ]


def test_a_training_folder_without_a_validation_folder_is_divided_by_the_names(tmp_path):
    picture_files(tmp_path / "train", MADE, lambda mask: mask)
    picture_files(tmp_path / "test", MADE[:2], lambda mask: mask)
    arrangement = understand(tmp_path)
    assert arrangement.splits() == ("train", "val", "test")
    assert [len(arrangement.listing(split).pairs) for split in arrangement.splits()] == [10, 2, 2]


def test_splits_may_be_called_otherwise_and_folders_as_well(tmp_path):
    for split, part in (("training", MADE[:8]), ("validation", MADE[8:])):
        for index, mask in enumerate(part):
            save(tmp_path / split / "Photos" / f"{index}.jpg", picture_of(mask))
            save(tmp_path / split / "Ground_Truth" / f"{index}_gt.png", mask)
    arrangement = understand(tmp_path)
    assert {split: len(arrangement.listing(split).pairs) for split in arrangement.splits()} == {"train": 8, "val": 4}


def test_lists_of_names_say_which_pictures_are_in_a_split(tmp_path):
    root = picture_files(tmp_path, MADE, lambda mask: mask)
    (root / "masks").rename(root / "SegmentationClass")
    (root / "images").rename(root / "JPEGImages")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("00\n01\n02\n")
    (lists / "val.txt").write_text("05\n")
    arrangement = understand(root)
    assert [pair.name for pair in arrangement.listing("train").pairs] == ["00", "01", "02"]
    assert [pair.name for pair in arrangement.listing("val").pairs] == ["05"]
    (lists / "val.txt").write_text("99\n")
    with pytest.raises(DataError, match=r"val\.txt: lists 99, which has no picture and mask"):
        understand(root).listing("val")


def test_an_archive_with_one_folder_in_it_is_read_as_that_folder(tmp_path):
    root = picture_files(tmp_path / "mine", MADE, lambda mask: mask)
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for path in root.rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path))
    assert same(tmp_path / "mine.zip")


def test_a_truncated_archive_is_one_line(tmp_path):
    (tmp_path / "mine.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"mine\.zip: is not a whole zip archive"):
        open_split(str(tmp_path / "mine.zip"), "", "train")


def test_a_folder_of_nothing_known_says_what_is_looked_for(tmp_path):
    save(tmp_path / "a.png", picture_of(MADE[0]))
    with pytest.raises(DataError, match=r"pictures lie here alone.*no images/ beside masks/.*COCO JSON.*or YOLO"):
        understand(tmp_path)


def test_a_folder_that_is_not_understood_names_what_lies_in_it(tmp_path):
    (tmp_path / "code").mkdir()
    with pytest.raises(DataError, match="holds no pictures; there are no images/"):
        understand(tmp_path)
    save(tmp_path / "stills" / "a.png", picture_of(MADE[0]))
    save(tmp_path / "approved" / "a.png", MADE[0])
    with pytest.raises(DataError, match="pictures lie in approved/, stills/; there are no images/"):
        understand(tmp_path)
    picture_files(tmp_path / "data", MADE, lambda mask: mask)
    with pytest.raises(DataError, match=f"data/ in it is; name {tmp_path / 'data'} instead"):
        understand(tmp_path)


def test_a_folder_like_pascal_vocs_is_read_past_its_xml(tmp_path):
    root = picture_files(tmp_path, MADE, lambda mask: mask)
    (root / "masks").rename(root / "SegmentationClass")
    (root / "images").rename(root / "JPEGImages")
    (root / "Annotations").mkdir()
    (root / "Annotations" / "00.xml").write_text("<annotation/>")
    assert same(root)


def test_what_programs_keep_beside_pictures_is_no_data(tmp_path):
    root = picture_files(tmp_path, MADE, lambda mask: mask)
    for aside in (".ipynb_checkpoints/00.png", "@eaDir/00.png", "__MACOSX/._00.png", "._00.png"):
        for folder in ("images", "masks"):
            path = root / folder / aside
            path.parent.mkdir(exist_ok=True)
            path.write_bytes((root / folder / "00.png").read_bytes())
    assert same(root)


def test_an_accented_name_is_the_same_however_it_is_spelt(tmp_path):
    for index, mask in enumerate(MADE):
        save(tmp_path / "images" / normalize("NFD", f"Öl {index:02d}.jpg"), picture_of(mask))
        save(tmp_path / "masks" / normalize("NFC", f"Öl {index:02d}.png"), mask)
    names = sorted(pair.name for split in ("train", "val") for pair in understand(tmp_path).listing(split).whole())
    assert names == [normalize("NFC", f"Öl {index:02d}") for index in range(len(MADE))]


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    root = picture_files(tmp_path / "far", MADE, lambda mask: mask)
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "north").symlink_to(root / folder)
        (root / folder / "back").symlink_to(tmp_path / "data" / folder)
    assert same(tmp_path / "data", names="north/{:02d}")


def test_pictures_of_different_kinds_are_refused_by_name(tmp_path):
    root = picture_files(tmp_path, MADE, lambda mask: mask)
    save(root / "images" / "05.png", MADE[5].astype(np.uint16))
    data = open_split(str(root), "", "val" if in_validation("05") else "train")
    odd = next(index for index in range(len(data)) if data.name(index) == "05")
    with pytest.raises(DataError, match=r"05\.png: 1 channels of uint16, where \d\d\.png has 3 of uint8"):
        data.image(odd)


# Annotations


def test_coco_polygons_are_drawn_with_their_categories_as_values(tmp_path):
    root = coco_folder(tmp_path, MADE)
    known = understood(root)
    assert known.labels.classes == ("background", "train", "dog")
    assert dict(known.labels.values) == {0: 0, 7: 1, 18: 2, 255: IGNORE}
    assert known.lines[0] == "COCO JSON in instances_train.json: train 8, val 4"
    for split, part in (("train", MADE[:8]), ("val", MADE[8:])):
        data = open_split(str(root), "", split, known.labels)
        assert all(np.array_equal(data.target(index), mask) for index, mask in enumerate(part))


def test_coco_run_lengths_and_later_annotations_on_top(tmp_path):
    root = coco_folder(tmp_path, MADE)
    path = root / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    inside = np.zeros(SIZE, dtype=bool)
    inside[3:30, 5:40] = True
    flat = inside.T.reshape(-1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(int)))
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    content["annotations"].append(
        {"id": 99, "image_id": 100, "category_id": 18, "iscrowd": 1, "segmentation": {"size": SIZE, "counts": runs}}
    )
    path.write_text(json.dumps(content))
    expected = MADE[0].copy()
    expected[inside] = 2
    assert np.array_equal(open_split(str(root), "", "train").target(0), expected)
    content["annotations"][-1]["segmentation"]["counts"] = [5]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"annotations of 00: run lengths add up to 5 pixels.*has 3072"):
        open_split(str(root), "", "train").target(0)


def test_a_coco_file_that_lists_what_is_not_there_is_told(tmp_path):
    root = coco_folder(tmp_path, MADE)
    shutil.rmtree(root / "train")
    with pytest.raises(DataError, match=r"instances_train\.json: lists 00\.jpg, which is in none of these folders"):
        open_split(str(root), "", "train")


def test_a_lone_coco_file_is_divided_by_the_names(tmp_path):
    root = coco_folder(tmp_path, MADE)
    (root / "annotations" / "instances_val.json").unlink()
    (root / "annotations" / "instances_train.json").rename(root / "train" / "_annotations.coco.json")
    assert understand(root).splits() == ("train", "val")
    assert isinstance(open_split(str(root), "", "val"), FileDataSet)


# What pycocotools 2.0.11 packs for these.
PACKED = {
    "0110051K53JM0032": ["11010", "01010", "11010", "00000", "10011", "11001", "10111"],
}


@pytest.mark.parametrize(("text", "rows"), PACKED.items())
def test_packed_run_lengths_are_those_of_cocos_own_code(text, rows):
    expected = np.array([[character == "1" for character in row] for row in rows])
    assert np.array_equal(run_lengths(unpacked_run_lengths(text), expected.shape), expected)


def test_broken_run_lengths_are_told():
    with pytest.raises(ValueError, match="end within a number"):
        unpacked_run_lengths("i5b")
    with pytest.raises(ValueError, match="hold the character"):
        unpacked_run_lengths("é")


def test_labelme_polygons_and_rectangles_are_drawn_and_points_left_out(tmp_path):
    root = labelme_folder(tmp_path, MADE)
    known = understood(root)
    assert known.labels.classes == ("background", "car", "road")
    order = np.array([0, 2, 1], dtype=np.uint8)
    assert all(np.array_equal(found, order[MADE[int(name)]]) for name, found in targets(root).items())
    (root / "labels.txt").write_text("__ignore__\n_background_\nroad\ncar\n")
    assert understood(root).labels.classes == ("background", "road", "car")
    assert same(root)


def test_labelmes_ignored_areas_circles_and_masks_are_drawn(tmp_path):
    root = labelme_folder(tmp_path, MADE)
    path = root / "00.json"
    content = json.loads(path.read_text())
    content["shapes"] = [
        {"label": "road", "points": [[20, 20], [20, 30]], "shape_type": "circle"},
        {"label": "__ignore__", "points": [[40, 0], [64, 0], [64, 10], [40, 10]], "shape_type": "polygon"},
    ]
    path.write_text(json.dumps(content))
    found = targets(root)["00"]
    assert (found[0:10, 40:64] == IGNORE).all()
    assert abs(int((found == 2).sum()) - np.pi * 100) < 6
    content["shapes"] = [{"label": "road", "points": [[1, 1], [2, 2]], "shape_type": "polygon"}]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"00\.json: the polygon 'road' has 2 points, which enclose nothing"):
        targets(root)


def test_yolo_polygons_are_drawn_and_pictures_without_labels_are_background(tmp_path):
    root = yolo_folder(tmp_path, MADE)
    assert understood(root).labels.classes == ("background", "road", "car")
    assert same(root)
    (root / "labels" / "train" / "01.txt").unlink()
    assert (targets(root)["01"] == 0).all()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.2 0.2", r"01\.txt: line 1 is a box, not a polygon"),
        ("0 0.5 0.5 0.2", r"01\.txt: line 1 has 3 numbers, where a polygon has 6, 8"),
        ("0 0.5 0.5 0.2 x 0.1 0.1", r"01\.txt: line 1 is not a class and numbers"),
        ("5 0.1 0.1 0.2 0.2 0.3 0.1", r"01\.txt: has the class 5; data\.yaml names 0 to 1"),
    ],
)
def test_a_line_of_yolo_that_is_no_polygon_is_told(tmp_path, line, said):
    root = yolo_folder(tmp_path, MADE)
    (root / "labels" / "train" / "01.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=said):
        targets(root)


def test_a_class_that_the_model_does_not_know_is_told(tmp_path):
    root = yolo_folder(tmp_path / "a", MADE)
    other = understood(labelme_folder(tmp_path / "b", MADE)).labels
    (root / "data.yaml").write_text("names: [road, ship]\n")
    with pytest.raises(DataError, match="has the class 'ship', which is none of background, car, road"):
        open_split(str(root), "", "train", other)


def test_a_label_map_for_annotations_that_name_their_classes_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"its annotations name their classes; drop data\.map"):
        understood(yolo_folder(tmp_path, MADE), {1: 0})


# Drawing


def test_a_polygon_fills_the_pixels_whose_centres_it_holds():
    square = np.array([(10, 5), (20, 5), (20, 12), (10, 12)])
    inside, left, top = filled(square, (30, 30))
    assert (inside.sum(), inside.shape, left, top) == (70, (7, 10), 10, 5)
    assert draw((30, 30), [Area(3, (square + 0.4,))]).sum() == 210
    triangle = draw((100, 100), [Area(1, (np.array([(0, 0), (100, 0), (0, 100)]),))])
    assert int(triangle.sum()) in (4950, 5050)  # 5000, give or take the pixels whose centres the edge passes


def test_what_reaches_over_the_edge_is_cut_off():
    assert draw((10, 10), [Area(1, (np.array([(-5, -5), (5, -5), (5, 5), (-5, 5)]),))]).sum() == 25
    assert draw((10, 10), [Area(1, (np.array([(20, 20), (25, 20), (25, 25)]),))]).sum() == 0
    assert draw((10, 10), [Area(1, mask=(np.ones((6, 6), dtype=bool), 7, -2))]).sum() == 12
    assert draw((4, 4), [Area(300, (np.array([(0, 0), (4, 0), (4, 4), (0, 4)]),))]).dtype == np.uint16


def test_the_outline_of_a_square_is_its_corners():
    assert corners(MADE[0], 1)[2][0] - corners(MADE[0], 1)[0][0] == 16
