"""The local store: whole files, versions, locks, and nobody else's eyes."""

import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgmig_dagster.errors import PartitionBusy, StateChanged, StateUnavailable
from imgmig_dagster.state.store import ABSENT, LocalStateStore

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


def test_a_file_is_read_as_it_was_written(store: LocalStateStore) -> None:
    version = store.write("p/a.json", b"\x00one\n")

    found = store.read("p/a.json")

    assert found is not None
    assert (found.content, found.version) == (b"\x00one\n", version)
    assert store.read("p/b.json") is None


def test_a_file_is_replaced_only_by_a_run_that_read_it(store: LocalStateStore) -> None:
    first = store.write("p/a", b"1", replacing=ABSENT)
    second = store.write("p/a", b"2", replacing=first)

    with pytest.raises(StateChanged, match="replaced by another writer"):
        store.write("p/a", b"3", replacing=first)
    with pytest.raises(StateChanged):
        store.write("p/a", b"3", replacing=ABSENT)
    with pytest.raises(StateChanged):
        store.write("p/b", b"3", replacing=second)

    found = store.read("p/a")
    assert found is not None
    assert found.content == b"2"
    assert store.read("p/b") is None


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
    found = store.read("p/count")
    assert found is not None
    assert found.content == b"60"


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
        found = store.read("p/a")
        assert found is not None
        seen.add(found.content)
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

    found = store.read("p/a")
    assert found is not None
    assert found.content == b"old"
    assert {path.name for path in (root / "p").iterdir()} == {"a", ".write.lock"}


def test_files_and_folders_are_their_owners_alone(store: LocalStateStore, root: Path) -> None:
    previous = os.umask(0o022)
    try:
        store.write("p/passes/a.json", b"personal data")
        with store.exclusive("q/run.lock"):
            pass
    finally:
        os.umask(previous)

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert len(modes) == 7


def test_names_below_a_folder_are_listed_in_order_without_locks_and_scraps(store: LocalStateStore, root: Path) -> None:
    for name in ("p/passes/2.json", "p/passes/1.json", "p/other.json", "q/passes/3.json"):
        store.write(name, b"")
    (root / "p/passes/.new").write_bytes(b"torn")

    assert store.list("p/passes") == ["p/passes/1.json", "p/passes/2.json"]
    assert store.list("nowhere") == []


def test_deleting_what_is_not_there_is_no_error(store: LocalStateStore) -> None:
    store.write("p/a", b"")
    store.delete("p/a")
    store.delete("p/a")

    assert store.read("p/a") is None


def test_a_file_is_deleted_only_by_a_run_that_read_it(store: LocalStateStore) -> None:
    first = store.write("p/a", b"1")
    second = store.write("p/a", b"2")

    with pytest.raises(StateChanged, match="replaced by another writer"):
        store.delete("p/a", replacing=first)
    assert store.read("p/a") is not None
    store.delete("p/a", replacing=second)
    assert store.read("p/a") is None
    store.delete("p/a", replacing=second)


def test_what_a_killed_write_left_is_gone_after_the_next_one(store: LocalStateStore, root: Path) -> None:
    store.write("p/a", b"1")
    (root / "p/.new").write_bytes(b"half of a lo")

    store.write("p/b", b"2")

    assert {path.name for path in (root / "p").iterdir()} == {"a", "b", ".write.lock"}
    assert (found := store.read("p/b")) is not None
    assert found.content == b"2"


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


def test_appended_lines_add_up_and_are_their_owners_alone(store: LocalStateStore, root: Path) -> None:
    store.append("logs/a.log", b"one\n")
    store.append("logs/a.log", b"two\n")

    found = store.read("logs/a.log")
    assert found is not None
    assert found.content == b"one\ntwo\n"
    assert stat.S_IMODE((root / "logs/a.log").stat().st_mode) == 0o600
