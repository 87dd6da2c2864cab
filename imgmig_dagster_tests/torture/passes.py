"""One pass that dies several times: what is looked at after each death, and at its end."""

import random
import signal
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.state import names
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.target.in_flight import FIRST_LIMIT
from imgmig_dagster.walk.coverage import CHECKPOINT_ROWS
from imgmig_dagster_tests.arrange import MARCH, Migration, Target, row_id
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, Call, Drop, FaultProxy, Forward
from imgmig_dagster_tests.orchestration.commands import Finished, Running, wait_until
from imgmig_dagster_tests.torture.child import CODE, PAGE_SIZE, Orders, Place
from imgmig_dagster_tests.torture.ground import BUCKET, Ground
from imgmig_dagster_tests.torture.points import AT_THE_TARGET, Point

# A successor on S3 waits so long for the lease of a dead process, and not 30 seconds.
_LEASE_S = 1.0
# What a death may cost: the rows since the checkpoint, and the page that is under way beside the one it waits for.
MOST_DONE_AGAIN = CHECKPOINT_ROWS + PAGE_SIZE
_PARTITION = MARCH.partition
# About as long as a pass takes.
_PASS_S = 3.0
_WRITES = {WriteMode.BATCH: ("BatchWriteItem",), WriteMode.CONDITIONAL: (*NEW_ITEMS, "UpdateItem")}


@dataclass(frozen=True)
class Way:
    """Where the state is, and how the items are written."""

    on_s3: bool
    write_mode: WriteMode

    def __str__(self) -> str:
        return f"{'S3' if self.on_s3 else 'local'}, {self.write_mode.value}"


WAYS = tuple(Way(on_s3, write_mode) for on_s3 in (False, True) for write_mode in WriteMode)


