"""What the operating system refuses is one line that names the place and the remedy, for every operation."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imgmig_dagster.errors import StateUnavailable
from imgmig_dagster.state.names import AppendedFile
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.full_disk import as_somebody_else, files_of_at_most

NAME = "2024-03-01/evidence.json"


def lock(store: LocalStateStore) -> None:
    with store.exclusive(NAME):
        pass


WRITES: dict[str, Callable[[LocalStateStore], object]] = {
    "write": lambda store: store.write(NAME, b"new"),
    "append": lambda store: store.append(NAME, b"new"),
    "delete": lambda store: store.delete(NAME),
    "exclusive": lock,
}
READS: dict[str, Callable[[LocalStateStore], object]] = {
    "read": lambda store: store.read(NAME),
    "list": lambda store: store.list("2024-03-01"),
}
OTHERWISE = r".*or name another place by url in \[state\]\. Then give the same command again$"


@pytest.mark.parametrize("call", [*WRITES.values(), *READS.values()], ids=[*WRITES, *READS])
def test_a_file_where_a_folder_should_be(tmp_path: Path, call: Callable[[LocalStateStore], object]) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "2024-03-01").write_text("a file")

    with pytest.raises(StateUnavailable, match="2024-03-01.*Not a directory|File exists" + OTHERWISE):
        call(LocalStateStore(tmp_path / "state"))


@pytest.mark.parametrize("call", [*WRITES.values(), *READS.values()], ids=[*WRITES, *READS])
def test_a_folder_of_another_user(tmp_path: Path, call: Callable[[LocalStateStore], object]) -> None:
    store = LocalStateStore(tmp_path / "state")
    store.write(NAME, b"old")
    (tmp_path / "state").chmod(0o000)
    try:
        with (
            as_somebody_else(),
            pytest.raises(StateUnavailable, match=r"Permission denied\): .*another user" + OTHERWISE),
        ):
            call(store)
    finally:
        (tmp_path / "state").chmod(0o700)
    found = store.read(NAME)
    assert found
    assert found.content == b"old"


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    store = LocalStateStore(tmp_path / "state")
    version = store.write(NAME, b"old")

    with files_of_at_most(1_000), pytest.raises(StateUnavailable, match=r"evidence\.json|\.new" + OTHERWISE):
        store.write(NAME, b"x" * 2_000, replacing=version)

    assert store.write(NAME, b"new", replacing=version) != version
    assert store.list("") == [NAME]


def test_a_line_that_is_cut_short_is_not_left_in_the_file(tmp_path: Path) -> None:
    """The first call of the operating system writes a part of it."""
    store = LocalStateStore(tmp_path / "state")
    store.append("migration.log", b"first\n")

    with files_of_at_most(1_000), pytest.raises(StateUnavailable, match=r"migration\.log.*ulimit -f" + OTHERWISE):
        store.append("migration.log", b"x" * 2_000 + b"\n")

    store.append("migration.log", b"second\n")
    found = store.read("migration.log")
    assert found
    assert found.content == b"first\nsecond\n"


@pytest.mark.parametrize("folder", ["with a space", "фото", "新しい/😀"])
def test_any_name_of_a_folder_will_do(tmp_path: Path, folder: str) -> None:
    store = LocalStateStore(tmp_path / folder)
    store.write(NAME, b"content")

    assert store.list("") == [NAME]


def test_a_missing_parent_is_made(tmp_path: Path) -> None:
    LocalStateStore(tmp_path / "a" / "b" / "c").write(NAME, b"content")

    assert (tmp_path / "a" / "b" / "c" / NAME).stat().st_mode & 0o777 == 0o600


def test_a_local_log_begins_again_when_it_is_large_and_loses_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgmig_dagster.state.store._LOG_BYTES", 10)
    store = LocalStateStore(tmp_path)

    log, audit = (store.appender(AppendedFile(name, "", keep)) for name, keep in (("m.log", 2), ("audit.jsonl", None)))

    for number in range(5):
        log.append(f"line {number}\n".encode())
        audit.append(f"line {number}\n".encode())

    assert store.list("") == ["audit.jsonl", "m.log", "m.log.1", "m.log.2"]
    assert Path(f"{log.place}.1").read_text() == "line 2\nline 3\n"
    assert Path(log.place).read_text() == "line 4\n"


def test_a_log_that_cannot_be_renamed_grows_and_its_lines_are_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgmig_dagster.state.store._LOG_BYTES", 10)
    (tmp_path / "m.log.1").mkdir()
    log = LocalStateStore(tmp_path).appender(AppendedFile("m.log", "", keep=1))

    for number in range(3):
        log.append(f"line {number}\n".encode())

    assert Path(log.place).read_text() == "line 0\nline 1\nline 2\n"
