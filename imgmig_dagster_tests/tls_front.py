"""TLS in front of a server that speaks none, so that the stages which ask for it can be tried on loopback."""

import select
import socket
import socketserver
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgmig_dagster_tests.listening import serving

# What libpq sends before anything else: https://www.postgresql.org/docs/current/protocol-message-formats.html
_SSL_REQUEST = bytes.fromhex("0000000804d2162f")


@dataclass(frozen=True)
class Certificate:
    """A certificate that is its own authority, and its key."""

    file: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context


def self_signed(folder: Path, names: str) -> Certificate:
    """Make a certificate for these names, as openssl spells them: ``DNS:*.example.com,IP:127.0.0.1``."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"),
            *("-addext", f"subjectAltName={names}", "-keyout", made.key, "-out", made.file),
        ],
        check=True,
        capture_output=True,
    )
    return made


class _Front(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, upstream: tuple[str, int], context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.upstream = upstream
        self.context = context


class _Connection(socketserver.BaseRequestHandler):
    server: _Front

    def handle(self) -> None:
        if self.request.recv(len(_SSL_REQUEST), socket.MSG_PEEK) == _SSL_REQUEST:
            self.request.recv(len(_SSL_REQUEST))
            self.request.sendall(b"S")
        with (
            self.server.context.wrap_socket(self.request, server_side=True) as client,
            socket.create_connection(self.server.upstream) as upstream,
        ):
            while True:
                ready = [client] if client.pending() else select.select([client, upstream], [], [])[0]
                for each in ready:
                    content = each.recv(65_536)
                    if not content:
                        return
                    (upstream if each is client else client).sendall(content)


@contextmanager
def tls_front(port: int, certificate: Certificate) -> Iterator[int]:
    """The port on 127.0.0.1 at which the server of another port is reached by TLS; PostgreSQL's way of it too."""
    with serving(_Front(("127.0.0.1", port), certificate.server_context())) as server:
        yield server.server_address[1]
