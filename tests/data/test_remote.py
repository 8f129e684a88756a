"""Shards over HTTP, from a real server on this machine that misbehaves as servers do."""

import multiprocessing
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from segue.data.folder import open_folder
from segue.data.loading import TrainingSamples, training_loader, training_positions
from segue.data.remote import RemoteShard, read_small
from segue.data.sharding import write_shards
from segue.data.shards import open_shards, understood_shards
from segue.data.transforms import Augmentation
from segue.errors import DataError
from segue.labels import Labels
from tests.toy import toy

THREE = Labels(classes=("ground", "box", "disc"))


class Files(BaseHTTPRequestHandler):
    """Serves files of a folder with ranges; `server.breaks` answers end in the middle, `server.busy` are refused."""

    def do_GET(self) -> None:  # as the standard library calls it
        self.server.asked.append(self.path)
        path = self.server.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        if self.server.busy > 0:
            self.server.busy -= 1
            self.send_error(503)
            return
        content = path.read_bytes()
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{len(content)}"')
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        rest = content[start:]
        if self.server.breaks > 0 and path.suffix == ".tar":
            self.server.breaks -= 1
            self.wfile.write(rest[: len(rest) // 2])
            return
        self.wfile.write(rest)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("segue.data.remote.LONGEST", 0.01)
    folder = tmp_path / "www"
    for split in ("train", "val"):
        write_shards(open_folder(toy(tmp_path / "toy"), split, THREE), split, folder, most_bytes=40_000)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    server.folder, server.asked, server.breaks, server.busy = folder, [], 0, 0
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def address(server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def tars(server) -> list[str]:
    return [path for path in server.asked if path.endswith(".tar")]


def test_shards_of_a_server_are_as_those_of_a_folder(server):
    local = open_shards(str(server.folder), "train")
    count = len(local.shards)
    for name in (address(server), f"{address(server)}/train-{{000..{count - 1:03d}}}.tar"):
        remote = open_shards(name, "train")
        assert remote.labels == THREE
        assert len(open_shards(name, "val")) == 5
        assert remote.order(3, 1).tolist() == local.order(3, 1).tolist()
        for index in range(len(local)):
            assert np.array_equal(remote.image(index), local.image(index))
            assert np.array_equal(remote.target(index), local.target(index))


def test_a_shard_is_fetched_when_it_is_wanted_and_once(server):
    data = open_shards(address(server), "train")
    assert tars(server) == []
    data.image(0), data.target(0)
    assert tars(server) == ["/train-000.tar"]
    again = open_shards(address(server), "train")
    again.image(0)
    assert tars(server) == ["/train-000.tar"]  # a later run finds it in the cache


def test_the_next_shards_are_fetched_ahead(server):
    data = open_shards(address(server), "train")
    first = data.order(0, 0)[0]
    data.image(int(first))
    for thread in threading.enumerate():
        if thread.name == "fetching shards":
            thread.join(20)
    assert sorted(set(tars(server))) == sorted(f"/{path.name}" for path in server.folder.glob("train-*.tar"))


def read_all(name: str) -> None:
    data = open_shards(name, "train")
    for index in range(len(data)):
        data.image(index)


def test_processes_of_a_machine_fetch_a_shard_once(server):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=read_all, args=(address(server),)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(tars(server)) == sorted(f"/{path.name}" for path in server.folder.glob("train-*.tar"))


def test_loading_shows_every_picture_once(server):
    samples = TrainingSamples(open_shards(address(server), "train"), Augmentation((24, 24)), seed=1)
    names = [
        name
        for _, _, some in training_loader(samples, training_positions(0, 5, 3, 1, 0, 1), workers=2)
        for name in some
    ]
    assert sorted(names) == sorted(samples.data.name(index) for index in range(15))


def test_broken_connections_and_busy_servers_are_tried_again(server):
    server.breaks, server.busy = 3, 2
    data = open_shards(address(server), "train")
    local = open_shards(str(server.folder), "train")
    assert np.array_equal(data.image(0), local.image(0))
    assert server.breaks == 0


def test_without_indexes_the_shards_say_it(server):
    for path in server.folder.glob("*.json"):
        path.unlink()
    count = len(list(server.folder.glob("train-*.tar")))
    name = f"{address(server)}/train-{{000..{count - 1:03d}}}.tar"
    assert len(open_shards(name, "train", THREE)) == 15
    with pytest.raises(DataError, match="nothing says which classes there are"):
        understood_shards(name)
    assert understood_shards(name, names=THREE.classes).labels.classes == THREE.classes
    with pytest.raises(DataError, match=r"name them, such as --data\.val 'PATTERN\.tar'"):
        open_shards(name, "val", THREE)


def test_an_index_of_another_shard_is_told_of(server):
    first, second = (server.folder / f"train-00{number}.tar.index.json" for number in (0, 1))
    first.write_text(second.read_text().replace('"bytes": ', '"bytes": 1'))
    with pytest.raises(DataError, match=r"train-000\.tar: is not of the \d+ bytes that its index says"):
        open_shards(address(server), "train").image(0)


def test_an_unreachable_host_is_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/train-000.tar"
    pauses: list[float] = []
    with pytest.raises(DataError, match=rf"{url}: cannot be reached \(.*refused.*\), 5 times in a row"):
        read_small(url, pauses.append)
    assert pauses == [0.5, 1.0, 2.0, 4.0]


def test_a_shard_that_is_not_there_is_one_line(server, tmp_path):
    shard = RemoteShard(f"{address(server)}/train-777.tar", pause=lambda seconds: None)
    with pytest.raises(DataError, match=r"train-777\.tar: the server says 404"):
        shard.index()
    assert list((tmp_path / "cache").rglob("*.tar")) == []
