"""New items in batches against a real server, with faults per statement: each ends in exactly one finding."""

import asyncio
import re
from collections.abc import Sequence

import pytest

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.target.faults import STATEMENT_FAULTS, TargetFault
from imgmig_dagster.target.writer import ExistingItem, WriteFailure
from imgmig_dagster_tests.arrange import FakeClock, Target, access, item_of, row_id
from imgmig_dagster_tests.conformance.outcomes import by_key
from imgmig_dagster_tests.fault_proxy import (
    Action,
    FaultProxy,
    error,
    holds,
    reply,
    reset_after,
    truncated,
)
from imgmig_dagster_tests.unit.target.opened import opened
from imgmig_dagster_tests.wire_faults import standing_kept_back, statements_refused

FOREVER = 10_000
# Every code that AWS's model of the service lists.
CODES: list[str] = list(
    access("http://127.0.0.1:1").client("dynamodb").meta.service_model.shape_for("BatchStatementErrorCodeEnum").enum
)


def insert(
    target: Target, proxy: FaultProxy, items: Sequence[Item], clock: FakeClock | None = None
) -> list[ExistingItem | WriteFailure | None]:
    async def run() -> list[ExistingItem | WriteFailure | None]:
        async with opened(target, proxy.url, clock) as table:
            return await table.put_new_many(items)

    return asyncio.run(run())


def items(count: int) -> list[Item]:
    return [item_of(number) for number in range(count)]


def sizes(proxy: FaultProxy) -> list[int]:
    return sorted((len(call.keys) for call in proxy.of("BatchExecuteStatement")), reverse=True)


@pytest.mark.parametrize(("count", "batches"), [(0, []), (2, [2]), (25, [25]), (60, [25, 25, 10])])
def test_items_are_written_in_batches_of_at_most_25(
    target: Target, proxy: FaultProxy, count: int, batches: list[int]
) -> None:
    assert insert(target, proxy, items(count)) == [None] * count

    assert sizes(proxy) == batches
    assert proxy.writes == proxy.of("BatchExecuteStatement")
    assert target.items() == by_key(items(count))


def test_an_item_alone_goes_by_put_item(target: Target, proxy: FaultProxy) -> None:
    assert insert(target, proxy, items(26)) == [None] * 26

    assert (sizes(proxy), len(proxy.of("PutItem"))) == ([25], 1)
    assert target.items() == by_key(items(26))


def test_what_is_not_handed_back_is_read(target: Target, proxy: FaultProxy) -> None:
    """As DynamoDB was seen to do in spite of its documentation."""
    newer = item_of(3, version={"N": "7"})
    target.put(newer)
    proxy.inject(standing_kept_back, "BatchExecuteStatement")

    assert insert(target, proxy, items(5)) == [None, None, None, ExistingItem(newer), None]

    assert [call.ids for call in proxy.of("BatchGetItem")] == [[row_id(3)]]
    assert target.item(3) == newer


@pytest.mark.parametrize("lost", [reset_after, truncated])
def test_after_a_lost_reply_its_own_items_exist(target: Target, proxy: FaultProxy, lost: Action) -> None:
    proxy.inject(lost, "BatchExecuteStatement")

    assert insert(target, proxy, items(5)) == [ExistingItem(item) for item in items(5)]
    assert target.items() == by_key(items(5))


@pytest.mark.parametrize("code", CODES)
def test_a_statement_that_is_refused_is_sent_again_or_goes_by_put_item(
    target: Target, proxy: FaultProxy, code: str
) -> None:
    proxy.inject(statements_refused({row_id(1): code, row_id(3): code}), "BatchExecuteStatement")

    found = insert(target, proxy, items(5))

    if STATEMENT_FAULTS[code] is TargetFault.CONDITION:
        # Nothing is there any more when it is looked at: the caller looks again.
        assert found == [None, ExistingItem(None), None, ExistingItem(None), None]
    else:
        assert found == [None] * 5
        assert target.items() == by_key(items(5))
    again = {TargetFault.BACK_PRESSURE, TargetFault.TRANSIENT}
    assert sizes(proxy) == ([5, 2] if STATEMENT_FAULTS[code] in again else [5])
    puts = [[row_id(1)], [row_id(3)]] if STATEMENT_FAULTS[code] in (TargetFault.REJECT, TargetFault.STOP) else []
    assert sorted(call.ids for call in proxy.of("PutItem")) == puts


def test_every_code_at_once_costs_no_item(target: Target, proxy: FaultProxy) -> None:
    newer = item_of(0, version={"N": "7"})
    target.put(newer)
    codes = [code for code in CODES if STATEMENT_FAULTS[code] is not TargetFault.CONDITION]
    proxy.inject(
        statements_refused({row_id(number): code for number, code in enumerate(codes, 1)}), "BatchExecuteStatement"
    )

    assert insert(target, proxy, items(25)) == [ExistingItem(newer), *[None] * 24]
    assert target.items() == by_key([newer, *items(25)[1:]])


def test_throttled_statements_use_up_no_retry_and_slow_the_writer_down(target: Target, proxy: FaultProxy) -> None:
    clock = FakeClock()
    all_throttled = statements_refused({row_id(number): "ThrottlingError" for number in range(5)})
    proxy.inject(all_throttled, "BatchExecuteStatement", times=12)

    assert insert(target, proxy, items(5), clock) == [None] * 5

    assert (sizes(proxy), proxy.of("PutItem")) == ([5] * 13, [])
    assert clock.now > FakeClock().now + 12


