"""Every run that talks to the table obeys what the state store asks for."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from imgmig_dagster.errors import StateUnavailable
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state.obeying import obeying_throttle
from imgmig_dagster.state.store import LocalStateStore, Versioned
from imgmig_dagster.state.throttle import change_throttle, read_throttle
from imgmig_dagster.target.rate_limit import RateLimiter
from imgmig_dagster_tests.arrange import Migration, image, item_of
from imgmig_dagster_tests.fault_proxy import Call, Drop, FaultProxy, Forward, Reply


class PausedStore(LocalStateStore):
    """A stage that is paused when a run begins, and resumed while it looks again: `faults` come in between."""

    def __init__(self, root: Path, *faults: Exception) -> None:
        super().__init__(root)
        self._faults = list(faults)
        self._looks = -(10**9)
        change_throttle(self, paused=True)
        self._looks = 0

    def read(self, name: str) -> Versioned | None:
        if name == "throttle.json":
            self._looks += 1
            if self._looks > 1 and self._faults:
                raise self._faults.pop()
            if self._looks > 1:
                self._looks = -(10**9)  # what follows reads the file too
                change_throttle(self, paused=False)
        return super().read(name)


def dry_run(migration: Migration, url: str) -> None:
    run = migration.run(url, page_size=10)
    with run.source:
        run.plan()


WORK: dict[str, Callable[[Migration, str], object]] = {
    "migrate": lambda migration, url: migration.migrate(url),
    "verify": lambda migration, url: migration.verify(url),
    "verify again": lambda migration, url: migration.verify(url, only_failed=True),
    "census": lambda migration, url: migration.census(url),
    "spot check": lambda migration, url: migration.spot_check(3, 1, url),
    "dry run": dry_run,
    "delete orphans": lambda migration, url: migration.delete_orphans(url, apply=True),
}


@pytest.mark.parametrize("work", WORK)
def test_while_a_stage_is_paused_no_request_reaches_the_table(
    migration: Migration, proxy: FaultProxy, tmp_path: Path, work: str
) -> None:
    migration.source.insert(image(number) for number in range(20))
    for number in range(21):  # one is an orphan
        migration.target.put(item_of(number, width={"N": "1"} if number == 1 else {"N": "640"}))
    migration.verify()
    migration.census()
    paused = replace(migration, state=PausedStore(tmp_path / "state"))
    arrived: list[tuple[str, bool]] = []

    async def note(call: Call, forward: Forward) -> Reply | Drop:
        arrived.append((call.operation, read_throttle(paused.state).paused))
        return await forward(call.body)

    proxy.inject(note, times=10**9, when=lambda call: call.operation != "DescribeTable")

    WORK[work](paused, proxy.url)

    assert arrived
    assert [operation for operation, was_paused in arrived if was_paused] == []


def test_while_a_stage_is_paused_a_census_reads_no_more_of_the_source_either(
    migration: Migration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration.source.insert(image(number) for number in range(200))
    pages: list[bool] = []
    all_rows = SourceReader.all_rows
    run = replace(migration, state=PausedStore(tmp_path / "state")).verification(page_size=10)

    def noted(reader: SourceReader, size: int) -> Iterator[list[Row]]:
        for page in all_rows(reader, size):
            pages.append(read_throttle(LocalStateStore(tmp_path / "state")).paused)
            yield page

    monkeypatch.setattr(SourceReader, "all_rows", noted)
    with run.source:
        found = run.census()

    assert found.source_rows == 200
    assert len(pages) == 20
    assert 1 <= pages.count(True) <= 2, "one page, and the next one ahead of it"


def test_a_run_hears_of_a_pause_that_begins_and_ends(tmp_path: Path) -> None:
    heard: list[bool] = []
    limiter = RateLimiter()

    async def follow() -> None:
        async with obeying_throttle(
            PausedStore(tmp_path), limiter, None, tell=lambda asked: heard.append(asked.paused)
        ):
            await asyncio.wait_for(limiter.wait(), 30)

    asyncio.run(follow())
    assert heard == [True, False]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{"rate": null, "paused": true}', "paused: imgmig throttle resume --stage prod"),
        (
            b'{"paused": true, "paused_by": "ann@build-7", "paused_at": "2026-11-26T15:41:00.123+00:00"}',
            "paused by ann@build-7 at 2026-11-26 15:41:00 UTC: imgmig throttle resume --stage prod",
        ),
        (b'{"rate": 200.0, "paused": false}', "no longer paused"),
    ],
    ids=["of an earlier version", "paused", "resumed"],
)
def test_a_pause_is_told_with_what_ends_it(tmp_path: Path, content: bytes, line: str) -> None:
    store = LocalStateStore(tmp_path)
    store.write("throttle.json", content)
    assert read_throttle(store).line("prod") == line


@pytest.mark.parametrize("fault", [OSError(5, "Input/output error"), StateUnavailable("away")], ids=repr)
def test_a_state_store_that_fails_for_a_moment_is_looked_at_again(tmp_path: Path, fault: Exception) -> None:
    limiter = RateLimiter()

    async def follow() -> None:
        async with obeying_throttle(PausedStore(tmp_path, fault), limiter, None):
            await asyncio.wait_for(limiter.wait(), 30)

    asyncio.run(follow())


def test_a_follower_that_ends_for_another_cause_does_not_end_in_silence(tmp_path: Path) -> None:
    async def follow() -> None:
        limiter = RateLimiter()
        async with obeying_throttle(PausedStore(tmp_path, RuntimeError("a bug")), limiter, None):
            (follower,) = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait([follower])

    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(follow())


def test_a_paused_stage_writes_nothing_until_it_is_resumed(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(50))
    change_throttle(migration.state, paused=True)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(migration.migrate, proxy.url)
        while migration.checkpoint is None:  # the pass has begun
            time.sleep(0.02)
        time.sleep(0.3)
        written_while_paused = len(proxy.writes)
        change_throttle(migration.state, paused=False)
        result = running.result(timeout=300)

    assert written_while_paused == 0
    assert result.outcomes == {"inserted": 50}


def test_changing_the_rate_leaves_a_pause_as_it_is(migration: Migration) -> None:
    change_throttle(migration.state, paused=True)

    assert change_throttle(migration.state, rate=200.0) == read_throttle(migration.state)
    assert read_throttle(migration.state).paused
    assert change_throttle(migration.state, rate=None).rate is None
