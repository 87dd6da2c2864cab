"""AWS's own host names, answered on loopback: an HTTPS proxy that ends TLS itself, with a certificate of the test's."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

from imgmig_dagster_tests.listening import QuietHandler, serving
from imgmig_dagster_tests.tls_front import self_signed

_IDENTITY = (
    "<GetCallerIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><GetCallerIdentityResult>"
    "<Arn>arn:aws:sts::123456789012:assumed-role/imgmig-migrator/x</Arn><UserId>AROA:x</UserId>"
    "<Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
)


@contextmanager
def sts_of_aws(folder: Path) -> Iterator[dict[str, str]]:
    """The variables with which botocore reaches an STS of account 123456789012 under AWS's own name."""
    certificate = self_signed(folder, "DNS:*.us-east-1.amazonaws.com")
    context = certificate.server_context()

    class Handler(QuietHandler):
        def do_CONNECT(self) -> None:  # noqa: N802  # http.server's name
            self.send_response(200)
            self.end_headers()
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", buffering=0)
            self.close_connection = False

        def do_POST(self) -> None:  # noqa: N802
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(_IDENTITY)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(_IDENTITY.encode())

        def finish(self) -> None:
            super().finish()
            self.connection.close()

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield {"HTTPS_PROXY": f"http://127.0.0.1:{server.server_port}", "AWS_CA_BUNDLE": str(certificate.file)}
