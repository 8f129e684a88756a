"""A web server on this machine, with every fault that a web server can have."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """How a request is answered.

    content: the file, whole. etag: its version; derived from the content by default, none if "".
    status: an error instead. breaks_after: bytes after which the connection is cut.
    ranges: whether parts are served. said: a length to claim, instead of the true one. chunked: say no length at all.
    to: a redirection.
    """

    content: bytes = b""
    etag: str | None = None
    status: int = 200
    breaks_after: int | None = None
    ranges: bool = True
    said: int | None = None
    chunked: bool = False
    to: str = ""

    @property
    def tag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"' if self.etag is None else self.etag


@dataclass
class Site:
    """What each path answers: a list of answers, one for each request, the last one for all that follow."""

    address: str
    paths: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Each request's path and range."""

    def serve(self, path: str, *answers: Answer) -> str:
        """Answer this path so, and return its address."""
        self.paths[path] = list(answers)
        return self.address + path

    def next_answer(self, path: str) -> Answer:
        answers = self.paths.get(path, [Answer(status=404)])
        return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def running() -> Iterator[Site]:
    """A server, as long as the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    site = Site(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = _handler(site)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(site: Site) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            site.asked.append((self.path, wanted))
            answer = site.next_answer(self.path)
            if answer.status != 200 or answer.to:
                self.send_response(302 if answer.to else answer.status)
                if answer.to:
                    self.send_header("Location", answer.to)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = self._start(answer, wanted)
            if start is None:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(answer.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send(answer, start)

        def _start(self, answer: Answer, wanted: str) -> int | None:
            match = re.fullmatch(r"bytes=(\d+)-", wanted)
            stale = self.headers.get("If-Range", answer.tag) != answer.tag
            if not match or not answer.ranges or stale:
                return 0
            start = int(match[1])
            return start if start < len(answer.content) else None

        def _send(self, answer: Answer, start: int) -> None:
            body = answer.content[start:]
            self.send_response(206 if start else 200)
            if start:
                total = len(answer.content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            if answer.tag:
                self.send_header("ETag", answer.tag)
            if answer.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(body) if answer.said is None else answer.said))
            self.end_headers()
            sent = body if answer.breaks_after is None else body[: answer.breaks_after]
            if answer.chunked:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent))
                if len(sent) == len(body):
                    self.wfile.write(b"0\r\n\r\n")
            else:
                self.wfile.write(sent)
            self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            """Tests are quiet."""

    return Handler


def broken_after(answer: Answer, count: int) -> Answer:
    """The same answer, cut off."""
    return replace(answer, breaks_after=count)
