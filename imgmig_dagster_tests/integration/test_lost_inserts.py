"""A pass in conditional mode whose replies are lost, cut or doubled: one outcome a row, nothing newer overwritten."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster_tests.arrange import Migration, image, item_of
from imgmig_dagster_tests.fault_proxy import (
    NEW_ITEMS,
    Action,
    Call,
    FaultProxy,
    Forward,
    Reply,
    reset_after,
    truncated,
)

ROWS = 250
PAGE = 50
NEWER = range(3, ROWS, 10)
"""Rows whose items the application has written already, later than its row says."""


def newer(number: int) -> Item:
    return item_of(number, updatedAt={"S": "2024-06-01T00:00:00.000Z"}, originalFilename={"S": "newer.jpg"})


async def carried_out_twice(call: Call, forward: Forward) -> Reply:
    """Something in between sends the request again, and hands on the second reply."""
    await forward(call.body)
    return await forward(call.body)


def answering(change: Callable[[list[Any]], list[Any]]) -> Action:
    """The request is carried out, and the answers to its statements are changed on their way."""

    async def action(call: Call, forward: Forward) -> Reply:
        answered = json.loads((await forward(call.body)).body)
        return Reply(200, json.dumps({**answered, "Responses": change(answered["Responses"])}).encode())

    return action


@pytest.mark.parametrize(
    "fault",
    [
        reset_after,
        truncated,
        carried_out_twice,
        answering(lambda answers: answers[:-1]),
        answering(lambda answers: [*answers, *answers]),
        answering(lambda _answers: []),
    ],
    ids=["lost", "cut", "carried out twice", "one answer lacks", "answered twice", "no answer"],
)
def test_each_row_has_one_outcome_and_nothing_newer_is_overwritten(
    migration: Migration, proxy: FaultProxy, fault: Action
) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    for number in NEWER:
        migration.target.put(newer(number))
    arrivals, struck = count(1), Counter[str]()

    def every_fifth(call: Call) -> bool:
        strikes = call.operation == "BatchExecuteStatement" and next(arrivals) % 5 == 0
        struck.update(call.keys if strikes else [])
        return strikes

    proxy.inject(fault, NEW_ITEMS, times=10_000, when=every_fifth)

    result = migration.migrate(proxy.url, page_size=PAGE)

    assert struck
    assert result.every_row_is_accounted_for
    assert (result.total, result.failed, migration.ledger) == (ROWS, 0, {})
    assert result.outcomes["newer_in_target"] == len(NEWER)
    # Our own items, found after a reply that told nothing, are compared and not counted as written.
    unsure = [key for key in struck if key not in {newer(number)["PK"]["S"] for number in NEWER}]
    assert result.outcomes["identical"] == len(unsure)
    assert result.outcomes["inserted"] == ROWS - len(NEWER) - len(unsure)
    expected = [newer(number) if number in NEWER else item_of(number) for number in range(ROWS)]
    assert migration.target.items() == {item["PK"]["S"]: item for item in expected}
