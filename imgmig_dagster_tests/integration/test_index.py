"""The index of a table's state in S3: never better than the files, wherever a run dies; and few requests."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from imgmig_dagster.errors import StateChanged
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.failures import Failure, FailureLedger
from imgmig_dagster.state.index import IndexedStateStore, at_a_glance, changing, files_of, read_ahead
from imgmig_dagster.state.known_files import OF_TABLE, is_indexed
from imgmig_dagster.state.s3 import S3StateStore
from imgmig_dagster.state.store import LocalStateStore, StateStore
from imgmig_dagster.state.writes import writing
from imgmig_dagster_tests.arrange import access
from imgmig_dagster_tests.aws_gate import AwsGate

PARTITION, OTHER = "2024-03-01", "2024-04-01"
PARTITIONS = [PARTITION, OTHER]
FAILED = Failure("id", "width", "TooLarge", "too large", True)
LAST_MOMENT = 1_000


class Killed(BaseException):
    """The process is gone."""


class Listed(LocalStateStore):
    """A directory that lists versions as S3 does: the property is the protocol's, for every store."""

    def versions(self, prefix: str) -> dict[str, str]:
        return {name: found.version for name in self.list(prefix) if (found := self.read(name))}


class Mortal(Listed):
    """A run's store, whose process dies at one of its changes, before it is carried out or after."""

    changes = 0
    dies_at = 2 * LAST_MOMENT

    def write(self, name: str, content: bytes, replacing: str | None = None) -> str:
        self._live()
        version = super().write(name, content, replacing)
        self._live()
        return version

    def append(self, name: str, content: bytes) -> None:
        self._live()
        super().append(name, content)
        self._live()

    def delete(self, name: str, replacing: str | None = None) -> None:
        self._live()
        super().delete(name, replacing)
        self._live()

    def _live(self) -> None:
        if self.changes >= self.dies_at:
            raise Killed
        self.changes += 1


@dataclass
class Bucket:
    """Stores of one place, each of another process."""

    client: Any
    name: str

    @property
    def files(self) -> S3StateStore:
        return S3StateStore(self.client, self.name, "dev/images")

    @property
    def state(self) -> IndexedStateStore:
        return IndexedStateStore(self.files)


@pytest.fixture
def bucket(gate: AwsGate) -> Bucket:
    client = access(gate.url).client("s3")
    name = f"index-{uuid4().hex}"
    client.create_bucket(Bucket=name)
    return Bucket(client, name)


def migrate(state: StateStore, run: str = "run-1", failures: Sequence[Failure] = (FAILED,)) -> None:
    with changing(state, names.write_lock(PARTITION)) as owned:
        file = CheckpointFile(owned, PARTITION)
        checkpoint = file.open(run, {"mapping": "m"}, "2024-06-01T00:00:00+0000")
        with writing(owned, PARTITION, "migration", run):
            FailureLedger(owned, PARTITION).record(failures, [] if failures else ["id"])
            file.save(checkpoint)
            file.archive(checkpoint, f"2024-06-01T00:00:00+0000{run}", {"result": {}})


def verify(state: StateStore, found: str = "as it was") -> None:
    with changing(state, names.verification_lock(PARTITION)) as owned:
        owned.write(names.mismatches(PARTITION), b"" if found == "as it was" else b"{}\n")
        owned.write(names.evidence(PARTITION), orjson.dumps({"found": found}))


def migrate_and_verify_again(state: StateStore) -> None:
    migrate(state, "run-2", failures=())
    verify(state, "something else")


def take_a_census_and_delete_orphans(state: StateStore) -> None:
    state.write(names.CENSUS, b'{"orphans": 1}')
    with changing(state, names.ORPHANS_LOCK) as owned, writing(owned, None, "deletion of orphans", "run-1"):
        pass
    state.append(names.late_writes(None), b'{"by": "deletion of orphans"}\n')
    state.write(names.CENSUS, b'{"orphans": 0}')


def note_a_late_write(state: StateStore) -> None:
    state.append(names.late_writes(PARTITION), b'{"by": "migration"}\n')


