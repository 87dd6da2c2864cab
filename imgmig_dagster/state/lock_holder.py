"""Who holds a lock, as its file says it, for a run that finds it taken. `store` and `lease` hold the locks."""

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
    """Write the holder into the file of a held lock. If that fails, the lock is held all the same."""
    with suppress(OSError):
        os.ftruncate(descriptor, os.pwrite(descriptor, orjson.dumps(this_process()), 0))


def busy(place: str, content: bytes) -> PartitionBusy:
    """The error for a taken lock. `content` is what its holder wrote; an earlier version may have written nothing."""
    return PartitionBusy(
        f"another run holds {place}{_named(content)}: wait until it ends, then give the same command again. "
        "imgmig status shows how far it is"
    )


def _named(content: bytes) -> str:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(found, Mapping) or not {"host", "process", "since"} <= found.keys():
        return ""
    since = f"{found['since']!s:.19}".replace("T", " ")
    return f" (process {found['process']} on host {found['host']}, since {since} UTC)"
