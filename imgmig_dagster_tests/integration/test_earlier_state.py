"""What an earlier version left of an interrupted pass is resumed: its files are spelled out here, field by field."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest

from imgmig_dagster.errors import TargetUnavailable
from imgmig_dagster.state.store import StateStore
from imgmig_dagster_tests.arrange import Migration, image, item_of, row_id
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, FaultProxy, reset_before

FOREVER = 1_000_000
ROWS, COVERED = 1_300, 1_000
FOLDER = "2024-03-01"
NO_REQUESTS = {"reads": {}, "writes": {}, "throttled": {}, "slot_s": 60}


def interrupt(proxy: FaultProxy, operations: Sequence[str], requests: int) -> None:
    proxy.inject(
        reset_before, (*operations, "DescribeTable"), FOREVER, when=lambda _call: len(proxy.of(*operations)) > requests
    )


def leave(
    state: StateStore,
    progress: str,
    log: str,
    segment: Mapping[str, Any],
    outcomes: Mapping[str, int],
    **fingerprint: str,
) -> None:
    """Put the files of the earlier version in the place of those of the interrupted pass."""
    found = state.read(f"{FOLDER}/{progress}")
    assert found is not None
    left = orjson.loads(found.content)["checkpoint"]
    assert sum(left["outcomes"].values()) == COVERED
    body = {
        "run_id": "earlier",
        "fingerprint": {**left["fingerprint"], **fingerprint},
        "started_at": left["started_at"],
        "first_pass": left["first_pass"],
        "cursor": left["cursor"],
        "outcomes": outcomes,
        "segments": [["earlier", 1]],
        "deleting": [],
        "elapsed_s": 7.5,
        "resumes": 0,
        "retries": 3,
        "throttles": 2,
        "write_units": 1000.0,
        "traffic": NO_REQUESTS,
    }
    checksum = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)).hexdigest()
    for name in state.list(f"{FOLDER}/{log}"):
        state.delete(name)
    state.write(f"{FOLDER}/{log}/earlier-000000.json", orjson.dumps({"until": left["cursor"], **segment}))
    state.write(f"{FOLDER}/{progress}", orjson.dumps({"format": 3, "sha256": checksum, "checkpoint": body}))


def test_of_a_migration(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    interrupt(proxy, NEW_ITEMS, (COVERED + 200) // 25)
    with pytest.raises(TargetUnavailable):
        migration.migrate(proxy.url, page_size=100)
    proxy.clear()
    ids = {"inserted": [row_id(number) for number in range(COVERED)]}
    leave(migration.state, "migration-progress.json", "seen", {"ids": ids}, {"inserted": COVERED})

    result = migration.migrate(proxy.url, page_size=100)

    assert (result.resumes, result.total, result.rows_in_window) == (1, ROWS, ROWS)
    assert result.every_row_is_accounted_for
    assert (result.throttles, result.duration_s > 7.5) == (2, True)
    assert min(identifier for call in proxy.writes for identifier in call.ids) >= row_id(COVERED)
    assert len(migration.target.items()) == ROWS
    assert migration.state.list(f"{FOLDER}/seen") == []


def test_of_a_verification(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    migration.migrate()
    migration.target.put(item_of(3, width={"N": "1"}))
    interrupt(proxy, ["BatchGetItem"], 12)
    with pytest.raises(TargetUnavailable):
        migration.verify(proxy.url, page_size=100)
    proxy.clear()
    mismatch = {"row_id": row_id(3), "verdict": "mismatch", "attribute": "width", "expected": "640", "found": "1"}
    tally = {
        "verdicts": {"match": COVERED - 1, "mismatch": 1, "missing": 0, "unverified": 0},
        "by_attribute": {"width": 1},
        "undeclared": {},
        "mismatches": [mismatch],
        "mismatches_found": 1,
        "settled": 4,
        "inexact_timestamps": 0,
    }
    ids = {"match": [row_id(number) for number in range(COVERED) if number != 3], "mismatch": [row_id(3)]}
    counts = {"match": COVERED - 1, "mismatch": 1}
    segment = {"ids": ids, "tally": tally}
    leave(migration.state, "verification-progress.json", "verified", segment, counts, verifier="2", digest="1")

    result = migration.verify(proxy.url, page_size=100)

    # Its rules were others: it begins again, and none of it is left.
    assert (result.resumes, result.looked_at, result.rows_in_window, result.agreed_on_recheck) == (0, ROWS, ROWS, 0)
    assert [found.label for found in result.mismatches] == [f"{row_id(3)}: width"]
    assert (dict(result.by_attribute), result.mismatches_found) == ({"width": 1}, 1)
    assert migration.state.list(f"{FOLDER}/verified") == []