def migrate_beside_a_verification(state: StateStore) -> None:
    with changing(state, names.verification_lock(PARTITION)) as verifying:
        migrate(state, "run-3", failures=())
        verifying.write(names.evidence(PARTITION), b'{"found": "by another"}')


def be_taken_over(state: StateStore) -> None:
    with changing(state, names.write_lock(PARTITION)) as owned:
        owned.write(names.evidence(PARTITION), b"{}")
        migrate(state, "successor", failures=())
        note_a_late_write(owned)


def says(store: StateStore) -> Mapping[str, object]:
    """All that a reader may ask of the partitions."""
    one_by_one = {f"{each}/{name}" for each in PARTITIONS for name in _NAMES}
    passes = {each: store.list(names.passes(each)) for each in PARTITIONS}
    asked = one_by_one | OF_TABLE | {name for found in passes.values() for name in found}
    return {**passes, **{name: (found := store.read(name)) and found.content for name in asked}}


_NAMES = (
    "migration-progress.json",
    "migration-failures.json",
    "last-write.json",
    "late-writes.jsonl",
    "evidence.json",
    "mismatches.jsonl",
)


@pytest.mark.parametrize(
    "happens",
    [
        migrate_and_verify_again,
        take_a_census_and_delete_orphans,
        note_a_late_write,
        migrate_beside_a_verification,
        be_taken_over,
    ],
)
def test_wherever_a_run_dies_the_index_says_what_the_files_say(
    tmp_path: Path, happens: Callable[[StateStore], None]
) -> None:
    for dies_at in count():
        files, mortal = Listed(tmp_path / str(dies_at)), Mortal(tmp_path / str(dies_at))
        mortal.dies_at = dies_at
        migrate(IndexedStateStore(files))
        verify(IndexedStateStore(files))
        assert says(at_a_glance(IndexedStateStore(files), PARTITIONS)) == says(files)

        with suppress(Killed):
            happens(IndexedStateStore(mortal))

        for _reader in range(2):
            assert says(at_a_glance(IndexedStateStore(files), PARTITIONS)) == says(files)
        migrate(IndexedStateStore(files), "after", failures=())
        verify(IndexedStateStore(files), "after")
        assert says(at_a_glance(IndexedStateStore(files), PARTITIONS)) == says(files)
        if mortal.changes < dies_at:
            break
    assert dies_at > 6


def test_on_s3_a_run_that_is_killed_leaves_its_partition_to_be_read_by_its_files(bucket: Bucket) -> None:
    verify(bucket.state)
    at_a_glance(bucket.state, PARTITIONS)
    killed = changing(bucket.state, names.write_lock(PARTITION))  # and never left
    killed.__enter__().write(names.evidence(PARTITION), b"by the one that was killed")

    for _reader in range(2):
        assert says(at_a_glance(bucket.state, PARTITIONS)) == says(bucket.files)
    verify(bucket.state, "since")
    assert says(at_a_glance(bucket.state, PARTITIONS)) == says(bucket.files)
    migrate(bucket.state, "successor", failures=())
    assert says(at_a_glance(bucket.state, PARTITIONS)) == says(bucket.files)


def test_an_earlier_versions_state_is_read_once_and_kept(bucket: Bucket, gate: AwsGate) -> None:
    migrate(bucket.files)
    verify(bucket.files)
    assert says(at_a_glance(bucket.state, PARTITIONS)) == says(bucket.files)
    gate.asked.clear()

    known = at_a_glance(bucket.state, PARTITIONS)

    assert len(gate.asked) == 2
    assert says(known) == says(bucket.files)
    migrate(bucket.state, "run-2", failures=())
    assert says(at_a_glance(bucket.state, PARTITIONS)) == says(bucket.files)


@pytest.mark.parametrize("damage", [b"", b"{torn", b"\x1f\x8b\x08torn", b'{"2024-03-01": 1}'])
@pytest.mark.parametrize("name", [names.INDEX, names.index_entry(PARTITION)])
def test_what_is_damaged_is_made_again(bucket: Bucket, name: str, damage: bytes) -> None:
    migrate(bucket.state)
    at_a_glance(bucket.state, PARTITIONS)
    bucket.files.write(name, damage)

    assert says(at_a_glance(bucket.state, PARTITIONS)) == says(bucket.files)

    verify(bucket.state)
    assert says(at_a_glance(bucket.state, PARTITIONS)) == says(bucket.files)
    found = bucket.files.read(name)
    assert found is not None
    assert found.content != damage


