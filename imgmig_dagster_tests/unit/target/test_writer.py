"""Batches against a real server, with faults in between: what is not confirmed is not called written."""

import asyncio
from dataclasses import replace

import pytest

from imgmig_dagster.errors import TargetRefused, TargetUnavailable
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.target.writer import WriteFailure
from imgmig_dagster_tests.arrange import FakeClock, Target, item_of, row_id
from imgmig_dagster_tests.fault_proxy import (
    FaultProxy,
    error,
    holds,
    reset_after,
    reset_before,
    truncated,
    unprocessed,
)
from imgmig_dagster_tests.unit.target.opened import POLICY, opened

FOREVER = 10_000


def write(
    target: Target,
    proxy: FaultProxy,
    items: list[Item],
    clock: FakeClock | None = None,
    deadline: float = 900.0,
    done: list[int] | None = None,
) -> list[WriteFailure]:
    async def run() -> list[WriteFailure]:
        async with opened(target, proxy.url, clock, replace(POLICY, deadline=deadline)) as table:
            on_batch = done.append if done is not None else lambda _rows: None
            return await table.put_many(items, on_batch)

    return asyncio.run(run())


def items(count: int) -> list[Item]:
    return [item_of(number) for number in range(count)]


def sizes(proxy: FaultProxy) -> list[int]:
    return sorted((len(call.keys) for call in proxy.of("BatchWriteItem")), reverse=True)


def exist(target: Target, count: int) -> bool:
    """Whether exactly the first `count` items are in the table, as they were written."""
    return target.items() == {item["PK"]["S"]: item for item in items(count)}


@pytest.mark.parametrize(
    ("count", "batches"), [(0, []), (1, [1]), (25, [25]), (26, [25, 1]), (110, [25, 25, 25, 25, 10])]
)
def test_items_are_written_in_batches_of_at_most_25(
    target: Target, proxy: FaultProxy, count: int, batches: list[int]
) -> None:
    done: list[int] = []

    assert write(target, proxy, items(count), done=done) == []

    assert sizes(proxy) == batches
    assert sorted(done, reverse=True) == batches
    assert exist(target, count)


def test_unprocessed_items_are_sent_again_alone(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(unprocessed(7), "BatchWriteItem")
    proxy.inject(unprocessed(2), "BatchWriteItem")

    assert write(target, proxy, items(25)) == []

    assert [call.ids for call in proxy.calls] == [
        [row_id(number) for number in range(25)],
        [row_id(number) for number in range(18, 25)],
        [row_id(number) for number in (23, 24)],
    ]
    assert exist(target, 25)


def test_unprocessed_items_use_up_no_retry_and_slow_the_writer_down(target: Target, proxy: FaultProxy) -> None:
    clock = FakeClock()
    proxy.inject(unprocessed(25), "BatchWriteItem", times=12)

    assert write(target, proxy, items(25), clock) == []

    assert len(proxy.calls) == 13
    assert clock.now > FakeClock().now + 12
    assert exist(target, 25)


def test_no_progress_past_the_deadline_makes_the_target_unavailable(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(unprocessed(25), "BatchWriteItem", times=FOREVER)

    with pytest.raises(TargetUnavailable, match="UnprocessedItems"):
        write(target, proxy, items(25), deadline=30.0)

    assert target.items() == {}


def test_slow_progress_is_no_reason_to_give_up(target: Target, proxy: FaultProxy) -> None:
    clock = FakeClock()
    for left in range(24, 0, -1):
        proxy.inject(unprocessed(left), "BatchWriteItem")

    assert write(target, proxy, items(25), clock, deadline=1.0) == []

    assert sizes(proxy) == list(range(25, 0, -1))
    assert clock.now > FakeClock().now + 2.0
    assert exist(target, 25)


@pytest.mark.parametrize("fault", [reset_before, reset_after, truncated, error("InternalServerError", 500)])
def test_a_batch_whose_reply_was_lost_is_written_again(target: Target, proxy: FaultProxy, fault: object) -> None:
    proxy.inject(fault, "BatchWriteItem", times=3)  # type: ignore[arg-type]

    assert write(target, proxy, items(25)) == []

    assert sizes(proxy) == [25] * 4
    assert exist(target, 25)


def test_after_three_retries_the_items_of_that_batch_have_failed_and_the_others_are_written(
    target: Target, proxy: FaultProxy
) -> None:
    proxy.inject(error("InternalServerError", 500), "BatchWriteItem", times=FOREVER, when=holds(row_id(30)))

    failures = write(target, proxy, items(60))

    assert {failure.item["PK"]["S"] for failure in failures} == {f"IMAGE#{row_id(n)}" for n in range(25, 50)}
    assert {(failure.code, failure.permanent) for failure in failures} == {("InternalServerError", False)}
    assert sum(row_id(30) in call.ids for call in proxy.calls) == 4
    assert len(target.items()) == 35


def test_a_rejected_batch_is_split_until_the_bad_item_is_alone(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(error("ValidationException"), "BatchWriteItem", times=FOREVER, when=holds(row_id(17)))

    failures = write(target, proxy, items(25))

    assert failures == [WriteFailure(item_of(17), "ValidationException", permanent=True)]
    assert target.items().keys() == {f"IMAGE#{row_id(number)}" for number in range(25) if number != 17}
    assert len(proxy.calls) <= 11


def test_every_item_of_a_batch_may_be_bad(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(error("ValidationException"), "BatchWriteItem", times=FOREVER)

    failures = write(target, proxy, items(5))

    assert [failure.item for failure in failures] == items(5)
    assert all(failure.permanent for failure in failures)


def test_a_split_batch_is_retried_like_any_other(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(error("ValidationException"), "BatchWriteItem", times=FOREVER, when=holds(row_id(3)))
    proxy.inject(error("ServiceUnavailable", 503), "BatchWriteItem", times=2)
    proxy.inject(unprocessed(1), "BatchWriteItem", times=2)

    failures = write(target, proxy, items(12))

    assert [failure.item for failure in failures] == [item_of(3)]
    assert len(target.items()) == 11


def test_what_stops_one_batch_stops_all_of_them(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(error("AccessDeniedException"), "BatchWriteItem", times=FOREVER)

    with pytest.raises(TargetRefused, match="AccessDeniedException"):
        write(target, proxy, items(1_000))

    assert len(proxy.calls) <= 8
    assert target.items() == {}