@dataclass
class Findings:
    """What was seen of one pass. `violations` say what must not be."""

    way: Way
    kills: Counter[Point] = field(default_factory=Counter)
    resumes: int = 0
    most_done_again: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def hold(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.violations.append(f"{self.way}: {otherwise}")


class Pass:
    """A table and a state of its own, and the processes that work on them. A context manager."""

    def __init__(self, ground: Ground, way: Way) -> None:
        self.ground, self.way = ground, way
        self.findings = Findings(way)
        name = uuid.uuid4().hex[:12]
        self.place = (
            Place(s3_url=ground.s3_url, bucket=BUCKET, prefix=name, lease_seconds=_LEASE_S)
            if way.on_s3
            else Place(folder=str(ground.folder / name))
        )
        self.state: StateStore = self.place.open()
        self._resources = ExitStack()
        self._written: set[str] = set()

    def __enter__(self) -> "Pass":
        self.target: Target = self._resources.enter_context(self.ground.target(self.way.write_mode))
        self.proxy = self._resources.enter_context(FaultProxy(self.ground.url))
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    def stand_at(self, place: Place) -> None:
        """Look for the state there."""
        self.place, self.state = place, place.open()

    @property
    def checkpoint(self) -> dict[str, Any] | None:
        return Migration(self.ground.source, self.target, self.state).checkpoint

    @property
    def covered(self) -> int:
        """The rows up to the checkpoint's cursor; their numbers are in the order of the pass."""
        cursor = (self.checkpoint or {}).get("cursor")
        return uuid.UUID(cursor[1]).int + 1 if cursor else 0

    def start(self, run_id: str, place: Place | None = None, **trap: Any) -> Running:
        """A process that works on the pass; `trap` is what `Orders` says of its end."""
        source = self.ground.source
        orders = Orders(
            source_url=source.url,
            schema=source.schema,
            table=source.table,
            target=self.target.name,
            target_url=self.proxy.url,
            place=place or self.place,
            write_mode=self.way.write_mode.value,
            run_id=run_id,
            **trap,
        )
        return self.ground.commands.start(orders.to_json(), environment={}, code=CODE)

    def kill(self, point: Point, nth: int, chance: random.Random) -> bool:
        """Run until the `nth` time at the point, and look at what the dead process leaves.

        False where the pass ended before: then its end was looked at.
        """
        self.proxy.clear()
        trap = {} if point in AT_THE_TARGET or point is Point.RANDOM else {"point": point.value, "nth": nth}
        doomed: list[Running] = []
        if point in AT_THE_TARGET:
            self._set_at_the_target(point, nth, doomed)
        running = self.start(f"run-{sum(self.findings.kills.values())}", **trap)
        doomed.append(running)
        if point is Point.RANDOM:
            # Its output is opened by the process itself.
            wait_until(running.stderr.exists)
            time.sleep(chance.uniform(0, _PASS_S * max(0.2, 1 - self.covered / self.ground.rows.count)))
            running.send(signal.SIGKILL)
        finished = running.wait()
        self._count_done_again()
        if finished.exit_code >= 0:
            self._look_at_the_end_of_a_resumed_pass(finished)
            return False
        self.findings.kills[point] += 1
        self._look_at_the_dead(point)
        return True

    def finish(self) -> None:
        """The same command to its end, and a look at what it leaves."""
        self.proxy.clear()
        finished = self.start("last").wait()
        self._count_done_again()
        self._look_at_the_end_of_a_resumed_pass(finished)

    def _set_at_the_target(self, point: Point, nth: int, doomed: list[Running]) -> None:
        async def die(call: Call, forward: Forward) -> Drop:
            if point is Point.UNANSWERED:
                await forward(call.body)
            # Once: the requests that arrive with this one find its process gone, and its id perhaps given to another.
            if doomed:
                doomed.pop().send(signal.SIGKILL)
            return Drop()

        self.proxy.inject(die, when=partial(self._is_due, nth), times=1_000_000)

    def stop_while_it_writes(self, run_id: str) -> Running:
        """A run that stands still with as many writes under way as it may have, which are carried out."""
        held = self.proxy.hold(FIRST_LIMIT, *_WRITES[self.way.write_mode])
        running = self.start(run_id)
        held.wait_for_all()
        running.send(signal.SIGSTOP)
        wait_until_stopped(running)
        held.let_in()
        return running

    def _is_due(self, nth: int, call: Call) -> bool:
        """After a page was read, and nothing of it written."""
        operations = _WRITES[self.way.write_mode]
        arrived = len(self.proxy.of(*operations))
        return call.operation in operations and arrived > nth * PAGE_SIZE // 25 * 2 // 3

    def _count_done_again(self) -> None:
        written = {row for call in self.proxy.writes for row in call.ids}
        again = len(written & self._written)
        self._written |= written
        self.findings.most_done_again = max(self.findings.most_done_again, again)
        self.findings.hold(again <= MOST_DONE_AGAIN, f"{again} rows were done again after one death")

    def _look_at_the_dead(self, point: Point) -> None:
        """The checkpoint is never ahead of what is written, nor of the ledger."""
        checkpoint, covered = self.checkpoint, self.covered
        if checkpoint is None:
            return
        self.findings.resumes += 1
        standing, rejected = self._standing(), self.ground.rows.rejected
        ahead = [n for n in range(covered) if n not in rejected and f"IMAGE#{row_id(n)}" not in standing]
        self.findings.hold(not ahead, f"{point.value}: the checkpoint is ahead of the items {ahead[:5]}")
        counted = sum(checkpoint["outcomes"].values())
        self.findings.hold(counted == covered, f"{point.value}: {counted} rows counted of {covered} covered")
        ledger = Migration(self.ground.source, self.target, self.state).ledger
        unnamed = [n for n in rejected if n < covered and row_id(n) not in ledger]
        self.findings.hold(not unnamed, f"{point.value}: covered, and not in the ledger: {unnamed[:5]}")

    def _look_at_the_end_of_a_resumed_pass(self, finished: Finished) -> None:
        # A pass that dies between its record and its end is recorded again.
        self.look_at_the_end(finished, most_records=1 + self.findings.kills[Point.AFTER_RECORD])

    def _standing(self) -> set[str]:
        """The keys in the table; moto takes a sixth of the time that it takes for whole items."""
        pages = self.ground.dynamodb.get_paginator("scan").paginate(
            TableName=self.target.name, ProjectionExpression="PK", ConsistentRead=True
        )
        return {item["PK"]["S"] for page in pages for item in page["Items"]}

    def look_at_the_end(self, finished: Finished, most_records: int = 1, after_late_writes: bool = False) -> None:
        """Items, outcomes, ledger and files are exact; writes may have come late only if the caller knows of them."""
        rows, hold = self.ground.rows, self.findings.hold
        hold(
            finished.exit_code == 0, f"the last run ended with {finished.exit_code}: {finished.stdout}{finished.stderr}"
        )
        if finished.exit_code:
            return
        self.look_at_items_and_ledger()
        outcomes = finished.document["outcomes"]
        self.findings.outcomes = outcomes
        total, in_window = sum(outcomes.values()), finished.document["rows_in_window"]
        hold(total == in_window == rows.count, f"{total} outcomes, {in_window} rows in the window: {outcomes}")
        hold(outcomes.get("rejected") == len(rows.rejected), f"rejected: {outcomes}")
        newer = len(rows.newer(self.way.write_mode))
        hold(outcomes.get("newer_in_target", 0) == newer, f"newer: {outcomes}")
        self._look_at_the_files(most_records, {names.late_writes(_PARTITION)} if after_late_writes else set())

    def look_at_items_and_ledger(self) -> None:
        """Every item is as it has to be, and the ledger names the rows that can never be migrated."""
        rows, hold = self.ground.rows, self.findings.hold
        standing, expected = self.target.items(), rows.after(self.way.write_mode)
        wrong = [key for key in {*standing, *expected} if standing.get(key) != expected.get(key)]
        hold(not wrong, f"{len(wrong)} items are wrong: {wrong[:3]}")
        ledger = Migration(self.ground.source, self.target, self.state).ledger
        hold(set(ledger) == {row_id(n) for n in rows.rejected}, f"the ledger names {sorted(ledger)[:5]}")

    def _look_at_the_files(self, most_records: int, others: set[str]) -> None:
        found = set(self.state.list(_PARTITION))
        records = {name for name in found if name.startswith(f"{_PARTITION}/passes/")}
        self.findings.hold(1 <= len(records) <= most_records, f"records: {sorted(records)}")
        expected = {f"{_PARTITION}/{name}" for name in ("run.lock", "migration-failures.json", "last-write.json")}
        left = found - records - expected - others
        if self.place.folder:
            left |= {str(path) for path in Path(self.place.folder).rglob(".*") if path.name != ".write.lock"}
        self.findings.hold(not left, f"left behind: {sorted(left)}")


def wait_until_stopped(running: Running) -> None:
    """Until a process stands still by SIGSTOP."""
    wait_until(lambda: psutil.Process(running.pid).status() == psutil.STATUS_STOPPED)
