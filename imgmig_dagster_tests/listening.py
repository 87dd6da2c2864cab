"""Servers of a test's own on loopback, in threads. What stands for DynamoDB is in `fault_proxy` and `front`."""

import http.client
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

Server = TypeVar("Server", bound=socketserver.TCPServer)
_OF_ONE_HOP = frozenset({"transfer-encoding", "connection", "content-length", "server", "date"})


class QuietHandler(BaseHTTPRequestHandler):
    """Writes no line for each request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: object) -> None:
        pass


class ForwardingHandler(QuietHandler):
    """Has `judge` look at a request of any method."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self.judge
        raise AttributeError(name)

    def judge(self) -> None:
        raise NotImplementedError

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def carry_out(self, upstream: str, path: str, body: bytes) -> tuple[int, bytes, list[tuple[str, str]]]:
        """Have the server at that host and port answer: status, body, and the headers that are not of one hop."""
        connection = http.client.HTTPConnection(upstream)
        connection.request(self.command, path, body, dict(self.headers.items()))
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        headers = [(name, value) for name, value in reply.getheaders() if name.lower() not in _OF_ONE_HOP]
        return reply.status, content, headers


class PostHandler(QuietHandler):
    """Answers what is posted."""

    protocol_version = "HTTP/1.0"

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body: bytes) -> None:
        raise NotImplementedError


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Serve while the context lasts."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer by the handler while the context lasts; the server's URL."""
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"
