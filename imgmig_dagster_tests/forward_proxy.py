"""A company's forward proxy: it takes absolute URLs and CONNECT, may ask for a password, and notes what is asked."""

import base64
import http.client
import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

USER, PASSWORD = "egress", "p@ss:w/rd%"
USERINFO = "egress:p%40ss%3Aw%2Frd%25"
_EXPECTED = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_OF_ONE_HOP = frozenset({"transfer-encoding", "connection", "content-length", "server", "date"})


class ForwardProxy(ThreadingHTTPServer):
    """`asked` are the requests as they came: ("POST", "host", operation) or ("CONNECT", "host:443", "").

    `ports` are those of 127.0.0.1 that answer for host names; no other host is let through.
    """

    daemon_threads = True

    def __init__(self, ports: Mapping[str, int], password: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ports = ports
        self.password = password
        self.asked: list[tuple[str, str, str]] = []
        self.refused = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def url_with_password(self) -> str:
        return f"http://{USERINFO}@127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ForwardProxy
    protocol_version = "HTTP/1.1"

    def do_CONNECT(self) -> None:  # http.server's name
        host = self.path.partition(":")[0]
        if not self._is_let_through(self.path, host):
            return
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with socket.create_connection(("127.0.0.1", self.server.ports[host])) as upstream:
            while True:
                for each in select.select([self.connection, upstream], [], [])[0]:
                    content = each.recv(65_536)
                    if not content:
                        return
                    (upstream if each is self.connection else self.connection).sendall(content)

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self._forward
        raise AttributeError(name)

    def _forward(self) -> None:
        url = urlsplit(self.path)
        host = url.hostname or ""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._is_let_through(host, host):
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.ports[host])
        upstream.request(
            self.command, url._replace(scheme="", netloc="").geturl() or "/", body, dict(self.headers.items())
        )
        reply = upstream.getresponse()
        content = reply.read()
        upstream.close()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in _OF_ONE_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _is_let_through(self, target: str, host: str) -> bool:
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        self.server.asked.append((self.command, target, operation))
        status = 200
        if self.server.password and self.headers.get("Proxy-Authorization") != _EXPECTED:
            status = 407
        elif host not in self.server.ports:
            status = 403
        if status != 200:
            self.server.refused += 1
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        return status == 200

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
        pass


@contextmanager
def forward_proxy(ports: Mapping[str, int], password: bool = False) -> Iterator[ForwardProxy]:
    """A proxy to which each of these host names is a port of 127.0.0.1."""
    with ForwardProxy(ports, password) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
