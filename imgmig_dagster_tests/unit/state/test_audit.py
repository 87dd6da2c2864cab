import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from imgmig_dagster.errors import StateUnavailable
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.state.audit import AuditLog, item_sha256
from imgmig_dagster.state.store import LocalStateStore

ITEM: Item = {"PK": {"S": "IMAGE#1"}, "width": {"N": "1"}}


class CountingStore(LocalStateStore):
    """Counts its appends, and refuses the first of them if told."""

    def __init__(self, root: Path, refusals: int = 0) -> None:
        super().__init__(root)
        self.appends = 0
        self.refusals = refusals

    def append(self, name: str, content: bytes) -> None:
        self.appends += 1
        if self.refusals:
            self.refusals -= 1
            raise StateUnavailable("away")
        super().append(name, content)


def lines_of(audit: AuditLog) -> list[dict[str, Any]]:
    found = Path(audit.place)
    return [json.loads(line) for line in found.read_bytes().splitlines()] if found.exists() else []


async def test_intents_of_many_callers_share_appends_and_each_is_in_the_file_when_it_returns(tmp_path: Path) -> None:
    store = CountingStore(tmp_path)

    audit = AuditLog(store, "run", "2024-03-01", keep_values=False)

    async def intend(number: int) -> None:
        await audit.intend(str(number), "put", None, ITEM)
        assert str(number) in {line["key"] for line in lines_of(audit)}

    await asyncio.gather(*(intend(number) for number in range(200)))
    assert len(lines_of(audit)) == 200
    assert store.appends < 20


async def test_its_times_are_those_of_the_runs_clock(tmp_path: Path) -> None:
    store, times = LocalStateStore(tmp_path), [f"2031-01-01T00:00:0{second}.000+00:00" for second in range(2)]
    audit = AuditLog(store, "run", "2024-03-01", keep_values=False, now=iter(times).__next__)

    await audit.intend("1", "put", None, ITEM)

    assert Path(audit.place).name.startswith("2031-01-01T000000.000Z")
    assert [line["time"] for line in lines_of(audit)] == times[1:]


def test_partitions_of_one_run_that_begin_in_the_same_millisecond_have_files_of_their_own(tmp_path: Path) -> None:
    store = LocalStateStore(tmp_path)
    march, april = (AuditLog(store, "run", of, keep_values=False).place for of in ("2024-03-01", "2024-04-01"))
    assert march.endswith("-run-2024-03-01.jsonl")
    assert april.endswith("-run-2024-04-01.jsonl")


async def test_results_wait_for_the_next_flush(tmp_path: Path) -> None:
    store = LocalStateStore(tmp_path)

    audit = AuditLog(store, "run", "2024-03-01", keep_values=False)
    await audit.intend("1", "put", None, ITEM)
    audit.conclude("1", "put", "done")
    before = len(lines_of(audit))
    await audit.flush()
    assert (before, len(lines_of(audit))) == (1, 2)


async def test_an_intent_that_could_not_be_noted_is_an_error_and_not_lost(tmp_path: Path) -> None:
    store = CountingStore(tmp_path, refusals=1)

    audit = AuditLog(store, "run", "2024-03-01", keep_values=False)
    with pytest.raises(StateUnavailable):
        await audit.intend("1", "put", None, ITEM)
    await audit.flush()
    assert [line["key"] for line in lines_of(audit)] == ["1"]


def test_the_hash_is_of_what_the_item_says_and_not_of_how_it_is_spelled() -> None:
    spelled: Item = {"tags": {"SS": ["b", "a"]}, "meta": {"M": {"y": {"L": [{"NS": ["2", "1"]}]}, "x": {"NULL": True}}}}
    again: Item = {"meta": {"M": {"x": {"NULL": True}, "y": {"L": [{"NS": ["1", "2"]}]}}}, "tags": {"SS": ["a", "b"]}}
    assert item_sha256(spelled) == item_sha256(again)
    for other in (
        {**spelled, "tags": {"SS": ["a"]}},
        {**spelled, "tags": {"L": [{"S": "a"}, {"S": "b"}]}},
        {"tags": spelled["tags"]},
    ):
        assert item_sha256(other) != item_sha256(spelled)


async def test_values_are_shown_but_for_those_of_sensitive_attributes(tmp_path: Path) -> None:
    store = LocalStateStore(tmp_path)
    audit = AuditLog(store, "run", "2024-03-01", keep_values=True, masked={"width"})

    await audit.intend("1", "put", None, ITEM)

    assert lines_of(audit)[0]["after"] == {"PK": {"S": "IMAGE#1"}, "width": {"S": "***"}}
