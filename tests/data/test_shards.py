import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segue.data import DataSet, short_name, understand_own
from segue.data.folder import open_folder
from segue.data.loading import TrainingSamples
from segue.data.sharding import write_shards
from segue.data.shards import AT_ONCE, expand, is_shards, open_shards, understood_shards
from segue.data.tar import INDEX, index_of
from segue.data.transforms import Augmentation
from segue.errors import DataError
from segue.labels import IGNORE, Labels
from tests.toy import toy

LABELS = Labels(classes=("ground", "box", "disc"), values={0: 0, 7: 1, 9: 2, 255: IGNORE})


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    root = toy(tmp_path / "toy")
    for path in root.rglob("masks/*.png"):
        raw = np.array([0, 7, 9], dtype=np.uint8)[np.asarray(Image.open(path))]
        Image.fromarray(raw).save(path)
    return root


@pytest.fixture
def shards(folder, tmp_path):
    for split in ("train", "val"):
        write_shards(open_folder(folder, split, LABELS), split, tmp_path / "shards", most_bytes=50_000)
    return tmp_path / "shards"


def member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


JPEG = encoded(np.full((8, 8, 3), 90, np.uint8), "JPEG")
MASK = encoded(np.eye(8, dtype=np.uint8), "PNG")


def webdataset(path: Path, *names: str) -> Path:
    """A shard as others write them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name in names:
            member(archive, name, JPEG if name.endswith("jpg") else MASK if name.endswith("png") else b"{}")
    return path


# What segue writes


def test_shards_hold_what_the_folder_holds(folder, shards):
    for split in ("train", "val"):
        before, after = open_folder(folder, split, LABELS), open_shards(str(shards), split)
        assert after.labels == LABELS
        place = {before.name(index): index for index in range(len(before))}
        assert sorted(place) == sorted(after.name(index) for index in range(len(after)))
        for index in range(len(after)):
            assert np.array_equal(after.image(index), before.image(place[after.name(index)]))
            assert np.array_equal(after.target(index), before.target(place[after.name(index)]))


def test_masks_keep_the_data_sets_own_values_and_pictures_their_bytes(folder, shards):
    names = [path.name for path in sorted(shards.glob("train-*.tar"))]
    assert len(names) > 1
    with tarfile.open(shards / names[0]) as archive:
        pictures = [one for one in archive.getnames() if one.endswith("mask.png")]
        mask = Image.open(archive.extractfile(pictures[0]))
        assert mask.mode == "P"
        assert set(np.unique(np.asarray(mask))) <= {0, 7, 9}
        key = pictures[0].removesuffix(".mask.png")
        assert archive.extractfile(f"{key}.png").read() == (folder / f"train/images/{key}.png").read_bytes()


def test_equal_data_give_equal_shards_in_another_order_than_the_folders(folder, shards, tmp_path):
    data = open_folder(folder, "train", LABELS)
    write_shards(data, "train", tmp_path / "again", most_bytes=50_000)
    for path in shards.glob("train-*"):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    after = open_shards(str(shards), "train")
    assert [after.name(index) for index in range(15)] != [data.name(index) for index in range(15)]


def test_no_shard_is_larger_than_asked_for(shards):
    assert all(path.stat().st_size <= 50_000 + 10240 for path in shards.glob("*.tar"))


def test_shards_that_are_there_are_not_overwritten(folder, shards):
    with pytest.raises(DataError, match="holds shards of the split train already"):
        write_shards(open_folder(folder, "train", LABELS), "train", shards, most_bytes=50_000)
    other = Labels(classes=("a", "b"), values={0: 0, 7: 1, 9: 1}, written={1: 7})
    with pytest.raises(DataError, match="with other classes"):
        write_shards(open_folder(folder, "train", other), "more", shards, most_bytes=50_000)


def test_nothing_is_left_behind_when_a_picture_cannot_be_read(folder, tmp_path):
    data = open_folder(folder, "train", LABELS)
    data.pairs[4].mask.write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be decoded"):
        write_shards(data, "train", tmp_path / "broken", most_bytes=10_000)
    assert not (tmp_path / "broken").exists()


class Made(DataSet):
    """Three pictures that are in no file."""

    labels = LABELS

    def __len__(self) -> int:
        return 3

    def name(self, index: int) -> str:
        return f"made.{index}"

    def image(self, index: int) -> np.ndarray:
        return np.full((6, 9, 3), 10 * index, dtype=np.uint8)

    def target(self, index: int) -> np.ndarray:
        return np.full((6, 9), index, dtype=np.uint8)


def test_pictures_that_are_no_files_can_be_packed(tmp_path):
    write_shards(Made(), "val", tmp_path / "made", most_bytes=10**7)
    after = open_shards(str(tmp_path / "made"), "val")
    assert sorted(after.name(index) for index in range(3)) == ["made_0", "made_1", "made_2"]  # a dot would end a key
    for index in range(3):
        number = int(after.name(index)[-1])
        assert np.array_equal(after.image(index), Made().image(number))
        assert np.array_equal(after.target(index), Made().target(number))


# Finding


def test_braces_and_stars_stand_for_shards(shards, tmp_path):
    count = len(list(shards.glob("train-*.tar")))
    assert expand(f"{shards}/train-{{000..001}}.tar") == [f"{shards}/train-00{number}.tar" for number in (0, 1)]
    assert len(expand(f"{shards}/train-*.tar")) == count
    assert expand("http://host/a-{08..11}-{x,y}.tar")[:3] == [
        "http://host/a-08-x.tar",
        "http://host/a-08-y.tar",
        "http://host/a-09-x.tar",
    ]
    with pytest.raises(DataError, match=r"train-099\.tar: there is no such shard"):
        expand(f"{shards}/train-{{000,099}}.tar")
    with pytest.raises(DataError, match=r"\{003\.\.001\} counts down; write \{001\.\.003\}"):
        expand("http://host/a-{003..001}.tar")


def test_other_splits_are_found_beside_the_training_shards(shards):
    for name in (f"{shards}/train-*.tar", f"{shards}/train-{{000..001}}.tar"):
        assert is_shards(name)
        assert len(open_shards(name, "val")) == 5
        assert short_name(name) == "shards"
    assert len(open_shards(f"{shards}/train-*.tar", f"{shards}/val-000.tar")) > 0
    with pytest.raises(DataError, match="has no test split; it has train, val"):
        open_shards(str(shards), "test")


def test_foreign_shards_find_their_splits_by_name(tmp_path):
    webdataset(tmp_path / "a" / "my-train-00.tar", "0.jpg", "0.png", "1.jpg", "1.png")
    webdataset(tmp_path / "a" / "my-val-00.tar", "5.jpg", "5.png")
    pattern = f"{tmp_path}/a/my-train-{{00..00}}.tar"
    assert len(open_shards(pattern, "train")) == 2
    assert len(open_shards(pattern, "val")) == 1
    with pytest.raises(
        DataError, match=r"no shards of the split test beside these \(.*my-test-\*\.tar is looked for\)"
    ):
        open_shards(pattern, "test")


# Foreign shards


def test_what_is_neither_picture_nor_mask_is_left_out(tmp_path):
    path = webdataset(
        tmp_path / "x.tar",
        "README.txt",
        "b/0.jpg",
        "b/0.png",
        "b/0.cls",
        "b/0.json",
        "b/._0.jpg",
        "b/1.mask.png",
        "b/1.png",
    )
    data = open_shards(str(path), "train", Labels(classes=("a", "b")))
    assert [data.name(index) for index in range(len(data))] == ["b/0", "b/1"]
    assert data.image(0).shape == (8, 8, 3)
    assert np.array_equal(data.target(1), np.eye(8, dtype=np.uint8))


def test_equal_keys_of_several_shards_are_told_apart(tmp_path):
    for number in (0, 1):
        webdataset(tmp_path / f"t-{number}.tar", "0.jpg", "0.png")
    data = open_shards(f"{tmp_path}/t-*.tar", "train", Labels(classes=("a", "b")))
    assert [data.name(index) for index in range(2)] == ["t-0/0", "t-1/0"]


def test_what_masks_hold_says_the_classes_or_the_recipe_does(tmp_path):
    name = str(webdataset(tmp_path / "train-0.tar", "0.jpg", "0.png"))
    assert understood_shards(name).labels.classes == ("class 0", "class 1")
    assert understood_shards(name, names=("sky", "pole")).labels.classes == ("sky", "pole")
    mapped = understand_own(name, {0: 255, 1: 0, 2: 1}, ("pole", "tree"), "train").labels
    assert (mapped.classes, dict(mapped.values)) == (("pole", "tree"), {0: 255, 1: 0, 2: 1})
    (tmp_path / "classes.txt").write_text("road\ncar\n")
    assert understood_shards(name).labels.classes == ("road", "car")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("0.jpg", "0.png", "1.jpg"), r"1\.jpg has no mask; a shard has KEY\.jpg and KEY\.png"),
        (("0.jpg", "0.png", "1.mask.png"), r"1\.mask\.png has no picture"),
        (("0.jpg", "0.png", "0.tif"), r"0\.jpg, 0\.png, 0\.tif: which is the mask\? Call it 0\.mask\.png"),
        (("0.jpg", "0.png", "0.jpg"), r"holds 0\.jpg twice"),
        (("0.txt",), "holds no pictures"),
    ],
)
def test_a_sample_that_is_not_whole_is_named(tmp_path, names, message):
    path = webdataset(tmp_path / "x.tar", *names)
    with pytest.raises(DataError, match=rf"{path}: .*{message}"):
        index_of(path)


def test_a_shard_that_is_cut_off_anywhere_is_refused(tmp_path):
    whole = webdataset(tmp_path / "x.tar", "0.jpg", "0.png", "1.jpg", "1.png").read_bytes()
    end = len(whole.rstrip(b"\0"))
    for length in (300, 700, 512 + len(JPEG), 2048, end - 600, -(-end // 512) * 512):
        path = tmp_path / f"cut-{length}.tar"
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut off|not a whole tar"):
            index_of(path)


def test_what_is_no_plain_tar_is_refused(tmp_path):
    shard = webdataset(tmp_path / "a.tar", "0.jpg", "0.png").read_bytes()
    with tarfile.open(tmp_path / "z.tar", "w:gz") as archive:
        member(archive, "0.jpg", JPEG)
    (tmp_path / "joined.tar").write_bytes(shard + shard)
    (tmp_path / "other.tar").write_bytes(b"something else" * 100)
    with pytest.raises(DataError, match="is compressed"):
        index_of(tmp_path / "z.tar")
    with pytest.raises(DataError, match="goes on after its end"):
        index_of(tmp_path / "joined.tar")
    with pytest.raises(DataError, match="not a whole tar archive"):
        index_of(tmp_path / "other.tar")


# Indexes


def test_an_index_is_made_once_and_again_when_the_shard_changes(tmp_path, monkeypatch):
    path = webdataset(tmp_path / "x.tar", "0.jpg", "0.png")
    made = []
    from segue.data import tar

    real = tar.make_index
    monkeypatch.setattr(tar, "make_index", lambda one: made.append(one) or real(one))
    assert index_of(path).keys == index_of(path).keys == ("0",)
    assert len(made) == 1
    webdataset(path, *(f"{number}.{kind}" for number in range(20) for kind in ("jpg", "png")))
    assert len(index_of(path).keys) == 20
    assert len(made) == 2
    assert sorted(tmp_path.glob("*.json")) == []  # nothing is written beside other people's shards


def test_a_picture_is_read_without_the_others(shards):
    data = open_shards(str(shards), "train")
    index = index_of(shards / "train-000.tar")
    whole = bytearray((shards / "train-000.tar").read_bytes())
    offset, size = index.places[3, :2].tolist()
    (shards / "train-000.tar").write_bytes(b"\1" * (offset - 512) + whole[offset - 512 : offset + size] + b"\1" * 9)
    assert data.image(3).ndim == 3


def test_an_index_that_does_not_fit_is_told_of(shards):
    path = shards / ("train-000.tar" + INDEX)
    content = json.loads(path.read_text())
    content["places"] = [[a + 512, b, c, d] for a, b, c, d in content["places"]]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"train-000\.tar/\S+: is not where the shard's index says; remove the index"):
        open_shards(str(shards), "train").image(0)


# Order


def test_an_epoch_shows_every_picture_once_and_few_shards_at_a_time(tmp_path):
    for number in range(2 * AT_ONCE + 3):
        names = [f"{number:02d}-{one}.{kind}" for one in range(3 + number % 2) for kind in ("jpg", "png")]
        webdataset(tmp_path / f"t-{number:02d}.tar", *names)
    data = open_shards(f"{tmp_path}/t-*.tar", "train", Labels(classes=("a", "b")))
    orders = [data.order(5, epoch) for epoch in range(2)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(len(data)))
        first = {data._find(index)[0] for index in order[: 3 * AT_ONCE].tolist()}
        assert len(first) <= AT_ONCE
        assert order.tolist() != sorted(order.tolist())
    assert orders[0].tolist() != orders[1].tolist()
    assert data.order(5, 0).tolist() == orders[0].tolist()  # it hangs on seed and epoch alone


def test_a_position_says_the_same_picture_to_everybody(shards):
    one, other = (TrainingSamples(open_shards(str(shards), "train"), Augmentation((24, 24)), seed=2) for _ in range(2))
    forwards = [one[position] for position in range(20)]
    for position in (19, 4, 15, 0):
        assert other[position][2] == forwards[position][2]
        assert np.array_equal(other[position][0], forwards[position][0])