def test_a_statement_that_outlasts_its_retries_goes_by_put_item(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(statements_refused({row_id(2): "InternalServerError"}), "BatchExecuteStatement", times=FOREVER)
    proxy.inject(error("InternalServerError", 500), "PutItem", times=FOREVER, when=holds(row_id(2)))

    found = insert(target, proxy, items(5))

    assert found == [None, None, WriteFailure(item_of(2), "InternalServerError", permanent=False), None, None]
    assert sizes(proxy) == [5, 1, 1, 1]
    assert len(proxy.of("PutItem")) == 4


def test_what_an_item_is_rejected_for_is_put_items_word(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(statements_refused({row_id(2): "ValidationError"}), "BatchExecuteStatement")
    proxy.inject(error("ValidationException"), "PutItem", when=holds(row_id(2)))

    found = insert(target, proxy, items(4))

    assert found == [None, None, WriteFailure(item_of(2), "ValidationException", permanent=True), None]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (error("AccessDeniedException"), "answers AccessDeniedException to .* allow dynamodb:PartiQLInsert"),
        (error("UnknownOperationException"), "answers UnknownOperationException to .* knows no PartiQL"),
        (error("InternalFailure", 500), "answers InternalFailure to .* tries batches again"),
        (
            statements_refused({row_id(number): "AccessDenied" for number in range(25)}),
            "answers AccessDenied to .* allow dynamodb:PartiQLInsert",
        ),
    ],
    ids=["denied", "unknown", "unknown, by 500", "denied by statement"],
)
async def test_where_statements_are_denied_or_unknown_a_run_asks_no_more_and_says_so_once(
    target: Target, proxy: FaultProxy, answer: Action, says: str
) -> None:
    proxy.inject(answer, "BatchExecuteStatement", times=FOREVER)
    told: list[str] = []

    async with opened(target, proxy.url) as table:
        table.batch_inserts.tell = told.append
        found: list[object] = [*await table.put_new_many(items(25))]
        asked = len(proxy.of("BatchExecuteStatement"))
        # Another partition of the same run.
        found += await table.for_partition().put_new_many([item_of(number) for number in range(25, 75)])

    assert found == [None] * 75
    assert len(proxy.of("BatchExecuteStatement")) == asked
    (line,) = told
    assert re.search(says, line)
    assert ("PartiQLInsert" in line) is ("AccessDenied" in line)
    assert len(target.items()) == 75


@pytest.mark.parametrize(
    ("answer", "most"),
    [
        (error("AccessDeniedException"), 1),
        (error("InternalFailure", 500), 3 * 20 + 2),
        (statements_refused({row_id(number): "AccessDenied" for number in range(500)}), 1),
    ],
    ids=["denied", "unknown, by 500", "denied by statement"],
)
async def test_batches_that_wait_do_not_run_into_the_same_refusal(
    target: Target, proxy: FaultProxy, answer: Action, most: int
) -> None:
    proxy.inject(answer, "BatchExecuteStatement", times=FOREVER)

    async with opened(target, proxy.url, requests_in_flight=1) as table:
        # Of two pages. What waits for its retry makes way for the others.
        first = await asyncio.gather(*(table.put_new_many(items(500)[at : at + 250]) for at in (0, 250)))
        assert first == [[None] * 250] * 2
    assert 0 < len(proxy.of("BatchExecuteStatement")) <= most
    assert len(target.items()) == 500


async def test_an_outage_later_in_a_run_is_no_reason_to_ask_no_more(target: Target, proxy: FaultProxy) -> None:
    async with opened(target, proxy.url) as table:
        await table.put_new_many(items(5))
        proxy.inject(error("InternalServerError", 500), "BatchExecuteStatement", times=4)
        assert await table.put_new_many([item_of(number) for number in range(5, 10)]) == [None] * 5
        assert table.batch_inserts.refusal is None
    assert len(target.items()) == 10


def test_a_request_refused_as_a_whole_costs_the_others_nothing(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(error("ValidationException"), "BatchExecuteStatement", times=FOREVER)
    proxy.inject(error("ValidationException"), "PutItem", times=FOREVER, when=holds(row_id(2)))

    found = insert(target, proxy, items(5))

    assert found == [None, None, WriteFailure(item_of(2), "ValidationException", permanent=True), None, None]


def test_a_reply_that_does_not_answer_each_statement_confirms_none(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(reply(200, b'{"Responses": [{}]}'), "BatchExecuteStatement")

    assert insert(target, proxy, items(5)) == [None] * 5
    assert target.items() == by_key(items(5))
    assert sizes(proxy) == [5, 5]


def test_what_is_too_large_for_a_statement_goes_by_put_item(target: Target, proxy: FaultProxy) -> None:
    by_names = item_of(1, **{f"{'n' * 200}{number}": {"N": "1"} for number in range(50)})
    by_values = item_of(2, originalFilename={"S": "x" * 70_000})
    together = [item_of(0), by_names, by_values, item_of(3)]

    assert insert(target, proxy, together) == [None] * 4

    assert [call.ids for call in proxy.of("BatchExecuteStatement")] == [[row_id(0), row_id(3)]]
    assert target.items() == by_key(together)


@pytest.mark.parametrize("standing", [range(5), range(3)], ids=["all refused", "some written"])
@pytest.mark.parametrize("handed_back", [True, False])
async def test_refused_statements_are_paid_for_by_the_larger_item(
    target: Target, proxy: FaultProxy, standing: range, handed_back: bool
) -> None:
    large = {"note": {"S": "x" * 3_000}}
    for number in standing:
        target.put(item_of(number, **large))
    if not handed_back:
        proxy.inject(standing_kept_back, "BatchExecuteStatement")

    async with opened(target, proxy.url) as table:
        await table.put_new_many(items(5))
        assert table.sender.traffic.write_units == 4 * len(standing) + 5 - len(standing)
