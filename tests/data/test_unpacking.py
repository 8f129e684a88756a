"""Archives as strangers make them: some to be read, some to be refused with nothing left behind."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from segue.data import unpacking
from segue.data.unpacking import Unpacked, unpack
from segue.errors import DataError

FILES = {"set/images/a.png": b"picture", "set/masks/a.png": b"mask", "README": b""}
KINDS = ("zip", "tar", "tar.gz", "tgz", "tar.xz")


def pack(path: Path, files: Mapping[str, bytes]) -> Path:
    """An archive with these files, under these very names."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in files.items():
                file.writestr(zipfile.ZipInfo(name), content, compress_type=zipfile.ZIP_DEFLATED)
        return path
    packing = {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, packing) as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def pack_special(path: Path, name: str, kind: bytes, to: str = "") -> Path:
    """A tar archive with a member that is neither file nor folder."""
    with tarfile.open(path, "w") as file:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, to
        file.addfile(info)
        inside = tarfile.TarInfo(f"{name}/escaped")
        inside.size = 1
        file.addfile(inside, io.BytesIO(b"x"))
    return path


def unpacked(archive: Path, folder: Path) -> Unpacked:
    return unpack(archive, folder, lambda text: None)


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def refused(archive: Path, match: str) -> None:
    """The archive is refused, and nothing of it is anywhere around."""
    around = archive.parent
    before = everything(around)
    with pytest.raises(DataError, match=match) as caught:
        unpacked(archive, around / "new")
    assert "\n" not in str(caught.value)
    assert everything(around) == before
    assert not (around / "new").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_unpacked(tmp_path, kind):
    archive = pack(tmp_path / f"a.{kind}", FILES)
    assert unpacked(archive, tmp_path / "new") == Unpacked(files=3, size=11, links=0)
    assert everything(tmp_path / "new") == dict(sorted(FILES.items()))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    "name", ["../escaped", "a/../../escaped", "/tmp/escaped", "..\\escaped", "C:\\escaped", "C:/escaped", "\\\\host\\x"]
)
def test_a_way_out_of_the_folder_is_refused(tmp_path, kind, name):
    archive = pack(tmp_path / f"a.{kind}", {"fine": b"1", name: b"2"})
    refused(archive, "leads out of the folder it is unpacked to")


def test_separators_of_windows_are_separators(tmp_path):
    archive = pack(tmp_path / "a.zip", {"set\\masks\\a.png": b"mask"})
    unpacked(archive, tmp_path / "new")
    assert everything(tmp_path / "new") == {"set/masks/a.png": b"mask"}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE], ids=str
)
def test_links_and_devices_of_a_tar_are_left_out_and_lead_nowhere(tmp_path, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = pack_special(tmp_path / "a.tar", "door", kind, str(outside))
    assert unpacked(archive, tmp_path / "new") == Unpacked(files=1, size=1, links=1)
    assert not list(outside.iterdir())
    assert not any(path.is_symlink() for path in (tmp_path / "new").rglob("*"))
    assert everything(tmp_path / "new") == {"door/escaped": b"x"}


def test_links_of_a_zip_are_left_out(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        link = zipfile.ZipInfo("door")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc")
        file.writestr("door/escaped", "x")
    assert unpacked(archive, tmp_path / "new").links == 1
    assert everything(tmp_path / "new") == {"door/escaped": b"x"}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_refused(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(unpacking, "SMALL", 1 << 20)
    archive = pack(tmp_path / f"a.{kind}", {"fine": b"1", "zeros": bytes(8 << 20)})
    assert archive.stat().st_size < 20_000
    refused(archive, "unpacks to more than 1 MB, as no data set of its size does")


def test_a_bomb_of_many_small_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "SMALL", 1 << 20)
    archive = pack(tmp_path / "a.zip", {f"{number}": bytes(256 << 10) for number in range(8)})
    refused(archive, "unpacks to more than")


def test_a_bomb_of_names_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MOST_MEMBERS", 100)
    refused(pack(tmp_path / "a.zip", {f"{number}/": b"" for number in range(101)}), "holds more than 100 members")


def test_an_archive_larger_than_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "ROOM_LEFT", 1 << 62)
    refused(pack(tmp_path / "a.zip", FILES), "too little room to unpack it")


@pytest.mark.parametrize("kind", KINDS)
def test_half_an_archive_is_told_of(tmp_path, kind):
    noise = bytes(range(256)) * 400
    archive = pack(tmp_path / f"a.{kind}", {"a": noise, "b": noise[::-1]})
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    refused(archive, "is not a whole archive")


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_that_says_sorry_is_no_archive(tmp_path, kind):
    archive = tmp_path / f"a.{kind}"
    archive.write_text("<html>Please log in.</html>")
    refused(archive, "is not a whole archive")


def test_a_member_whose_bytes_have_changed_is_told_of(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a", b"picture")
    archive.write_bytes(archive.read_bytes().replace(b"picture", b"pictare"))
    refused(archive, "is not a whole archive .*CRC")


def test_a_file_where_a_folder_must_be_is_told_of(tmp_path):
    refused(pack(tmp_path / "a.zip", {"a": b"1", "a/b": b"2"}), "could not be unpacked")
