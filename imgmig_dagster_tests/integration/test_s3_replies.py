"""S3 as it really answers: buckets with a key of their own, requests that collide, replies that are lost."""

import threading
import uuid
from collections.abc import Callable
from types import SimpleNamespace

import botocore.endpoint
import pytest

from imgmig_dagster.defs.resources import ReportBucket
from imgmig_dagster.errors import StateChanged, StateUnavailable
from imgmig_dagster.state.s3 import S3StateStore
from imgmig_dagster.state.store import ABSENT
from imgmig_dagster_tests.arrange import access
from imgmig_dagster_tests.aws_gate import Answer, Asked, AwsGate, Rule, refused
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.orchestration.arrange import Platform
from imgmig_dagster_tests.orchestration.conftest import instance, platform  # noqa: F401  # fixtures


@pytest.fixture(autouse=True)
def _botocore_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _seconds: None))


@pytest.fixture
def bucket(services: Services) -> str:
    name = f"replies-{uuid.uuid4().hex}"
    access(services.dynamodb_url).client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def store(gate: AwsGate, bucket: str, slept: list[float]) -> S3StateStore:
    """A store behind the gate."""
    return S3StateStore(access(gate.url).client("s3"), bucket, "dev", sleep=slept.append)


@pytest.fixture
def rival(services: Services, bucket: str) -> S3StateStore:
    """Another machine's, past the gate."""
    return S3StateStore(access(services.dynamodb_url).client("s3"), bucket, "dev")


def first(answer: Answer, method: str, times: int = 1) -> Rule:
    left = [times]

    def rule(asked: Asked) -> Answer | None:
        if asked.operation != method or left[0] <= 0:
            return None
        left[0] -= 1
        return answer

    return rule


CHANGES: dict[str, Callable[[S3StateStore, str], object]] = {
    "PUT": lambda store, before: store.write("p/a.json", b"two", replacing=before),
    "DELETE": lambda store, before: store.delete("p/a.json", replacing=before),
}


def by_another_key(asked: Asked) -> Answer | None:
    """As a bucket's policy denies what is not encrypted by its own key."""
    names = {name.lower() for name in asked.headers}
    return refused(asked, "AccessDenied") if "x-amz-server-side-encryption" in names else None


def test_state_and_reports_are_encrypted_as_the_bucket_has_it(
    store: S3StateStore,
    gate: AwsGate,
    bucket: str,
    platform: Platform,  # noqa: F811  # a fixture
) -> None:
    gate.rule = by_another_key
    platform.set(AWS_ENDPOINT_URL_S3=gate.url, IMGMIG_REPORTS_URL=f"s3://{bucket}/reports")

    store.write("p/a.json", b"one")
    published = ReportBucket(stage="dev").publish({"summary.html": b"<html>"})

    assert published == {"summary.html": f"s3://{bucket}/reports/dev/summary.html"}


