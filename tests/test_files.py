import json
import os
import shutil
import stat
from types import SimpleNamespace

import pytest
from safetensors import SafetensorError

from segue.errors import DataError, SaveError
from segue.files import make_folder, read_json, replacing, write_atomically, write_json, write_text


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    write_text(path, "old")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert [one.name for one in path.parent.iterdir()] == ["file.txt"]


def test_what_was_there_stays_when_writing_fails(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(SaveError, match=r"file\.txt: could not be written \(the disk is full: make room\)"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_must_not_be_written_is_named(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(SaveError, match=r"file\.txt: could not be written"):
        write_text(tmp_path / "file.txt", "text")


def test_a_folder_where_a_file_lies_is_named_with_the_mend(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(SaveError, match=r"file/run: this folder cannot be made \(a file is where a folder should be"):
        make_folder(tmp_path / "file" / "run")
    with pytest.raises(SaveError, match=r"a\.txt: could not be written \(a file is where a folder should be"):
        write_text(tmp_path / "file" / "a.txt", "text")


@pytest.mark.parametrize("kind", [RuntimeError, SafetensorError, OSError])
def test_a_full_disk_is_known_however_a_library_reports_it(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))

    def fail(temporary):
        raise kind("1900800 requested and 288704 written")

    with pytest.raises(SaveError, match=r"a\.bin: could not be written \(the disk is full: make room\)"):
        write_atomically(tmp_path / "a.bin", fail)


def test_a_full_disk_is_known_when_nothing_of_the_file_is_left_on_it(tmp_path):
    def fail(temporary):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(SaveError, match=r"a\.bin: could not be written \(the disk is full: make room\)"):
        write_atomically(tmp_path / "a.bin", fail)


def test_a_json_file_that_is_broken_is_named_with_the_mend(tmp_path):
    path = tmp_path / "a.json"
    for text in ('{"a": ', "[1]"):
        path.write_text(text)
        with pytest.raises(DataError, match=r"a\.json: .*; make it anew"):
            read_json(path, "make it anew")
    write_json(path, {"a": 1})
    assert read_json(path, "make it anew") == {"a": 1}


def test_json_keeps_its_letters(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Straße"})
    assert "Straße" in (tmp_path / "a.json").read_text()


def test_a_block_that_fails_leaves_the_old_file_and_its_own_error(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["file.txt"]
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_numbers_that_json_cannot_say_are_null(tmp_path):
    write_json(tmp_path / "file.json", {"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": 2}})
    text = (tmp_path / "file.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [1.5, None], "c": {"d": 2}}
