"""Where traffic may go unencrypted: only to loopback, and only if a setting allows it; in prod nowhere."""

import ipaddress
import re
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")

PlainTraffic: TypeAlias = Literal["never", "loopback", "anywhere"]
"""To which hosts a connection may go without TLS."""

_HOST: Final = r"(?:\[[^\]\s]*\]|[^@/?#:,\s]*)(?::[0-9]*)?"
_SOURCE_URL: Final = re.compile(
    rf"postgres(?:ql)?://(?:[^@/?#\s]*@)?{_HOST}(?:,{_HOST})*(?:/[^@/?#\s]*)?(?:\?[^#\s]*)?"
)
_NOT_ENCODED: Final = re.compile("%(?![0-9A-Fa-f]{2})")
# A login with a password; a host with a port and no login is none.
_NO_PORT: Final = r"(?!\d+(?:[,/?#]|$))"
_LOGIN: Final = re.compile(rf"://[^/?#@:]*:{_NO_PORT}.*@")
_LOGIN_PASSWORD: Final = re.compile(rf"(://[^/?#@:]*):{_NO_PORT}[^?#]*@")
_PASSWORD_PARAMETER: Final = re.compile(r"[?&](?:ssl)?password=", re.IGNORECASE)

_PRISMA: Final = "Prisma's; leave it out"
_JDBC: Final = "JDBC's; leave it out"
_FOREIGN_PARAMETERS: Final = {
    "schema": "Prisma's: set `table` in the declaration",
    "currentSchema": "JDBC's: set `table` in the declaration",
    "search_path": "another driver's: set `table` in the declaration",
    "pgbouncer": "Prisma's; leave it out: imgmig needs nothing of a pooler",
    **dict.fromkeys(("connection_limit", "pool_timeout", "socket_timeout", "statement_cache_size"), _PRISMA),
    **dict.fromkeys(("sslaccept", "sslidentity"), "Prisma's: write sslmode=verify-full"),
    "ssl": "another driver's: write sslmode=verify-full",
    **dict.fromkeys(("sslfactory", "sslhostnameverifier"), "JDBC's: write sslmode=verify-full"),
    **dict.fromkeys(("prepareThreshold", "preparedStatementCacheQueries", "preferQueryMode"), _JDBC),
    **dict.fromkeys(("socketTimeout", "loginTimeout", "tcpKeepAlive", "stringtype", "reWriteBatchedInserts"), _JDBC),
    "connectTimeout": "JDBC's: write connect_timeout",
    "ApplicationName": "JDBC's: write application_name",
    "targetServerType": "JDBC's: write target_session_attrs=primary",
    "loadBalanceHosts": "JDBC's: write load_balance_hosts",
    "uselibpqcompat": "node-postgres'; leave it out",
    "charset": "another database's; leave it out: it is always UTF-8",
    "encoding": "Rails'; leave it out: it is always UTF-8",
    **dict.fromkeys(("pool", "prepared_statements", "checkout_timeout", "reaping_frequency"), "Rails'; leave it out"),
    **dict.fromkeys(("conn_max_age", "CONN_MAX_AGE", "DISABLE_SERVER_SIDE_CURSORS"), "Django's; leave it out"),
    **dict.fromkeys(("pool_max_conns", "pool_min_conns", "default_query_exec_mode"), "pgx's; leave it out"),
    "binary_parameters": "Go's pq's; leave it out",
    **dict.fromkeys(("prepared_statement_cache_size", "command_timeout", "server_settings"), "asyncpg's; leave it out"),
    "statement_timeout": "another driver's; leave it out: imgmig sets its own",
    "timezone": "another driver's; leave it out: imgmig reads in UTC",
}


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


def source_url_fault(url: str) -> str | None:
    """Why libpq cannot read a source's URL; None if it can. Shows nothing of the URL: it is a secret."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        # libpq's own error would quote what it cannot read, and a part of the password with it.
        conninfo_to_dict(url)
        if _SOURCE_URL.fullmatch(url) and not _NOT_ENCODED.search(url):
            return None
    except psycopg.ProgrammingError:
        pass
    if foreign := foreign_parameters(url):
        return f"libpq does not know all of its parameters{foreign}"
    return (
        "not a URL such as postgresql://user:password@host:5432/database; in a password, characters such as "
        "% @ / ? # & and the space are written as %25 %40 %2F %3F %23 %26 %20"
    )


def holds_password(text: str) -> bool:
    """Whether a text such as a URL holds a password, of the login or of a parameter, however it is spelled."""
    return _LOGIN.search(text) is not None or _PASSWORD_PARAMETER.search(unquote(text)) is not None


def without_password(url: str) -> str:
    """A URL without the passwords of its login and its parameters; the rest stays as it is spelled."""
    start, mark, query = url.partition("?")
    kept = [each for each in query.split("&") if not _PASSWORD_PARAMETER.match("?" + unquote(each))]
    return _LOGIN_PASSWORD.sub(r"\1@", start) + (mark + "&".join(kept) if any(kept) else "")


def foreign_parameters(url: str) -> str:
    """The end of a message: which parameters of a URL belong to other tools, and what to write instead.

    It names only known parameters: another one may be the rest of a password that was not encoded.
    """
    names = dict.fromkeys(name for name, _value in parse_qsl(url.partition("?")[2], keep_blank_values=True))
    return "".join(f"; {name} is {_FOREIGN_PARAMETERS[name]}" for name in names if name in _FOREIGN_PARAMETERS)


def source_is_allowed(url: str, plain: PlainTraffic) -> bool:
    """Whether PostgreSQL may be reached by this libpq URL, which has to ask for `verify-full` itself.

    Where less is allowed on loopback, the address that libpq dials decides: PGHOSTADDR or a service can set another one
    than the URL's host.
    """
    from psycopg.conninfo import conninfo_to_dict  # only a connection needs to import the driver
    from psycopg.pq import Conninfo

    found = conninfo_to_dict(url)
    if found.get("sslmode") == "verify-full":
        return True
    addresses = found.get("hostaddr") or next(
        (option.val.decode() for option in Conninfo.get_defaults() if option.keyword == b"hostaddr" and option.val), ""
    )
    if "service" in found and not found.get("hostaddr"):
        return plain == "anywhere"
    hosts = [host for named in (found.get("host"), addresses) for host in str(named or "").split(",") if host]
    return bool(found.get("host") or found.get("hostaddr") or plain == "anywhere") and _plain_is_allowed(hosts, plain)


def _plain_is_allowed(hosts: list[str], plain: PlainTraffic) -> bool:
    return plain == "anywhere" or (plain == "loopback" and bool(hosts) and all(map(is_loopback, hosts)))
