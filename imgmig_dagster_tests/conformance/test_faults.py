"""Whole passes through faults between the client and a real server: no row is lost, none counted twice."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count

import pytest

from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.steps.migration_result import MigrationResult
from imgmig_dagster.target.open_target import WritableTarget
from imgmig_dagster.target.writer import WritableTable
from imgmig_dagster_tests.arrange import Migration, Target, image, item_of
from imgmig_dagster_tests.fault_proxy import (
    NEW_ITEMS,
    Action,
    Call,
    FaultProxy,
    error,
    reset_after,
    reset_before,
    slow,
    truncated,
)
from imgmig_dagster_tests.unit.target.opened import opened

ROWS = 50
MODES = pytest.mark.parametrize("write_mode", list(WriteMode))
LATE = "5 s latency"
FAULTS: dict[str, Action] = {
    "HTTP 500": error("InternalServerError", 500),
    "HTTP 503": error("ServiceUnavailable", 503),
    "reset before the commit": reset_before,
    "reset after the commit": reset_after,
    "truncated body": truncated,
    LATE: slow(300.0),
}
# The server has carried the write out all the same, and the client cannot know.
CARRIED_OUT = {"reset after the commit", "truncated body", LATE}


@dataclass(frozen=True, kw_only=True)
class OnFakeTime(WritableTarget):
    """The target of a run whose waits cost no time; its requests do, and time out after `timeout` seconds."""

    at: Target
    url: str
    timeout: float

    @asynccontextmanager
    async def open(self, mapping: TableMapping) -> AsyncIterator[WritableTable]:  # noqa: ARG002 - `at` has it
        async with opened(self.at, self.url, None, self.retry, self.requests_in_flight, timeout=self.timeout) as table:
            yield table


def migrate(migration: Migration, proxy: FaultProxy, write_mode: WriteMode, timeout: float = 30.0) -> MigrationResult:
    run = migration.run(write_mode=write_mode)
    # The deadline without progress is the sender's own tests'.
    retry = RetryPolicy(random=lambda: 0.0, deadline=1e9)
    target = OnFakeTime(
        access=run.target.access,
        table=run.target.table,
        mapping=run.target.mapping,
        requests_in_flight=ROWS,
        retry=retry,
        at=migration.target,
        url=proxy.url,
        timeout=timeout,
    )
    with run.source:
        return replace(run, target=target).migrate()


@dataclass
class Injection:
    """Applies a fault to those writes that `chosen` picks, and counts how often it did."""

    proxy: FaultProxy
    chosen: Callable[[Call], bool]
    calls: list[Call] = field(default_factory=list)

    def apply(self, fault: Action) -> None:
        self.proxy.inject(fault, times=10**9, when=self._strikes)

    def _strikes(self, call: Call) -> bool:
        strikes = call.operation in (*NEW_ITEMS, "BatchWriteItem") and self.chosen(call)
        if strikes:
            self.calls.append(call)
        return strikes


def assert_exact(migration: Migration, result: MigrationResult) -> None:
    assert result.every_row_is_accounted_for
    assert (result.total, result.rows_in_window, result.failed) == (ROWS, ROWS, 0)
    assert migration.ledger == {}
    expected = [item_of(number) for number in range(ROWS)]
    assert migration.target.items() == {item["PK"]["S"]: item for item in expected}
    assert migration.verify().passed


@pytest.mark.parametrize("percent", [10, 50, 90])
@MODES
def test_throttling_costs_no_row_and_uses_up_no_retry(
    migration: Migration, proxy: FaultProxy, write_mode: WriteMode, percent: int
) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    arrivals = count()
    throttled = Injection(proxy, lambda _call: next(arrivals) % 10 < percent // 10)
    throttled.apply(error("ProvisionedThroughputExceededException"))

    result = migrate(migration, proxy, write_mode)

    assert_exact(migration, result)
    assert result.outcomes == {"written" if write_mode is WriteMode.BATCH else "inserted": ROWS}
    assert (result.throttles, result.retries) == (len(throttled.calls), 0)
    assert throttled.calls


@pytest.mark.parametrize("fault", FAULTS)
@MODES
def test_a_fault_in_every_other_write_costs_no_row(
    migration: Migration, proxy: FaultProxy, write_mode: WriteMode, fault: str
) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    met: dict[str, int] = {}

    def first_of_every_other(call: Call) -> bool:
        again = call.keys[0] in met
        return not again and met.setdefault(call.keys[0], len(met)) % 2 == 0

    struck = Injection(proxy, first_of_every_other)
    struck.apply(FAULTS[fault])

    # Far longer than a request takes here, far shorter than the latency.
    result = migrate(migration, proxy, write_mode, timeout=6.0 if fault == LATE else 30.0)

    assert_exact(migration, result)
    assert (result.retries, result.throttles) == (len(struck.calls), 0)
    assert len(struck.calls) == 1
    if write_mode is WriteMode.BATCH:
        assert result.outcomes == {"written": ROWS}
    else:
        # Our own items, found after a lost reply, are compared and not written again.
        ours = len(struck.calls[0].keys) if fault in CARRIED_OUT else 0
        assert result.outcomes == {"inserted": ROWS - ours, **({"identical": ours} if ours else {})}