@pytest.mark.parametrize(
    "removed", [[names.INDEX], [names.index_entry(PARTITION)], [names.INDEX, names.index_entry(PARTITION)]]
)
def test_what_is_removed_is_made_again(bucket: Bucket, removed: Sequence[str]) -> None:
    migrate(bucket.state)
    at_a_glance(bucket.state, PARTITIONS)
    for name in removed:
        bucket.files.delete(name)

    assert says(at_a_glance(bucket.state, PARTITIONS)) == says(bucket.files)
    verify(bucket.state, "since")
    assert says(at_a_glance(bucket.state, PARTITIONS)) == says(bucket.files)


def test_an_entry_that_is_removed_while_a_run_works_says_in_the_end_what_the_files_say(bucket: Bucket) -> None:
    with changing(bucket.state, names.write_lock(PARTITION)) as owned:
        owned.write(names.evidence(PARTITION), b"1")
        bucket.files.delete(names.index_entry(PARTITION))
        at_a_glance(bucket.state, PARTITIONS)
        owned.write(names.evidence(PARTITION), b"2")

    assert says(at_a_glance(bucket.state, PARTITIONS)) == says(bucket.files)


def test_what_is_large_or_holds_values_is_in_its_file_alone(bucket: Bucket) -> None:
    state = bucket.state
    state.write(names.evidence(PARTITION), b"x" * 1_000_000)
    state.write(names.mismatches(PARTITION), b'{"secret": "value"}\n')

    assert says(at_a_glance(state, PARTITIONS)) == says(bucket.files)
    entry = bucket.files.read(names.index_entry(PARTITION))
    assert entry is not None
    assert len(entry.content) < 1_000
    assert b"secret" not in entry.content


def test_nothing_can_be_replaced_by_what_the_index_says(bucket: Bucket) -> None:
    verify(bucket.state)
    found = at_a_glance(bucket.state, PARTITIONS).read(names.evidence(PARTITION))
    assert found is not None

    with pytest.raises(StateChanged):
        bucket.state.write(names.evidence(PARTITION), b"", replacing=found.version)


def test_a_proof_reads_the_files(bucket: Bucket) -> None:
    verify(bucket.state)
    at_a_glance(bucket.state, PARTITIONS)
    bucket.files.write(names.evidence(PARTITION), b"behind the back of the index")

    assert says(read_ahead(bucket.state, PARTITIONS)) == says(bucket.files)


def test_of_thousands_of_partitions_a_reader_asks_once_for_a_thousand(bucket: Bucket, gate: AwsGate) -> None:
    partitions = [f"{number:05d}" for number in range(1_100)]
    for each in partitions:
        bucket.files.write(names.index_entry(each), orjson.dumps({"marks": {}, "files": {"evidence.json": each}}))
    at_a_glance(bucket.state, partitions)
    gate.asked.clear()

    known = at_a_glance(bucket.state, partitions)

    assert len(gate.asked) == 3
    assert [found.content.decode() for each in partitions if (found := known.read(names.evidence(each)))] == partitions


def test_only_what_changed_since_is_read_again(bucket: Bucket, gate: AwsGate) -> None:
    migrate(bucket.state)
    at_a_glance(bucket.state, PARTITIONS)
    verify(bucket.state)
    gate.asked.clear()

    at_a_glance(bucket.state, PARTITIONS)

    assert [each.operation for each in gate.asked].count("GET") == 3
    assert [each.operation for each in gate.asked].count("PUT") == 1


def test_what_the_index_copies_is_what_partitions_are_judged_by(bucket: Bucket) -> None:
    migrate(bucket.files)
    verify(bucket.files)
    bucket.files.write(names.inventory(PARTITION), b"{}")

    assert all(is_indexed(name) for name in _NAMES)
    assert not files_of(bucket.files, PARTITION).keys() & {"inventory.json", "run.lock", "verify.lock"}
