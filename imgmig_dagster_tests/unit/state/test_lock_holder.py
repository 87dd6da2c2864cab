"""A run that finds a lock taken names the holder, with any content of its file."""

import os
import socket
from pathlib import Path

import pytest

from imgmig_dagster.errors import PartitionBusy
from imgmig_dagster.state.lock_holder import busy
from imgmig_dagster.state.store import LocalStateStore

HOLDER = b'{"owner": "a", "host": "worker-2", "process": 17, "since": "2026-11-26T15:28:30.169+00:00"}'


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (HOLDER, "holds p/run.lock (process 17 on host worker-2, since 2026-11-26 15:28:30 UTC): wait"),
        (b"", "holds p/run.lock: wait"),
        (b"{torn", "holds p/run.lock: wait"),
        (b"[]", "holds p/run.lock: wait"),
        (b'{"owner": "of an earlier version", "beat": 3}', "holds p/run.lock: wait"),
    ],
)
def test_the_holder_is_named_where_the_file_names_it(content: bytes, told: str) -> None:
    assert told in str(busy("p/run.lock", content))


def test_a_file_lock_names_the_process_that_holds_it_now(tmp_path: Path) -> None:
    store = LocalStateStore(tmp_path)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "run.lock").write_bytes(HOLDER + b" " * 100)
    with store.exclusive("p/run.lock"):
        with pytest.raises(PartitionBusy) as refused, LocalStateStore(tmp_path).exclusive("p/run.lock"):
            pass
        assert f"(process {os.getpid()} on host {socket.gethostname()}, since 20" in str(refused.value)
    with store.exclusive("p/run.lock"):
        pass
