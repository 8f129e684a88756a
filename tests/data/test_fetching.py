"""Against a real server, which breaks off, lies, forgets and changes its mind."""

import hashlib
import random

import pytest

from segue.data import fetching
from segue.data.declaration import Archive
from segue.data.fetching import ATTEMPTS, FetchError, fetch
from tests.data.site import Answer, Site, broken_after, running

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def site():
    with running() as server:
        yield server


def archive(*urls: str, sha256: str = "", md5: str = "", size: int = 0) -> Archive:
    return Archive(name="data.zip", place="data", holds="*", urls=urls, sha256=sha256, md5=md5, size=size)


def fetched(one: Archive, folder):
    pauses: list[float] = []
    result = fetch(one, folder, lambda text: None, pauses.append)
    assert not list(folder.glob("*.part*"))
    assert result.path == folder / "data.zip"
    return result, pauses


def ranges(site: Site) -> list[str]:
    return [wanted for _, wanted in site.asked]


@pytest.mark.parametrize(("known", "checked"), [({}, False), ({"sha256": SHA256}, True), ({"md5": MD5}, True)])
def test_a_file_is_fetched_and_its_hash_compared_or_recorded(site, tmp_path, known, checked):
    result, _ = fetched(archive(site.serve("/a.zip", Answer(CONTENT)), **known), tmp_path)
    assert result.path.read_bytes() == CONTENT
    assert (result.sha256, result.checked, result.size) == (SHA256, checked, len(CONTENT))


def test_a_broken_connection_is_gone_on_with_where_it_broke(site, tmp_path):
    answer = Answer(CONTENT)
    url = site.serve("/a.zip", broken_after(answer, 100_000), broken_after(answer, 50_000), answer)
    result, pauses = fetched(archive(url), tmp_path)
    assert result.path.read_bytes() == CONTENT
    assert ranges(site) == ["", "bytes=100000-", "bytes=150000-"]
    assert len(pauses) == 2


def test_another_try_goes_on_with_what_the_last_one_left(site, tmp_path):
    answer = Answer(CONTENT)
    url = site.serve("/a.zip", broken_after(answer, 100_000), Answer(status=404))
    with pytest.raises(FetchError, match="the server says 404"):
        fetched(archive(url), tmp_path)
    assert (tmp_path / "data.zip.part").stat().st_size == 100_000
    site.serve("/a.zip", answer)
    assert fetched(archive(url), tmp_path)[0].path.read_bytes() == CONTENT
    assert ranges(site)[-1] == "bytes=100000-"


def test_a_whole_part_whose_check_never_came_is_not_fetched_again(site, tmp_path, monkeypatch):
    url = site.serve("/a.zip", Answer(CONTENT))

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "check_file", killed)
        with pytest.raises(KeyboardInterrupt):
            fetched(archive(url), tmp_path)
    assert fetched(archive(url), tmp_path)[0].path.read_bytes() == CONTENT
    assert ranges(site) == ["", f"bytes={len(CONTENT)}-"]  # answered by 416: there is no more


def test_a_server_that_ignores_ranges_begins_anew(site, tmp_path):
    answer = Answer(CONTENT, ranges=False)
    url = site.serve("/a.zip", broken_after(answer, 100_000), broken_after(answer, 200_000), answer)
    assert fetched(archive(url), tmp_path)[0].path.read_bytes() == CONTENT


def test_a_server_that_always_breaks_at_the_same_place_is_given_up(site, tmp_path):
    url = site.serve("/a.zip", broken_after(Answer(CONTENT, ranges=False), 100_000))
    with pytest.raises(FetchError, match=f"ends after 100000 of 300000 bytes, {ATTEMPTS} times in a row"):
        fetched(archive(url), tmp_path)
    assert len(site.asked) == 1 + ATTEMPTS


def test_content_that_changes_between_attempts_is_not_mixed(site, tmp_path):
    url = site.serve("/a.zip", broken_after(Answer(OTHER), 100_000), Answer(CONTENT))
    assert fetched(archive(url), tmp_path)[0].path.read_bytes() == CONTENT


def test_without_a_version_and_a_hash_nothing_is_gone_on_with(site, tmp_path):
    url = site.serve("/a.zip", broken_after(Answer(OTHER, etag=""), 100_000), Answer(CONTENT, etag=""))
    assert fetched(archive(url), tmp_path)[0].path.read_bytes() == CONTENT
    assert ranges(site) == ["", ""]


def test_a_mixture_that_the_hash_gives_away_is_fetched_anew(site, tmp_path):
    url = site.serve("/a.zip", broken_after(Answer(OTHER, etag=""), 100_000), Answer(CONTENT, etag=""))
    assert fetched(archive(url, sha256=SHA256), tmp_path)[0].path.read_bytes() == CONTENT
    assert ranges(site) == ["", "bytes=100000-", ""]


