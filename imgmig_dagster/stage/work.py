"""`Work`: what a run works on, opened once and shared by all its partitions. `open_work` begins a run.

The domain's calls, such as `steps.migrate.migrate(work, window, ...)`, are coroutines of a `Work`; those of several
partitions may be under way at a time. What they ask for says what they may do: `SourceWork`, `ReadingWork` or
`WritingWork`.

A caller without an event loop uses `work_on(open_work(...), lambda work: verify(work, window))`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from threading import Lock
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from imgmig_dagster.clock import SYSTEM_CLOCK, Clock
from imgmig_dagster.concurrency import in_thread, run_interruptible
from imgmig_dagster.fence import UNFENCED, Fence
from imgmig_dagster.garbage import fewer_collections
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.metrics import RunMetrics
from imgmig_dagster.progress import Listener, ProgressMeter
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state.fenced import FencedStateStore
from imgmig_dagster.state.index import changing
from imgmig_dagster.state.obeying import obeying_throttle
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.throttle import Throttle
from imgmig_dagster.state.writes import writing
from imgmig_dagster.target.target_table import TargetIdentity, TargetTable
from imgmig_dagster.target.writer import WritableTable

Table_co = TypeVar("Table_co", bound=TargetTable, covariant=True)
Table = TypeVar("Table", bound=TargetTable)
Found = TypeVar("Found")
Opened = TypeVar("Opened")


class Target(Protocol[Table_co]):
    """Where the target is, and whether it may be written: `TargetSettings`, or the guard's `WritableTarget`."""

    @property
    def rate(self) -> float | None:
        """A ceiling in capacity units per second, of all runs together."""

    def identity(self) -> TargetIdentity:
        """Ask DynamoDB which table it is."""

    def open(self, mapping: TableMapping) -> AbstractAsyncContextManager[Table_co]:
        """The table, ready for requests about items of a mapping."""


@dataclass(frozen=True)
class SourceWork:
    """The work of a run that does not use the target. `run_id` names the run in checkpoints, evidence and reports."""

    source: SourceReader
    state: StateStore
    run_id: str
    page_size: int
    listener: Listener
    clock: Clock
    metrics: RunMetrics

    def meter(self, verb: str, of: str, total: int, done: int = 0, noun: str | None = None) -> ProgressMeter:
        """Counts the rows, or other things by their `noun`, for the listener: see `Progress`."""
        noun = noun or self.source.mapping.noun
        return ProgressMeter(verb, of, total, self.listener, done, self.clock.monotonic, noun)


@dataclass(frozen=True)
class Work(SourceWork, Generic[Table_co]):
    """The work of a run on both sides and the state.

    `target` is open, with the run's one client. `rate` is the settings' ceiling in capacity units per second, which
    all runs of the stage share. With `keep_values` ledgers and audit records hold the values at fault.
    """

    target: Table_co
    recheck_delay_s: float
    keep_values: bool
    rate: float | None
    describe_target: Callable[[], TargetIdentity]
    fence: Fence = UNFENCED

    async def target_identity(self) -> TargetIdentity:
        """Which table the target is, asked once a run; for what it raises see `target.target_table.describe`."""
        return await asyncio.to_thread(self.describe_target)

    @asynccontextmanager
    async def owning(self, lock: str) -> AsyncIterator["Work[Table_co]"]:
        """The work of the lock's holder: its requests, and its writes to the state, pass the lock's fence.

        Raises:
            PartitionBusy: another run holds it.
        """
        async with in_thread(self.state.exclusive(lock)) as fence, in_thread(changing(self.state, lock)) as owned:
            state = FencedStateStore(owned, fence)
            yield replace(self, target=self.target.for_partition(fence), state=state, fence=fence)

    def writing(
        self, partition: str | None, by: str, ids: Sequence[str] | None = None
    ) -> AbstractAsyncContextManager[None]:
        """Record that the target may be written during the context; see `state.writes.writing`."""
        traffic = self.target.sender.traffic
        sent_before = traffic.writes_sent
        return in_thread(
            writing(
                self.state,
                partition,
                by,
                self.run_id,
                ids,
                self.fence,
                has_written=lambda: traffic.writes_sent > sent_before,
                now=self.clock.now,
            )
        )


ReadingWork: TypeAlias = Work[TargetTable]
"""The work of a run that reads; a `WritingWork` is one too."""
WritingWork: TypeAlias = Work[WritableTable]
"""The work of a run that may write."""


@asynccontextmanager
async def open_work(
    source: SourceReader,
    target: Target[Table],
    state: StateStore,
    run_id: str,
    *,
    page_size: int,
    recheck_delay_s: float,
    listener: Listener,
    keep_values: bool = False,
    throttled_by: StateStore | None = None,
    tell_throttle: Callable[[Throttle], None] = lambda _asked: None,
    clock: Clock = SYSTEM_CLOCK,
    metrics: RunMetrics | None = None,
) -> AsyncIterator[Work[Table]]:
    """Open the target for a run. The run shares the rate and obeys `imgmig throttle`.

    Rate and throttle come from the stage's state `throttled_by`, otherwise from this one. `tell_throttle` hears when a
    pause begins or ends.

    Raises:
        SourceError: the source's catalog cannot be read, or does not fit the mapping.
        SettingsError, AwsUnusable: DynamoDB's endpoint or the credentials cannot be found.
        StateError: the request of `imgmig throttle` cannot be read.
    """
    mapping, metrics = await asyncio.to_thread(lambda: source.mapping), metrics or RunMetrics()
    async with (
        target.open(mapping) as table,
        obeying_throttle(throttled_by or state, table.sender.limiter, target.rate, run_id, tell_throttle),
    ):
        table.sender.traffic = metrics.traffic
        metrics.rate = lambda: table.sender.limiter.rate
        metrics.in_flight = lambda: table.sender.under_way
        with fewer_collections():
            yield Work(
                source=source,
                target=table,
                state=state,
                run_id=run_id,
                page_size=page_size,
                recheck_delay_s=recheck_delay_s,
                listener=listener,
                keep_values=keep_values,
                rate=target.rate,
                clock=clock,
                metrics=metrics,
                describe_target=_once(target.identity),
            )


def _once(ask: Callable[[], TargetIdentity]) -> Callable[[], TargetIdentity]:
    """Asks once, even if many threads wait for the answer; after an error it asks again."""
    asking, answer = Lock(), cache(ask)

    def answered() -> TargetIdentity:
        with asking:
            return answer()

    return answered


def work_on(opening: AbstractAsyncContextManager[Opened], do: Callable[[Opened], Coroutine[Any, Any, Found]]) -> Found:
    """Open the work and use it, in its own event loop, which SIGINT and SIGTERM end."""

    async def run() -> Found:
        async with opening as work:
            return await do(work)

    return run_interruptible(run())
