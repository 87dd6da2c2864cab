"""Reads pages in a thread, one page ahead of the consumer."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import TypeVar

Page = TypeVar("Page")


async def ahead(pages: Iterator[Page]) -> AsyncGenerator[Page, None]:
    """The pages in order. While the consumer works on one, the next is read."""

    def read() -> Page | None:
        return next(pages, None)

    upcoming = asyncio.create_task(asyncio.to_thread(read))
    try:
        while (page := await upcoming) is not None:
            upcoming = asyncio.create_task(asyncio.to_thread(read))
            yield page
    finally:
        # A thread cannot be cancelled: its statement ends before the connection is used again.
        await asyncio.gather(upcoming, return_exceptions=True)
