"""A company's forward proxy: it takes absolute URLs and CONNECT, may ask for a password, and notes what is asked."""

import base64
import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from urllib.parse import urlsplit

from imgmig_dagster_tests.listening import ForwardingHandler, serving

USER, PASSWORD = "egress", "p@ss:w/rd%"
USERINFO = "egress:p%40ss%3Aw%2Frd%25"
_EXPECTED = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class ForwardProxy(ThreadingHTTPServer):
    """`asked` are the requests as they came: ("POST", "host", operation) or ("CONNECT", "host:443", "").

    `ports` are those of 127.0.0.1 that answer for host names; no other host is let through.
    """

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


class _Handler(ForwardingHandler):
    server: ForwardProxy

    def do_CONNECT(self) -> None:  # noqa: N802  # http.server's name
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

    def judge(self) -> None:
        url = urlsplit(self.path)
        host = url.hostname or ""
        body = self.body()
        if not self._is_let_through(host, host):
            return
        path = url._replace(scheme="", netloc="").geturl() or "/"
        status, content, headers = self.carry_out(f"127.0.0.1:{self.server.ports[host]}", path, body)
        self.send_response(status)
        for name, value in headers:
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


@contextmanager
def forward_proxy(ports: Mapping[str, int], password: bool = False) -> Iterator[ForwardProxy]:
    """A proxy to which each of these host names is a port of 127.0.0.1."""
    with serving(ForwardProxy(ports, password)) as proxy:
        yield proxy