def test_a_wrong_file_is_refused_and_not_kept(site, tmp_path):
    url = site.serve("/a.zip", Answer(OTHER))
    with pytest.raises(FetchError, match=rf"{url}: is not data.zip: its sha256 is .*, not {SHA256}"):
        fetched(archive(url, sha256=SHA256), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(site.asked) == 1


def test_a_wrong_mixture_is_not_fetched_for_ever(site, tmp_path):
    answer = Answer(OTHER)
    url = site.serve("/a.zip", *[broken_after(answer, 100_000), answer] * 4)
    with pytest.raises(FetchError, match=r"is not data\.zip"):
        fetched(archive(url, md5=MD5), tmp_path)
    assert len(site.asked) == 4


@pytest.mark.parametrize("said", [200_000, 400_000])
def test_a_length_that_is_a_lie_is_told_of(site, tmp_path, said):
    url = site.serve("/a.zip", Answer(CONTENT, said=said, ranges=False))
    with pytest.raises(FetchError, match=r"not data\.zip: its sha256|ends after 300000 of 400000 bytes, 5 times"):
        fetched(archive(url, sha256=SHA256), tmp_path)
    assert not (tmp_path / "data.zip").exists()


def test_another_size_than_the_known_one_is_refused_at_once(site, tmp_path):
    url = site.serve("/a.zip", Answer(CONTENT))
    with pytest.raises(FetchError, match=r"has 300000 bytes, where data\.zip has 5: not the same file"):
        fetched(archive(url, size=5), tmp_path)


@pytest.mark.parametrize("known", [{"sha256": SHA256}, {}])
def test_a_server_that_says_no_length_is_read_to_its_end(site, tmp_path, known):
    answer = Answer(CONTENT, chunked=True)
    url = site.serve("/a.zip", broken_after(answer, 100_000), answer)
    assert fetched(archive(url, **known), tmp_path)[0].path.read_bytes() == CONTENT


def test_an_endless_answer_ends_at_the_known_size(site, tmp_path):
    url = site.serve("/a.zip", Answer(CONTENT, chunked=True))
    with pytest.raises(FetchError, match=r"sends more than data\.zip has"):
        fetched(archive(url, size=1000), tmp_path)


def test_a_full_disk_is_told_of_before_it_is_full(site, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "ROOM_LEFT", 1 << 62)
    url = site.serve("/a.zip", Answer(CONTENT))
    with pytest.raises(FetchError, match=r"too little room for data\.zip: 300 kB are to come"):
        fetched(archive(url), tmp_path)


def test_a_mirror_goes_on_with_what_the_source_began(site, tmp_path):
    first = site.serve("/a.zip", broken_after(Answer(CONTENT), 100_000), Answer(status=410))
    second = site.serve("/mirror/a.zip", Answer(CONTENT, etag='"of the mirror"'))
    result, _ = fetched(archive(first, second, sha256=SHA256), tmp_path)
    assert result.path.read_bytes() == CONTENT
    assert result.url == second
    assert site.asked[-1] == ("/mirror/a.zip", "bytes=100000-")


def test_without_a_hash_a_mirror_begins_anew(site, tmp_path):
    first = site.serve("/a.zip", broken_after(Answer(OTHER), 100_000), Answer(status=410))
    second = site.serve("/mirror/a.zip", Answer(CONTENT))
    assert fetched(archive(first, second), tmp_path)[0].path.read_bytes() == CONTENT
    assert site.asked[-1] == ("/mirror/a.zip", "")


def test_when_every_address_fails_each_one_is_named(site, tmp_path):
    first, second = site.serve("/a.zip", Answer(status=404)), site.serve("/b.zip", Answer(status=403))
    with pytest.raises(FetchError, match=f"{first}: the server says 404 .*; {second}: the server says 403"):
        fetched(archive(first, second), tmp_path)


def test_a_server_that_is_busy_is_waited_for(site, tmp_path):
    url = site.serve("/a.zip", Answer(status=503), Answer(status=429), Answer(CONTENT))
    result, pauses = fetched(archive(url), tmp_path)
    assert result.size == len(CONTENT)
    assert pauses == [2.0, 4.0]


def test_nobody_at_home_is_told_of(tmp_path):
    with running() as gone:
        url = gone.address + "/a.zip"
    with pytest.raises(FetchError, match=f"{url}: .*refused.*, {ATTEMPTS} times in a row"):
        fetched(archive(url), tmp_path)


def test_a_redirection_is_followed_but_not_to_a_file(site, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    site.serve("/new.zip", Answer(CONTENT))
    assert fetched(archive(site.serve("/a.zip", Answer(to="/new.zip"))), tmp_path / "1")[0].size == len(CONTENT)
    for to in (secret.as_uri(), "ftp://127.0.0.1/a.zip"):
        with pytest.raises(FetchError):
            fetched(archive(site.serve("/b.zip", Answer(to=to))), tmp_path / "2")
    assert not (tmp_path / "2" / "data.zip").exists()
