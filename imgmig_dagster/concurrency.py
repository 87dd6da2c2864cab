"""Runs work concurrently: if one part fails, the others are cancelled and awaited. Also handles signals in an event
loop."""

import asyncio
import signal
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from types import FrameType
from typing import Any, Final, TypeVar

T = TypeVar("T")
Page = TypeVar("Page")

_INTERRUPTIONS: Final = (signal.SIGINT, signal.SIGTERM)


def run_interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Like `asyncio.run`, but SIGINT and SIGTERM cancel the work and are raised, at the latest when it has ended.

    Dagster's handlers raise where the signal arrives. If that is in a callback of the event loop, asyncio only logs the
    error, and the signal would be lost.
    """
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(work)
    with _Interruption() as interruption:
        return asyncio.run(interruption.watch(work))


class _Interruption:
    """Keeps the signal while the event loop runs, and hands it to the handler that was there before."""

    def __init__(self) -> None:
        self._arrived: int | None = None
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> "_Interruption":
        self._previous = {number: signal.signal(number, self._arrive) for number in _INTERRUPTIONS}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._arrived is not None:
            self._hand_on(self._arrived, None)

    async def watch(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        self._task = task
        if self._arrived is not None:
            task.cancel()
        return await task

    def _arrive(self, number: int, frame: FrameType | None) -> None:
        again = self._arrived is not None
        self._arrived = number
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
            # Interrupts a statement that takes minutes, but never the loop's own code.
            in_work = asyncio.current_task(self._task.get_loop()) is not None and not _is_of_asyncio(frame)
            if again or in_work:
                self._hand_on(number, frame)

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        handler = self._previous[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        elif handler == signal.SIG_DFL:
            signal.raise_signal(number)


def _is_of_asyncio(frame: FrameType | None) -> bool:
    return frame is None or str(frame.f_globals.get("__name__")).startswith("asyncio")


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
    """Work on a few pages at a time, and yield each with its result, in the order of the pages.

    Close it (`contextlib.aclosing`): that cancels and awaits what is still running.
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


@asynccontextmanager
async def in_thread(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """A context whose begin and end block, entered and left in threads.

    A thread cannot be cancelled: a context that was entered while the task was cancelled is left again.
    """
    entering = asyncio.ensure_future(asyncio.to_thread(context.__enter__))
    try:
        entered = await asyncio.shield(entering)
    except asyncio.CancelledError as error:
        await asyncio.wait([entering])
        if entering.exception() is None:
            await whole_in_thread(context.__exit__, type(error), error, error.__traceback__)
        raise
    try:
        yield entered
    except BaseException as error:
        if not await whole_in_thread(context.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await whole_in_thread(context.__exit__, None, None, None)


async def whole_in_thread(call: Callable[..., T], *arguments: Any) -> T:
    """What a call in a thread returns; a cancellation waits until it has returned."""
    called = asyncio.ensure_future(asyncio.to_thread(call, *arguments))
    try:
        return await asyncio.shield(called)
    except asyncio.CancelledError:
        await asyncio.wait([called])
        called.exception()  # only the cancellation is raised
        raise


async def to_its_end(called: asyncio.Future[T]) -> T:
    """The result of work that is never interrupted: a cancellation takes effect only afterwards."""
    cancelled = False
    while not called.done():
        try:
            await asyncio.wait([called])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled and (task := asyncio.current_task()) is not None:
        task.cancel()
    return called.result()
