import json
import os
import stat

import pytest

from segue.errors import SaveError
from segue.files import replacing, write_atomically, write_json, write_text


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
