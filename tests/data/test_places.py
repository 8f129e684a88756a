import io
import multiprocessing
import os
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segue.data import open_split
from segue.data.places import ZipPlace, only_folder, place
from segue.errors import DataError

FILES = {f"set/train/images/{index:03d}.png": os.urandom(3000) * (1 + index % 3) for index in range(40)}


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in FILES.items():
            file.writestr(name, content)
        file.writestr("set/classes.txt", "ground\nµ\n")
        file.writestr("set/empty/", "")
        file.writestr("__MACOSX/set/._classes.txt", "x")
        file.writestr("../outside.txt", "x")
    return path


def test_a_folder_stays_a_path(tmp_path):
    assert place(tmp_path) == tmp_path
    assert place(str(tmp_path / "nothing.zip")) == tmp_path / "nothing.zip"


def test_an_archive_is_walked_like_a_folder(archive):
    root = place(archive)
    assert isinstance(root, ZipPlace)
    assert root.is_dir()
    assert not root.is_file()
    assert [one.name for one in root.iterdir()] == ["set"]
    assert [one.name for one in (root / "set").iterdir()] == ["classes.txt", "empty", "train"]
    assert (root / "set" / "empty").is_dir()
    assert list((root / "set" / "empty").iterdir()) == []
    one = root / "set/train/images/007.png"
    assert (one.name, one.stem, one.suffix) == ("007.png", "007", ".png")
    assert one.is_file()
    assert not one.is_dir()
    assert one.parent == root / "set/train/images"
    assert root.parent == root
    assert one.with_suffix(".jpg").name == "007.jpg"
    assert not one.with_suffix(".jpg").exists()
    assert one.relative_to(root / "set").with_suffix("").as_posix() == "train/images/007"
    assert str(one) == f"{archive}/set/train/images/007.png"


def test_patterns_find_what_they_find_in_a_folder(archive, tmp_path):
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "out", [name for name in file.namelist() if name.startswith("set")])
    for pattern in ("*", "set/*", "set/*.txt", "*/*/images/01?.png", "**/*.png", "set/**/03*", "nothing/*"):
        ours = sorted(one.relative_to(place(archive)).as_posix() for one in place(archive).glob(pattern))
        theirs = sorted(one.relative_to(tmp_path / "out").as_posix() for one in (tmp_path / "out").glob(pattern))
        assert ours == theirs, pattern
    ours = {one.relative_to(place(archive)).as_posix() for one in place(archive).rglob("*")}
    assert ours == {one.relative_to(tmp_path / "out").as_posix() for one in (tmp_path / "out").rglob("*")}


def test_a_path_may_lead_into_an_archive_and_back(archive):
    one = place(f"{archive}/set/classes.txt")
    assert one.read_text() == "ground\nµ\n"
    assert place(str(one)) == one
    assert place(archive) / "set" / "train" == place(archive / "set" / "train")


def test_files_are_read_byte_by_byte(archive):
    for name, content in FILES.items():
        assert (place(archive) / name).read_bytes() == content
        with (place(archive) / name).open() as stream:
            assert stream.read() == content


def test_members_outside_of_the_archive_do_not_exist(archive):
    assert {one.inside.split("/")[0] for one in place(archive).rglob("*")} == {"set"}


def test_places_are_pickled_sorted_and_hashed(archive):
    places = list(place(archive).rglob("*.png"))
    assert pickle.loads(pickle.dumps(places)) == places
    backwards = places[::-1]
    assert sorted(backwards) == places
    assert len(set(places)) == len(FILES)


def test_threads_read_one_archive_at_once(archive):
    root = place(archive)
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda name: (root / name).read_bytes(), list(FILES) * 5))
    assert read == list(FILES.values()) * 5


def _sums(root, seed, answers):
    order = np.random.default_rng(seed).permutation(list(FILES) * 5)
    answers.put(all((root / str(name)).read_bytes() == FILES[str(name)] for name in order))


def test_processes_that_fork_from_an_open_archive_do_not_disturb_each_other(archive):
    root = place(archive)
    (root / "set/classes.txt").read_bytes()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    children = [context.Process(target=_sums, args=(root, seed, answers)) for seed in range(4)]
    for child in children:
        child.start()
    assert all(answers.get(timeout=60) for _ in children)
    for child in children:
        child.join()


def test_a_truncated_archive_is_one_clear_line(archive):
    half = archive.with_name("half.zip")
    half.write_bytes(archive.read_bytes()[:50_000])
    with pytest.raises(DataError, match=r"half\.zip: is not a whole zip archive \(.*\); fetch or pack it again"):
        place(half)


def test_a_damaged_member_is_named(archive):
    bad = archive.with_name("bad.zip")
    content = bytearray(archive.read_bytes())
    content[1000:1010] = bytes(10)
    bad.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.zip/set/train/images/000\.png: is damaged in the archive"):
        (place(bad) / "set/train/images/000.png").read_bytes()


def test_what_is_not_in_the_archive_is_said(archive):
    with pytest.raises(FileNotFoundError, match="there is no such file in the archive"):
        (place(archive) / "set" / "nothing.png").read_bytes()
    with pytest.raises(NotADirectoryError, match="there is no such folder"):
        (place(archive) / "nothing").iterdir()
    with pytest.raises(ValueError, match="is not in"):
        (place(archive) / "set").relative_to(Path("set"))


def test_the_only_folder_of_an_archive_or_a_folder_is_found(archive, tmp_path):
    assert only_folder(place(archive)) == [place(archive) / "set"]
    assert only_folder(place(archive) / "set") == []
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / ".hidden").touch()
    assert only_folder(tmp_path / "outer") == [tmp_path / "outer" / "inner"]
    (tmp_path / "outer" / "note.txt").touch()
    assert only_folder(tmp_path / "outer") == []


def test_a_named_data_set_is_read_from_an_archive_with_a_folder_around_it(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 12), dtype=np.uint8)).save(stream, "PNG")
    with zipfile.ZipFile(tmp_path / "any.zip", "w") as file:
        for folder in ("train", "trainannot"):
            file.writestr(f"mine/{folder}/0.png", stream.getvalue())
    data = open_split("camvid", str(tmp_path / "any.zip"), "train")
    assert data.image(0).shape == (8, 12, 3)
    assert data.target(0).shape == (8, 12)
