"""Who holds a lock, as its file says it, for whoever finds it taken. The locks are in `store` and `lease`."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson

from imgmig_dagster.errors import PartitionBusy
from imgmig_dagster.window import now


def this_process() -> dict[str, Any]:
    """What a holder writes into its lock, as JSON."""
    return {"host": socket.gethostname(), "process": os.getpid(), "since": now()}


def name_holder(descriptor: int) -> None:
    """Write it into the file of a lock that is held. Whom nobody can name holds the lock all the same."""
    with suppress(OSError):
        os.ftruncate(descriptor, os.pwrite(descriptor, orjson.dumps(this_process()), 0))


def busy(place: str, content: bytes) -> PartitionBusy:
    """The error for a lock that is taken; `content` is what its holder wrote, of an earlier version perhaps nothing."""
    return PartitionBusy(
        f"another run holds {place}{_told(content)}: wait until it ends, then give the same command again. "
        "imgmig status shows how far it is"
    )


def _told(content: bytes) -> str:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(found, Mapping) or not {"host", "process", "since"} <= found.keys():
        return ""
    since = f"{found['since']!s:.19}".replace("T", " ")
    return f" (process {found['process']} on host {found['host']}, since {since} UTC)"
