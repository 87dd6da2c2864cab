"""A checkpoint is believed only as a whole, only of the same migration, and only by its owner."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from imgmig_dagster.errors import CheckpointRefused, StateChanged
from imgmig_dagster.state.checkpoints import Checkpoint, CheckpointFile
from imgmig_dagster.state.store import LocalStateStore

PARTITION = "2024-03-01"
NAME = f"{PARTITION}/migration-progress.json"
FINGERPRINT = {
    "mapping": "abc",
    "source": "postgresql:1/images/public.images",
    "target": "arn:aws:dynamodb:us-east-1:1:table/images",
    "target_created_at": "2024-01-01T00:00:00+00:00",
    "window": "[2024-03-01, 2024-04-01)",
}
STARTED = "2024-06-01T00:00:00.000+00:00"


def file(state: LocalStateStore) -> CheckpointFile:
    return CheckpointFile(state, PARTITION)


def interrupted(state: LocalStateStore) -> Checkpoint:
    """A pass of 3,000 rows that died."""
    begun = file(state)
    opened = begun.open("run-1", FINGERPRINT, STARTED)
    checkpoint = Checkpoint(
        opened.run_id,
        opened.fingerprint,
        opened.started_at,
        opened.first_pass,
        cursor=(1_709_251_200_123_456, "an id"),
        outcomes={"inserted": 2_990, "rejected": 10},
        elapsed_s=12.5,
    )
    begun.save(checkpoint)
    return checkpoint


def path(state: LocalStateStore) -> Path:
    return Path(state.locate(NAME))


def refusal(state: LocalStateStore, fingerprint: dict[str, str] | None = None) -> str:
    before = path(state).read_bytes()
    with pytest.raises(CheckpointRefused) as caught:
        file(state).open("run-2", fingerprint or FINGERPRINT, STARTED)
    assert path(state).read_bytes() == before, "a refused checkpoint is left for a person to look at"
    text = str(caught.value)
    assert PARTITION in text
    assert str(path(state)) in text
    assert f"add --partition {PARTITION} --start-over to imgmig migrate" in text
    return text


def test_the_first_pass_begins_at_the_windows_start(state: LocalStateStore) -> None:
    checkpoint = file(state).open("run-1", FINGERPRINT, STARTED)

    assert checkpoint == Checkpoint("run-1", FINGERPRINT, STARTED, first_pass=True)
    assert (checkpoint.cursor, checkpoint.rows, checkpoint.resumes) == (None, 0, 0)


def test_an_interrupted_pass_is_taken_up_where_it_was(state: LocalStateStore) -> None:
    before = interrupted(state)

    taken = file(state).open("run-2", FINGERPRINT, "2024-06-02T00:00:00.000+00:00")

    assert taken.run_id == "run-2"
    assert taken.resumes == 1
    assert taken.cursor == before.cursor == (1_709_251_200_123_456, "an id")
    assert (taken.outcomes, taken.rows) == (before.outcomes, 3_000)
    assert (taken.elapsed_s, taken.started_at, taken.first_pass) == (12.5, STARTED, True)


def test_resumes_add_up(state: LocalStateStore) -> None:
    interrupted(state)

    assert [file(state).open(f"run-{n}", FINGERPRINT, STARTED).resumes for n in (2, 3, 4)] == [1, 2, 3]


@pytest.mark.parametrize("part", FINGERPRINT)
def test_a_checkpoint_of_something_else_is_refused_and_the_part_named(state: LocalStateStore, part: str) -> None:
    interrupted(state)

    text = refusal(state, {**FINGERPRINT, part: "another"})

    assert f"it is of another migration: {part} was {FINGERPRINT[part]}, is another." in text


def test_every_part_that_differs_is_named(state: LocalStateStore) -> None:
    interrupted(state)

    text = refusal(state, {"mapping": "abc", "grain": "daily"})

    assert "grain was None, is daily; source was " in text
    assert "target_created_at was " in text


@pytest.mark.parametrize("kept", [0, 1, 10, 100, -1, -2, -40])
def test_a_torn_checkpoint_is_refused(state: LocalStateStore, kept: int) -> None:
    interrupted(state)
    path(state).write_bytes(path(state).read_bytes()[:kept])

    assert "torn or altered" in refusal(state)


@pytest.mark.parametrize("content", [b"null", b"[]", b"{}", b"7", b'"x"', b'{"format": 3}', b"\xff\xfe"])
def test_what_is_no_checkpoint_is_refused(state: LocalStateStore, content: bytes) -> None:
    interrupted(state)
    path(state).write_bytes(content)

    assert "torn or altered" in refusal(state)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cursor", [1_709_251_200_123_457, "an id"]),
        ("cursor", None),
        ("outcomes", {"inserted": 3_000}),
        ("run_id", "another"),
        ("first_pass", False),
        ("elapsed_s", 0.0),
    ],
)
def test_a_checkpoint_that_was_altered_by_hand_is_refused(state: LocalStateStore, key: str, value: Any) -> None:
    interrupted(state)
    document = json.loads(path(state).read_bytes())
    document["checkpoint"][key] = value
    path(state).write_text(json.dumps(document))

    assert "it was altered" in refusal(state)


def test_a_checkpoint_of_another_format_is_refused_by_its_format(state: LocalStateStore) -> None:
    interrupted(state)
    document = json.loads(path(state).read_bytes())
    path(state).write_text(json.dumps({**document, "format": 4}))

    assert "it is of format 4, and this version reads 3" in refusal(state)


def test_a_checkpoint_with_an_unknown_entry_is_refused_although_its_checksum_fits(state: LocalStateStore) -> None:
    interrupted(state)
    document = json.loads(path(state).read_bytes())
    body = {**document["checkpoint"], "surprise": 1}
    digest = hashlib.sha256(json.dumps(body, indent=2, sort_keys=True).encode()).hexdigest()
    path(state).write_text(json.dumps({**document, "sha256": digest, "checkpoint": body}))

    assert "torn or altered" in refusal(state)


@pytest.mark.parametrize("torn", [True, False])
def test_starting_over_forgets_the_pass_but_not_that_it_may_have_written(state: LocalStateStore, torn: bool) -> None:
    interrupted(state)
    if torn:
        path(state).write_bytes(b"{")

    checkpoint = file(state).open("run-2", {**FINGERPRINT, "target": "another"}, STARTED, start_over=True)

    assert checkpoint.first_pass is False
    assert (checkpoint.cursor, checkpoint.rows, checkpoint.resumes) == (None, 0, 0)
    assert file(state).open("run-3", {**FINGERPRINT, "target": "another"}, STARTED).first_pass is False


def test_after_a_takeover_the_orphans_next_save_fails(state: LocalStateStore) -> None:
    orphan = file(state)
    checkpoint = orphan.open("run-1", FINGERPRINT, STARTED)
    orphan.save(checkpoint)
    successor = file(state)
    taken = successor.open("run-2", FINGERPRINT, STARTED)

    with pytest.raises(StateChanged, match="must not go on"):
        orphan.save(checkpoint)

    successor.save(taken)
    assert file(state).open("run-3", FINGERPRINT, STARTED).resumes == 2


def test_after_the_successor_has_finished_the_orphans_next_save_fails_too(state: LocalStateStore) -> None:
    orphan = file(state)
    checkpoint = orphan.open("run-1", FINGERPRINT, STARTED)
    successor = file(state)
    successor.archive(successor.open("run-2", FINGERPRINT, STARTED), STARTED, {})

    with pytest.raises(StateChanged):
        orphan.save(checkpoint)


def test_a_finished_pass_is_archived_and_the_next_one_looks_first(state: LocalStateStore) -> None:
    begun = file(state)
    checkpoint = begun.open("run-1", FINGERPRINT, STARTED)

    begun.archive(checkpoint, "2024-06-01T10:00:00.000+00:00", {"result": {"rows_in_window": 7}})

    assert not path(state).exists()
    assert begun.finished_passes() == [f"{PARTITION}/passes/2024-06-01T100000.000Z-run-1.json"]
    following = file(state).open("run-2", FINGERPRINT, STARTED)
    assert following.first_pass is False
    assert (following.cursor, following.resumes) == (None, 0)


def test_the_last_finished_pass_is_the_latest_by_time(state: LocalStateStore) -> None:
    assert file(state).last_finished() is None
    for run_id, hour in (("run-b", "09"), ("run-a", "11"), ("run-c", "10")):
        begun = file(state)
        checkpoint = begun.open(run_id, FINGERPRINT, STARTED)
        begun.archive(checkpoint, f"2024-06-01T{hour}:00:00.000+00:00", {"n": hour})

    last = file(state).last_finished()

    assert last is not None
    assert (last["run_id"], last["n"], last["fingerprint"]) == ("run-a", "11", FINGERPRINT)


def test_partitions_do_not_share_checkpoints(state: LocalStateStore) -> None:
    interrupted(state)

    assert CheckpointFile(state, "2024-04-01").open("run-2", FINGERPRINT, STARTED).first_pass is True