CONFLICT = Answer(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>", {"Content-Type": "application/xml"})


def test_requests_that_collide_are_sent_again_before_anything_is_judged(
    store: S3StateStore, gate: AwsGate, slept: list[float]
) -> None:
    gate.rule = first(CONFLICT, "PUT", times=2)
    version = store.write("p/a.json", b"one", replacing=ABSENT)
    assert len(slept) == 2

    gate.rule = first(CONFLICT, "DELETE", times=2)
    store.delete("p/a.json", replacing=version)
    assert store.read("p/a.json") is None


def test_a_collision_that_does_not_end_is_no_rival(store: S3StateStore, gate: AwsGate) -> None:
    gate.rule = first(CONFLICT, "PUT", times=100)

    with pytest.raises(StateUnavailable, match="ConditionalRequestConflict"):
        store.write("p/a.json", b"one", replacing=ABSENT)


@pytest.mark.parametrize("times", [1, 100], ids=["the first reply", "every reply"])
class TestLostReplies:
    def test_a_write_that_was_carried_out_is_done(
        self, store: S3StateStore, gate: AwsGate, rival: S3StateStore, times: int
    ) -> None:
        before = store.write("p/a.json", b"one")
        gate.rule = first(Answer(lost=True, carried_out=True), "PUT", times)

        version = store.write("p/a.json", b"two", replacing=before)

        found = rival.read("p/a.json")
        assert found is not None
        assert (found.content, found.version) == (b"two", version)

    def test_a_delete_that_was_carried_out_is_done(self, store: S3StateStore, gate: AwsGate, times: int) -> None:
        before = store.write("p/a.json", b"one")
        gate.rule = first(Answer(lost=True, carried_out=True), "DELETE", times)

        store.delete("p/a.json", replacing=before)

        assert store.read("p/a.json") is None

    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    def test_what_another_has_written_in_between_is_anothers(
        self, store: S3StateStore, gate: AwsGate, rival: S3StateStore, times: int, method: str
    ) -> None:
        before = store.write("p/a.json", b"one")
        lost = first(Answer(lost=True), method, times)

        def rule(asked: Asked) -> Answer | None:
            answer = lost(asked)
            if answer is not None:
                rival.write("p/a.json", b"the rival's")
            return answer

        gate.rule = rule
        with pytest.raises(StateChanged):
            CHANGES[method](store, before)


def test_a_file_whose_reply_breaks_off_is_read_again(store: S3StateStore, gate: AwsGate) -> None:
    store.write("p/a.json", b"one" * 1_000)
    gate.rule = first(Answer(cut=True), "GET", times=2)

    found = store.read("p/a.json")

    assert found is not None
    assert found.content == b"one" * 1_000
    gate.rule = first(Answer(cut=True), "GET", times=100)
    with pytest.raises(StateUnavailable):
        store.read("p/a.json")


def test_a_line_whose_reply_was_lost_is_appended_once(store: S3StateStore, gate: AwsGate, rival: S3StateStore) -> None:
    store.append("audit.jsonl", b"first\n")
    lost = first(Answer(lost=True, carried_out=True), "PUT", times=1)

    def rule(asked: Asked) -> Answer | None:
        if asked.operation == "PUT" and len(gate.of("s3", "PUT")) == tried + 2:
            rival.append("audit.jsonl", b"the rival's\n")  # between our request and its second try
        return lost(asked)

    tried = len(gate.of("s3", "PUT"))
    gate.rule = rule
    store.append("audit.jsonl", b"second\n")

    assert rival.read("audit.jsonl").content == b"first\nsecond\nthe rival's\n"  # type: ignore[union-attr]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_never_arrived_is_a_store_that_is_away(store: S3StateStore, gate: AwsGate, method: str) -> None:
    before = store.write("p/a.json", b"one")
    gate.rule = first(Answer(lost=True), method, times=100)

    with pytest.raises(StateUnavailable):
        CHANGES[method](store, before)


def test_a_lease_outlives_a_beat_whose_reply_and_reading_were_lost(gate: AwsGate, bucket: str) -> None:
    store = S3StateStore(access(gate.url).client("s3"), bucket, "dev", clock=lambda: 0.0, lease_seconds=0.06)
    owners = threading.Event()
    with store.exclusive("p/run.lock"):
        lost = {"PUT": 3, "GET": 3}

        def rule(asked: Asked) -> Answer | None:
            if lost.get(asked.operation, 0) > 0 and (asked.operation == "PUT" or lost["PUT"] == 0):
                lost[asked.operation] -= 1
                return Answer(lost=True, carried_out=asked.operation == "PUT" and lost["PUT"] == 2)
            if asked.operation == "PUT" and lost["GET"] == 0:
                beats.append(asked)
                if len(beats) > 3:
                    owners.set()
            return None

        beats: list[Asked] = []
        gate.rule = rule
        assert owners.wait(60), "the heartbeat went on"
    assert store.read("p/run.lock").content == b"", "released"  # type: ignore[union-attr]
