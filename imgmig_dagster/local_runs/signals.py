"""How a command receives Ctrl-C and SIGTERM while Dagster's signal handlers are installed.

Inside an event loop `concurrency.run_interruptible` holds a signal until the work is cancelled, then passes it to these
handlers. The exit code of an interrupted command is in `errors`.
"""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Final

_NOTED: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def terminated_like_ctrl_c() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as SIGINT does, while the context lasts."""
    previous = signal.signal(signal.SIGTERM, _raise_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class Signals:
    """Notes SIGINT and SIGTERM, also between two runs, where Dagster swallows them."""

    def __init__(self) -> None:
        self._arrived = False

    def __enter__(self) -> "Signals":
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._previous = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._previous)
        self._receiver.close()
        self._sender.close()

    def arrived(self) -> bool:
        """Whether one came since the context began."""
        with suppress(BlockingIOError):
            self._arrived |= any(number in _NOTED for number in self._receiver.recv(4096))
        return self._arrived


def _raise_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
