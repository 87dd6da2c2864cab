"""The local store: whole files, versions, locks, nobody else's eyes. What a bucket promises too is tried on both."""

import os
import stat
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgmig_dagster.errors import PartitionBusy, StateChanged, StateUnavailable
from imgmig_dagster.state.s3 import S3StateStore
from imgmig_dagster.state.store import ABSENT, LocalStateStore, StageState, StateStore, Versioned
from imgmig_dagster_tests.arrange import access

HOLDER = """
import sys
from pathlib import Path
from imgmig_dagster.state.store import LocalStateStore
with LocalStateStore(Path(sys.argv[1])).exclusive("p/run.lock"):
    print("held", flush=True)
    sys.stdin.read()
"""
APPENDER = """
import sys
from pathlib import Path
from imgmig_dagster.errors import StateChanged
from imgmig_dagster.state.store import LocalStateStore
store = LocalStateStore(Path(sys.argv[1]))
for _ in range(20):
    while True:
        found = store.read("p/count")
        try:
            store.write("p/count", str(int(found.content) + 1).encode(), replacing=found.version)
        except StateChanged:
            continue
        break
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state" / "dev"


@pytest.fixture
def store(root: Path) -> LocalStateStore:
    return LocalStateStore(root)


@pytest.fixture(params=["folder", "bucket"])
def either(request: pytest.FixtureRequest, root: Path) -> StageState:
    """A store of either kind."""
    if request.param == "folder":
        return LocalStateStore(root)
    client = access(request.getfixturevalue("services").dynamodb_url).client("s3")
    bucket = f"state-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    return S3StateStore(client, bucket, "prefix/dev")


def content(store: StateStore, name: str) -> bytes | None:
    found = store.read(name)
    return found.content if found else None


def test_a_file_is_read_as_it_was_written(either: StageState) -> None:
    version = either.write("p/a.json", b"\x00one\n")

    assert either.read("p/a.json") == Versioned(b"\x00one\n", version)
    assert either.read("p/b.json") is None


def test_a_file_is_replaced_only_by_a_run_that_read_it(either: StageState) -> None:
    first = either.write("p/a", b"1", replacing=ABSENT)
    second = either.write("p/a", b"2", replacing=first)

    with pytest.raises(StateChanged, match="replaced by another writer"):
        either.write("p/a", b"3", replacing=first)
    with pytest.raises(StateChanged):
        either.write("p/a", b"3", replacing=ABSENT)
    with pytest.raises(StateChanged):
        either.write("p/b", b"3", replacing=second)

    assert content(either, "p/a") == b"2"
    assert either.read("p/b") is None


def test_of_two_writers_that_read_the_same_version_one_wins(store: LocalStateStore) -> None:
    version = store.write("p/a", b"0")
    barrier = threading.Barrier(8)

    def write(number: int) -> bool:
        barrier.wait()
        try:
            store.write("p/a", str(number).encode(), replacing=version)
        except StateChanged:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(1, 9))) == 1


def test_no_update_is_lost_between_processes(store: LocalStateStore, root: Path) -> None:
    store.write("p/count", b"0")

    processes = [subprocess.Popen([sys.executable, "-c", APPENDER, str(root)]) for _ in range(3)]

    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    assert content(store, "p/count") == b"60"


def test_readers_see_the_old_file_or_the_new_one_and_never_a_part(store: LocalStateStore) -> None:
    contents = {letter * 300_000 for letter in (b"a", b"b")}
    store.write("p/a", b"a" * 300_000)
    ended = threading.Event()

    def write() -> None:
        for number in range(40):
            store.write("p/a", (b"a", b"b")[number % 2] * 300_000)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not ended.is_set():
        seen.add(content(store, "p/a"))
    writer.join()

    assert seen <= contents


def test_a_write_that_fails_leaves_the_old_file_and_no_scraps(
    store: LocalStateStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("p/a", b"old")

    def disk_full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", disk_full)
        with pytest.raises(StateUnavailable, match=r"No space left.*free some space"):
            store.write("p/a", b"new")

    assert content(store, "p/a") == b"old"
    assert {path.name for path in (root / "p").iterdir()} == {"a", ".write.lock"}


def test_files_and_folders_are_their_owners_alone(store: LocalStateStore, root: Path) -> None:
    previous = os.umask(0o022)
    try:
        store.write("p/passes/a.json", b"personal data")
        store.append("p/migration.log", b"personal data")
        with store.exclusive("q/run.lock"):
            pass
    finally:
        os.umask(previous)

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert len(modes) == 8


def test_names_below_a_folder_are_listed_in_order_without_locks_and_scraps(store: LocalStateStore, root: Path) -> None:
    for name in ("p/passes/2.json", "p/passes/1.json", "p/other.json", "q/passes/3.json"):
        store.write(name, b"")
    (root / "p/passes/.new").write_bytes(b"torn")

    assert store.list("p/passes") == ["p/passes/1.json", "p/passes/2.json"]
    assert store.list("nowhere") == []


def test_deleting_what_is_not_there_is_no_error(either: StageState) -> None:
    either.write("p/a", b"")
    either.delete("p/a")
    either.delete("p/a")

    assert either.read("p/a") is None


def test_a_file_is_deleted_only_by_a_run_that_read_it(either: StageState) -> None:
    first = either.write("p/a", b"1")
    second = either.write("p/a", b"2")

    with pytest.raises(StateChanged, match="replaced by another writer"):
        either.delete("p/a", replacing=first)
    assert either.read("p/a") is not None
    either.delete("p/a", replacing=second)
    assert either.read("p/a") is None
    either.delete("p/a", replacing=second)


def test_what_a_killed_write_left_is_gone_after_the_next_one(store: LocalStateStore, root: Path) -> None:
    store.write("p/a", b"1")
    (root / "p/.new").write_bytes(b"half of a lo")

    store.write("p/b", b"2")

    assert {path.name for path in (root / "p").iterdir()} == {"a", "b", ".write.lock"}
    assert content(store, "p/b") == b"2"


def test_a_person_is_told_where_a_file_is(store: LocalStateStore, root: Path) -> None:
    assert store.locate("p/a.json") == str(root / "p" / "a.json")


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "p/../../outside"])
def test_no_name_leads_out_of_the_folder(store: LocalStateStore, name: str) -> None:
    with pytest.raises(ValueError, match="not a name of a state file"):
        store.write(name, b"")


def test_a_lock_is_exclusive_and_free_again_afterwards(store: LocalStateStore) -> None:
    with store.exclusive("p/run.lock"):
        with pytest.raises(PartitionBusy, match="another run holds"), store.exclusive("p/run.lock"):
            pass
        with store.exclusive("q/run.lock"):
            pass
    with store.exclusive("p/run.lock"):
        pass


def test_a_lock_is_free_again_after_an_error(store: LocalStateStore) -> None:
    with pytest.raises(RuntimeError), store.exclusive("p/run.lock"):
        raise RuntimeError
    with store.exclusive("p/run.lock"):
        pass


def test_another_processs_lock_is_respected_and_its_death_frees_it(store: LocalStateStore, root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(PartitionBusy), store.exclusive("p/run.lock"):
            pass
        holder.kill()
        holder.wait()
        with store.exclusive("p/run.lock"):
            pass


def test_appended_lines_add_up(either: StageState) -> None:
    either.append("logs/a.log", b"one\n")
    either.append("logs/a.log", b"two\n")

    assert content(either, "logs/a.log") == b"one\ntwo\n"


def test_a_folder_is_a_store_of_its_own(either: StageState) -> None:
    assert either.folders() == []
    for name in ("top.json", "2024-03-01/evidence.json", "orders/2024-04-01/plan.json"):
        either.write(name, b"{}")

    orders = either.below("orders")

    assert either.folders() == ["2024-03-01", "orders"]
    assert orders.list("") == ["2024-04-01/plan.json"]
    assert orders.locate("a") == either.locate("orders/a")
