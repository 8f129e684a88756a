"""From the publishers' server to a folder that can be opened: all of a data set, or nothing of it."""

import json
import shutil
from dataclasses import replace
from functools import partial
from hashlib import md5, sha256
from pathlib import Path

import pytest
from filelock import FileLock

from segue.cli import main
from segue.data import DATASETS, open_split
from segue.data.declaration import Archive
from segue.data.downloading import RECORD, WORK, download, splits_there
from segue.data.fetching import FetchError, fetch
from segue.errors import DataError
from segue.progress import ProgressLine
from tests.data.miniatures import MINIATURES
from tests.data.site import Answer, broken_after, running
from tests.data.test_unpacking import pack


@pytest.fixture
def site():
    with running() as server:
        yield server


def packed(folder: Path, kind: str, above: str = "") -> bytes:
    """A folder's files as an archive, with another folder above them."""
    files = {
        above + path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    archive = pack(folder.parent / f"{folder.name}-{len(files)}.{kind}", files)
    content = archive.read_bytes()
    archive.unlink()
    return content


def published(site, tmp_path: Path):
    """VOC 2012 in small, served in its two archives with their hashes: the declaration, and what it answers."""
    MINIATURES["voc2012"].write(tmp_path / "made")
    contents = {
        "voc.tar": packed(tmp_path / "made" / "VOCdevkit", "tar", above="VOCdevkit/"),
        "sbd.tgz": packed(tmp_path / "made" / "benchmark_RELEASE", "tgz", above="benchmark_RELEASE/"),
    }
    old = DATASETS["voc2012"]
    archives = tuple(
        replace(
            archive,
            name=name,
            urls=(site.serve(f"/{name}", Answer(content)),),
            sha256=sha256(content).hexdigest(),
            size=len(content),
        )
        for archive, (name, content) in zip(old.archives, contents.items(), strict=True)
    )
    return replace(old, archives=archives), contents


def line() -> ProgressLine:
    return ProgressLine(every_in_file=0)


def test_a_data_set_is_fetched_unpacked_and_found(site, tmp_path):
    declaration, contents = published(site, tmp_path)
    root = tmp_path / "root"
    download(declaration, root, line())
    assert sorted(path.name for path in root.iterdir()) == ["VOCdevkit", "benchmark_RELEASE", RECORD]
    assert list(splits_there(declaration, root)) == [
        "train: 2 pictures, where 1464 are known",
        "trainaug: 4 pictures, where 10582 are known",
        "val: 1 pictures, where 1449 are known",
        "trainval: 3 pictures, where 2913 are known",
    ]
    assert len(open_split("voc2012", str(root), "trainaug")) == 4
    record = json.loads((root / RECORD).read_text())
    assert {name: entry["sha256"] for name, entry in record.items()} == {
        name: sha256(content).hexdigest() for name, content in contents.items()
    }
    assert all(entry["checked"] for entry in record.values())


def test_what_is_there_is_not_fetched_again(site, tmp_path, capsys):
    declaration, _ = published(site, tmp_path)
    root = tmp_path / "root"
    download(declaration, root, line())
    count = len(site.asked)
    download(declaration, root, line())
    assert len(site.asked) == count
    assert f"{root / 'VOCdevkit/VOC2012'} is there already" in capsys.readouterr().err


def test_half_a_data_set_is_never_seen(site, tmp_path, monkeypatch):
    monkeypatch.setattr("segue.data.downloading.fetch", partial(fetch, pause=lambda seconds: None))
    declaration, contents = published(site, tmp_path)
    site.serve("/sbd.tgz", Answer(status=404))
    root = tmp_path / "root"
    with pytest.raises(FetchError, match=r"sbd\.tgz: the server says 404"):
        download(declaration, root, line())
    assert [path.name for path in root.iterdir()] == [WORK]
    whole = Answer(contents["sbd.tgz"])
    site.serve("/sbd.tgz", broken_after(whole, 100), whole)
    site.asked.clear()
    download(declaration, root, line())
    assert site.asked == [("/sbd.tgz", ""), ("/sbd.tgz", "bytes=100-")]  # the first archive waits, unpacked
    assert sorted(path.name for path in root.iterdir()) == ["VOCdevkit", "benchmark_RELEASE", RECORD]


def test_a_try_that_was_killed_while_unpacking_is_gone_on_with(site, tmp_path, monkeypatch):
    declaration, _ = published(site, tmp_path)
    root = tmp_path / "root"

    def killed(archive: Path, folder: Path, show: object) -> None:
        folder.mkdir(parents=True)
        (folder / "half").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("segue.data.downloading.unpack", killed)
        with pytest.raises(KeyboardInterrupt):
            download(declaration, root, line())
    assert [path.name for path in root.iterdir()] == [WORK]
    download(declaration, root, line())
    assert len([path for path, _ in site.asked if path == "/voc.tar"]) == 1
    assert not list(root.rglob("half"))
    assert len(open_split("voc2012", str(root), "val")) == 1


@pytest.mark.parametrize("name", ["../../escaped", "/escaped"])
def test_a_hostile_archive_is_refused_and_leaves_nothing(site, tmp_path, name):
    declaration, _ = published(site, tmp_path)
    hostile = pack(tmp_path / "hostile.tar", {"VOCdevkit/VOC2012/JPEGImages/a.jpg": b"", name: b"x"}).read_bytes()
    site.serve("/voc.tar", Answer(hostile))
    first = replace(declaration.archives[0], sha256="", size=0, md5=md5(hostile).hexdigest())
    root = tmp_path / "root"
    with pytest.raises(DataError, match="leads out of the folder"):
        download(replace(declaration, archives=(first,)), root, line())
    assert [path.name for path in root.iterdir()] == [WORK]
    assert not list(tmp_path.rglob("escaped"))
    assert not list((root / WORK).rglob("*.jpg"))


def test_an_archive_of_something_else_is_told_of(site, tmp_path):
    content = pack(tmp_path / "a.zip", {"photos/a.jpg": b""}).read_bytes()
    url = site.serve("/a.zip", Answer(content))
    archive = Archive("ade.zip", "ADEChallengeData2016", "annotations", urls=(url,))
    with pytest.raises(
        DataError, match=r"ade\.zip: holds no annotations, as if its publishers had changed it; it is taken"
    ):
        download(replace(DATASETS["ade20k"], archives=(archive,)), tmp_path / "root", line())


def test_a_page_that_says_sorry_is_not_kept_for_the_archive(site, tmp_path):
    MINIATURES["ade20k"].write(tmp_path / "made")
    content = packed(tmp_path / "made", "zip")
    url = site.serve("/a.zip", Answer(b"<html>Please come back later.</html>"), Answer(content))
    archive = Archive("ade.zip", "ADEChallengeData2016", "annotations", urls=(url,))
    declaration, root = replace(DATASETS["ade20k"], archives=(archive,)), tmp_path / "root"
    with pytest.raises(DataError, match=r"ade\.zip: is not a whole archive .*fetched anew when you run this again"):
        download(declaration, root, line())
    download(declaration, root, line())
    assert len(open_split("ade20k", str(root), "train")) == 2


@pytest.mark.parametrize("above", ["", "ADEChallengeData2016/", "some/where/"])
def test_whatever_an_archive_has_above_its_folder_is_left_out(site, tmp_path, above):
    MINIATURES["ade20k"].write(tmp_path / "made")
    content = packed(tmp_path / "made" / "ADEChallengeData2016", "zip", above)
    archive = Archive("ade.zip", "ADEChallengeData2016", "annotations", urls=(site.serve("/a.zip", Answer(content)),))
    declaration = replace(DATASETS["ade20k"], archives=(archive,))
    download(declaration, tmp_path / "root", line())
    assert next(iter(splits_there(declaration, tmp_path / "root"))).startswith("train: 2 pictures")


def test_a_hash_that_nobody_knows_is_recorded_and_a_change_is_told_of(site, tmp_path, capsys):
    MINIATURES["ade20k"].write(tmp_path / "made")
    contents = [packed(tmp_path / "made" / "ADEChallengeData2016", "zip", above) for above in ("", "other/")]
    urls = (site.serve("/a.zip", *map(Answer, contents)),)
    declaration = replace(
        DATASETS["ade20k"], archives=(Archive("ade.zip", "ADEChallengeData2016", "annotations", urls=urls),)
    )
    root = tmp_path / "root"
    first, second = (sha256(content).hexdigest() for content in contents)
    download(declaration, root, line())
    assert f"no hash of it is known to compare; its sha256 is {first}\n" in capsys.readouterr().err
    shutil.rmtree(root / "ADEChallengeData2016")
    download(declaration, root, line())
    assert f"its sha256 is {second}; when it was last fetched, this was {first}\n" in capsys.readouterr().err


def test_a_file_that_is_no_archive_is_put_in_its_place(site, tmp_path):
    MINIATURES["nyudv2"].write(tmp_path / "made")
    content = (tmp_path / "made" / "nyu_depth_v2_labeled.mat").read_bytes()
    (old,) = DATASETS["nyudv2"].archives
    archive = replace(old, urls=(site.serve("/nyu.mat", Answer(content)),), sha256="", md5="", size=len(content))
    declaration = replace(DATASETS["nyudv2"], archives=(archive,))
    download(declaration, tmp_path / "root", line())
    assert list(splits_there(declaration, tmp_path / "root")) == [
        "train: 795 pictures",
        "val: 654 pictures",
        "test: 654 pictures",
    ]


def test_archives_fetched_by_hand_are_checked_unpacked_and_kept(tmp_path):
    made, root = tmp_path / "made", tmp_path / "root"
    MINIATURES["cityscapes"].write(made)
    root.mkdir()
    archives = []
    for archive in DATASETS["cityscapes"].archives:
        content = packed(made / archive.place, "zip", above=f"{archive.place}/")
        (root / archive.name).write_bytes(content)
        archives.append(replace(archive, md5=md5(content).hexdigest()))
    declaration = replace(DATASETS["cityscapes"], archives=tuple(archives))
    download(declaration, root, line())
    assert len(open_split("cityscapes", str(root), "val")) == 2
    assert (root / "gtFine_trainvaltest.zip").exists()
    assert list(splits_there(declaration, root))[1:] == ["val: 2 pictures, where 500 are known"]  # no coarse masks


def test_an_archive_fetched_by_hand_and_cut_short_is_told_of(tmp_path):
    for archive in DATASETS["cityscapes"].archives:
        (tmp_path / archive.name).write_bytes(b"half")
    with pytest.raises(FetchError, match=r"leftImg8bit_trainvaltest\.zip: is not .* its md5 is .*, not 0a6e97e94b61"):
        download(DATASETS["cityscapes"], tmp_path, line())


def test_two_downloads_to_one_folder_do_not_meet(site, tmp_path):
    declaration, _ = published(site, tmp_path)
    root = tmp_path / "root"
    (root / WORK).mkdir(parents=True)
    with FileLock(root / WORK / "lock"), pytest.raises(DataError, match="another download to this folder is under way"):
        download(declaration, root, line())
    assert not site.asked


def segue(capsys, *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["download", *words])
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize("name", ["cityscapes", "bdd_anomaly", "lip"])
def test_where_one_must_register_the_command_says_where_and_what_to_put_where(tmp_path, capsys, name):
    code, err = segue(capsys, name, "--root", str(tmp_path / "new"))
    assert code == 2
    last = err.splitlines()[-1]
    assert DATASETS[name].registration in last
    assert str(tmp_path / "new") in last
    assert not (tmp_path / "new").exists()


def test_a_wrong_name_offers_the_nearest(tmp_path, capsys):
    code, err = segue(capsys, "cityscape", "--root", str(tmp_path))
    assert (code, err) == (2, "segue: cityscape: there is no data set of this name; did you mean cityscapes?\n")


def test_what_is_drawn_needs_no_download(tmp_path, capsys):
    main(["download", "scenes", "--root", str(tmp_path / "nowhere")])
    assert "train: 512 pictures" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_declared_archive_can_be_fetched_and_found_again(name):
    declaration = DATASETS[name]
    assert declaration.archives or declaration.registration or declaration.rootless
    for archive in declaration.archives:
        assert bool(archive.urls) != bool(declaration.registration)
        assert all(url.startswith(("https://", "http://")) for url in archive.urls)
        assert len(archive.sha256) in (0, 64)
        assert len(archive.md5) in (0, 32)
        if archive.holds:
            assert archive.name.endswith((".zip", ".tar", ".tgz", ".tar.gz"))
