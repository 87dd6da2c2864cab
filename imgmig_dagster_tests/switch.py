"""A TCP forwarder whose server can be exchanged: what a name in DNS, or a virtual address, does in a failover."""

import select
import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from imgmig_dagster_tests.listening import serving


class Switch(socketserver.ThreadingTCPServer):
    """Forwards each new connection to `upstream`; those that are open stay where they are until they are cut."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, upstream: int, listens_on: tuple[str, int]) -> None:
        super().__init__(listens_on, _Forwarded)
        self.upstream = upstream
        self.opened = 0
        self._open: list[socket.socket] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def to(self, upstream: int) -> None:
        """Cut what is open, and lead to another server from now on."""
        self.upstream = upstream
        while self._open:
            with self._open.pop() as connection, suppress(OSError):  # it may have ended by itself
                connection.shutdown(socket.SHUT_RDWR)


class _Forwarded(socketserver.BaseRequestHandler):
    server: Switch

    def handle(self) -> None:
        self.server.opened += 1
        with socket.create_connection(("127.0.0.1", self.server.upstream)) as upstream:
            self.server._open.append(self.request)
            while True:
                for each in select.select([self.request, upstream], [], [])[0]:
                    try:
                        content = each.recv(65_536)
                    except OSError:
                        return
                    if not content:
                        return
                    (upstream if each is self.request else self.request).sendall(content)


@contextmanager
def switch(upstream: int, listens_on: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[Switch]:
    """A switch before the server at that port of loopback."""
    with serving(Switch(upstream, listens_on)) as server:
        yield server
