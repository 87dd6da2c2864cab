"""State in S3, on moto's server over HTTP: conditional writes, and a lease that outlives nobody for long."""

import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.errors import PartitionBusy, StateChanged, StateUnavailable
from imgmig_dagster.state import names
from imgmig_dagster.state.lease import LEASE_SECONDS
from imgmig_dagster.state.opening import table_state
from imgmig_dagster.state.s3 import S3StateStore
from imgmig_dagster.state.store import ABSENT
from imgmig_dagster_tests.conftest import Services


@dataclass
class FakeTime:
    """A clock that moves when somebody sleeps."""

    now: float = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def client(services: Services) -> Any:
    access = AwsAccess(
        region="us-east-1",
        access_key_id="test",
        secret_access_key="test",
        endpoint_urls=(("s3", services.environment["AWS_ENDPOINT_URL_S3"]),),
    )
    return access.client("s3")


@pytest.fixture
def bucket(client: Any) -> str:
    name = f"state-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def store(client: Any, bucket: str) -> S3StateStore:
    time = FakeTime()
    return S3StateStore(client, bucket, "prefix/dev", clock=time.clock, sleep=time.sleep)


def test_a_condition_that_failed_against_our_own_write_is_a_success(store: S3StateStore) -> None:
    # As after a lost reply: the write was carried out, and is sent again.
    version = store.write("p/a.json", b"one", replacing=ABSENT)

    assert store.write("p/a.json", b"one", replacing=ABSENT) == version


def test_lists_below_a_folder_only(store: S3StateStore) -> None:
    for name in ("p/b", "p/a", "pq/c"):
        store.write(name, b"x")

    assert store.list("p") == ["p/a", "p/b"]
    assert store.list("") == ["p/a", "p/b", "pq/c"]


def test_a_released_lease_can_be_taken_at_once(store: S3StateStore) -> None:
    with store.exclusive("p/run.lock"):
        pass
    with store.exclusive("p/run.lock"):
        pass


def test_a_dead_holders_lease_is_waited_out(store: S3StateStore, client: Any, bucket: str) -> None:
    store.write("p/run.lock", b'{"owner": "dead", "beat": 7}')
    time = FakeTime()
    successor = S3StateStore(client, bucket, "prefix/dev", clock=time.clock, sleep=time.sleep)

    with successor.exclusive("p/run.lock"):
        assert time.now >= LEASE_SECONDS


def test_a_living_holders_lease_is_respected(store: S3StateStore, client: Any, bucket: str) -> None:
    store.write("p/run.lock", b'{"owner": "alive", "beat": 1}')
    beats = iter(range(2, 100))
    time = FakeTime()

    def beat_meanwhile(seconds: float) -> None:
        time.sleep(seconds)
        store.write("p/run.lock", b'{"owner": "alive", "beat": %d}' % next(beats))

    second = S3StateStore(client, bucket, "prefix/dev", clock=time.clock, sleep=beat_meanwhile)

    with pytest.raises(PartitionBusy), second.exclusive("p/run.lock"):
        pytest.fail("two runs hold one partition")
    assert time.now < LEASE_SECONDS


def test_a_bucket_that_is_not_there_is_named(client: Any) -> None:
    with pytest.raises(StateUnavailable, match=r"s3://no-such-bucket/dev/p/a\.json: NoSuchBucket"):
        S3StateStore(client, "no-such-bucket", "dev").read("p/a.json")


def test_what_the_first_version_left_in_a_bucket_goes_on(store: S3StateStore) -> None:
    store.write("2024-03-01/evidence.json", b"{}")

    assert table_state(store, "images").read("2024-03-01/evidence.json")
    assert table_state(store, "orders").list("") == []


def test_a_log_is_never_read_again_and_its_objects_are_the_runs_own(store: S3StateStore) -> None:
    moment = "2026-01-01T00:00:00.000+00:00"
    ones, others = (store.appender(names.log(moment, run_id)) for run_id in ("one", "other"))

    for lines in (b"1\n", b"2\n"):
        ones.append(lines)
        others.append(lines)

    objects = [f"log/2026-01-01T000000.000Z-{run_id}/000001.log" for run_id in ("one", "other")]
    assert store.list("") == objects
    assert [found.content for name in objects if (found := store.read(name))] == [b"1\n2\n"] * 2
    assert ones.place == store.locate("log/2026-01-01T000000.000Z-one/")


def test_the_number_of_an_audit_records_objects_grows_with_its_bytes_and_not_with_its_lines(
    store: S3StateStore,
) -> None:
    file = names.audit("2026-01-01T00:00:00.000+00:00", "run", "p")
    appender, line = store.appender(file), b"x" * 1_023 + b"\n"

    for _ in range(200):
        appender.append(line)

    objects = store.list("audit")
    assert objects == [f"{file.folder}/{number:06d}.jsonl" for number in (1, 2)]
    assert b"".join(found.content for name in objects if (found := store.read(name))) == line * 200


def test_lines_that_could_not_be_added_begin_an_object_of_their_own(store: S3StateStore) -> None:
    file = names.audit("2026-01-01T00:00:00.000+00:00", "run", "p")
    appender = store.appender(file)
    appender.append(b"1\n")
    store.write(f"{file.folder}/000001.jsonl", b"somebody else's\n")

    with pytest.raises(StateChanged):
        appender.append(b"2\n")
    appender.append(b"2\n")

    assert (found := store.read(f"{file.folder}/000002.jsonl")) is not None
    assert found.content == b"2\n"
