"""Concurrent work of which no part outlives a failure of another, and fewer pauses in it."""

import asyncio
import gc
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
Page = TypeVar("Page")


async def gather(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order; when one piece fails, the others are cancelled and awaited before its error is raised.

    (`asyncio.TaskGroup` does this from Python 3.11 on.)
    """
    tasks = [asyncio.ensure_future(piece) for piece in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def in_order(
    pages: AsyncIterator[Page], work: Callable[[Page], Coroutine[Any, Any, T]], in_flight: int
) -> AsyncGenerator[tuple[Page, T], None]:
    """Work on a few pages at once, and give each with its result in the order of the pages.

    Close it (`contextlib.aclosing`): what is still under way is then cancelled and awaited.
    """
    running: deque[tuple[Page, asyncio.Task[T]]] = deque()
    try:
        async for page in pages:
            running.append((page, asyncio.create_task(work(page))))
            if len(running) == in_flight:
                first, task = running[0]
                result = await task
                running.popleft()
                yield first, result
        while running:
            first, task = running[0]
            result = await task
            running.popleft()
            yield first, result
    finally:
        for _page, task in running:
            task.cancel()
        await asyncio.gather(*(task for _page, task in running), return_exceptions=True)


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Collect cyclic garbage less often while the context lasts.

    Rows and items are thousands of containers without a cycle among them: reference counts free them, and looking
    for cycles was a fifth of the CPU of a pass (docs/benchmarks.md).
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
