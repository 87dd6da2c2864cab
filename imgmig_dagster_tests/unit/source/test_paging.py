"""Reading one page ahead."""

import asyncio
from collections.abc import Iterator

import pytest

from imgmig_dagster.source.paging import ahead


async def test_pages_come_in_order_and_all_of_them() -> None:
    assert [page async for page in ahead(iter([1, 2, 3]))] == [1, 2, 3]


def test_the_next_page_is_read_while_one_is_worked_on() -> None:
    read: list[int] = []

    def pages() -> Iterator[int]:
        for number in (1, 2, 3):
            read.append(number)
            yield number

    async def work() -> list[int]:
        async for _page in ahead(pages()):
            for _ in range(1_000):
                if read[-1] > 1:
                    break
                await asyncio.sleep(0.001)
            return list(read)
        return []

    assert asyncio.run(work())[:2] == [1, 2]


async def test_an_error_of_the_reader_reaches_the_consumer_behind_the_pages_before_it() -> None:
    def pages() -> Iterator[int]:
        yield 1
        raise RuntimeError("gone")

    got: list[int] = []

    async def collect() -> None:
        async for page in ahead(pages()):
            got.append(page)  # noqa: PERF401  # what came before the error is the point

    with pytest.raises(RuntimeError, match="gone"):
        await collect()
    assert got == [1]
