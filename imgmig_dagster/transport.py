"""Where traffic may go unencrypted: nowhere in staging and prod, but on loopback where a setting says so by name."""

import ipaddress
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")

PlainTraffic: TypeAlias = Literal["never", "loopback", "anywhere"]
"""To which hosts a connection may go without TLS."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own; a UNIX socket's directory counts as one."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def endpoint_is_allowed(url: str, plain: PlainTraffic) -> bool:
    """Whether requests may be sent to an HTTP endpoint."""
    parts = urlsplit(url)
    return parts.scheme == "https" or _plain_is_allowed([parts.hostname or ""], plain)


def is_source_url(url: str) -> bool:
    """Whether libpq can read the URL; why not stays untold, since that would quote the URL."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return False
    return True


def source_is_allowed(url: str, plain: PlainTraffic) -> bool:
    """Whether PostgreSQL may be reached by this libpq URL, which has to ask for `verify-full` itself.

    What libpq would add from its own variables or a service file does not count.
    """
    from psycopg.conninfo import conninfo_to_dict  # what needs no connection does not pay for the driver

    found = conninfo_to_dict(url)
    hosts = [host for name in ("host", "hostaddr") for host in str(found.get(name) or "").split(",") if host]
    return found.get("sslmode") == "verify-full" or _plain_is_allowed(hosts, plain)


def _plain_is_allowed(hosts: "list[str]", plain: PlainTraffic) -> bool:
    return plain == "anywhere" or (plain == "loopback" and bool(hosts) and all(map(is_loopback, hosts)))
