"""What this process knows about the servers that it reached, shared by all its connections."""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from psycopg.conninfo import conninfo_to_dict

from imgmig_dagster.errors import LoginRefused, SessionRefused

_LOGIN_REMEMBERED_S: Final = 60.0
_OF_A_HOST: Final = ("host", "hostaddr", "port")


@dataclass(frozen=True)
class Cluster:
    """Which PostgreSQL a session is in.

    `system` is its system identifier, `timeline` rises with each promotion; None if the role may not read them.
    `database` and `role` are the oids, which anybody may read, and which a physical copy shares with its primary.
    """

    system: str | None
    timeline: int | None
    database: int
    role: int

    def is_followed_by(self, other: "Cluster") -> bool:
        """Whether `other`, of a later session, is the same data as this one, or its promoted successor."""
        behind = None not in (self.timeline, other.timeline) and (other.timeline or 0) < (self.timeline or 0)
        same = (self.system, self.database, self.role) == (other.system, other.database, other.role)
        return same and not behind


class KnownServers:
    """By URL: the cluster that it first led to, and the login that the server refused."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._clusters: dict[str, Cluster] = {}
        self._refused: dict[str, tuple[float, str]] = {}

    def refuse_login_again(self, url: str) -> None:
        """Refuse a login that the server refused within the last minute: failed logins can lock an account.

        Raises:
            LoginRefused: with the text of the first refusal.
        """
        refused_at, text = self._refused.get(url, (0.0, ""))
        if text and self._clock() - refused_at < _LOGIN_REMEMBERED_S:
            raise LoginRefused(text)

    def login_refused(self, url: str, text: str) -> None:
        """Remember a login that the server refused."""
        self._refused[url] = self._clock(), text

    def reached(self, url: str) -> bool:
        """Whether the URL led to a primary before."""
        return _place(url) in self._clusters

    def recognize(self, url: str, cluster: Cluster) -> None:
        """Compare a new session's cluster with the one that the same URL led to before.

        Raises:
            SessionRefused: it is another one, or a copy that a failover left behind.
        """
        with self._lock:
            first = self._clusters.setdefault(_place(url), cluster)
            if not first.is_followed_by(cluster):
                raise SessionRefused(
                    "a new connection by url in [source] led to another PostgreSQL than the first one of this "
                    "process, or to one that a failover left behind: have the URL name one primary, then give the same "
                    "command again"
                )
            self._clusters[_place(url)] = cluster


def each_address(parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parameters of a connection for each single host and address that they name, in their order.

    psycopg would try them all, with a wrong password at each; libpq stops at the first that refuses the password.
    """
    named = {name: str(parameters[name]).split(",") for name in _OF_A_HOST if parameters.get(name)}
    count = max(map(len, named.values()), default=1)
    if any(len(values) not in (1, count) for values in named.values()):
        yield parameters  # libpq says what is wrong
        return
    hosts = [{name: values[n % len(values)] for name, values in named.items()} for n in range(count)]
    if parameters.get("load_balance_hosts") == "random":
        random.shuffle(hosts)
    for host in hosts:
        yield from ({**parameters, **host, **address} for address in _addresses(host))


def _addresses(host: dict[str, str]) -> list[dict[str, str]]:
    name = host.get("host", "")
    if not name or name.startswith("/") or host.get("hostaddr"):
        return [{}]
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return [{}]  # psycopg says what is wrong
    return [{"hostaddr": str(address[0])} for *_kind, address in found]


def _place(url: str) -> str:
    # A password may change while a process runs, and must not be kept.
    return repr(sorted((name, value) for name, value in conninfo_to_dict(url).items() if name != "password"))


KNOWN_SERVERS: Final = KnownServers()
"""The servers of this process."""
