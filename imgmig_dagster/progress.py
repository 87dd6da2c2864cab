"""Reports the progress of long work to listeners, and writes the run's log."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from imgmig_dagster.errors import ImgmigError

# Log lines kept while they cannot be written.
_HELD_BYTES: Final = 65_536


@dataclass(frozen=True)
class Progress:
    """A moment of one partition's work. `verb` is ``Migrated``, ``Verified`` or the like; `rate` is rows a second.

    `before` of the rows `done` were done by an earlier run.
    """

    verb: str
    partition: str
    done: int
    total: int
    rate: float
    failures: int = 0
    retries: int = 0
    noun: str = "rows"
    before: int = 0

    def line(self) -> str:
        """The moment as a log line."""
        share = 100 * self.done / self.total if self.total else 100.0
        return f"{self.verb} {self.done}/{self.total} {self.noun} ({share:.1f}%)"


Listener: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True)
class Ended:
    """How one partition of a run ended. `error` is what ended it early; without one, it is recorded.

    `red` are its blocking checks that failed.
    """

    partition: str
    red: Sequence[str] = ()
    error: ImgmigError | None = None


class ProgressMeter:
    """Counts rows and tells the listener at every step."""

    def __init__(
        self,
        verb: str,
        partition: str,
        total: int,
        listener: Listener,
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
        noun: str = "rows",
    ) -> None:
        self._noun = noun
        self._verb = verb
        self._partition = partition
        self._total = total
        self._done = done
        self._already_done = done
        self._listener = listener
        self._clock = clock
        self._started = clock()
        self.failures = 0
        self.retries = 0

    def advance(self, rows: int) -> None:
        """Count `rows` more rows as done."""
        self._done += rows
        elapsed = self._clock() - self._started
        rate = (self._done - self._already_done) / elapsed if elapsed > 0 else 0.0
        # Rows that arrive during the work make more than were counted at the start.
        total = max(self._total, self._done)
        self._listener(
            Progress(
                self._verb,
                self._partition,
                self._done,
                total,
                rate,
                self.failures,
                self.retries,
                self._noun,
                self._already_done,
            )
        )


def every_rows(
    step: int,
    tell: Listener,
    lines: int = 1_000,
    interval: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
) -> Listener:
    """A listener that passes on a moment after every `step` rows, and the last one of each partition.

    After `lines` moments it passes on one each `interval` seconds: the log must not grow with the rows.
    """
    passed_on: dict[str, int] = {}
    count, last = 0, clock()

    def listen(progress: Progress) -> None:
        nonlocal count, last
        key = f"{progress.verb} {progress.partition}"
        stepped = progress.done // step > passed_on.get(key, 0) // step
        if progress.done == progress.total or (stepped and (count < lines or clock() - last >= interval)):
            passed_on[key], count, last = progress.done, count + 1, clock()
            tell(progress)

    return listen


def every_seconds(interval: float, tell: Listener, clock: Callable[[], float] = time.monotonic) -> Listener:
    """A listener that passes on at most one moment per `interval` seconds."""
    last = [clock()]

    def listen(progress: Progress) -> None:
        if clock() - last[0] >= interval:
            last[0] = clock()
            tell(progress)

    return listen


@contextmanager
def migration_log(
    append: Callable[[bytes], None], interval: float, end_within: float = 20.0
) -> Iterator[logging.Logger]:
    """A logger whose lines go to `append`: timestamps in UTC, levels, one line a message.

    Lines are held back for up to `interval` seconds, then written by another thread, and none is left behind at the end
    unless `append` takes longer than `end_within` seconds. A log that cannot be written never ends the work, nor grows
    in memory: the last 64 KiB of lines are kept. One message on standard error says so.
    """
    handler = _AppendingHandler(append, interval, end_within)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ [%(levelname)s] %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    # Not a logger of the process's tree: two runs in one process keep their own files.
    logger = logging.Logger("imgmig.migration", logging.INFO)
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        handler.close()


class _AppendingHandler(logging.Handler):
    """Writes at once where `interval` is 0, and else from a thread of its own: nobody who logs waits for a store."""

    def __init__(self, append: Callable[[bytes], None], interval: float, end_within: float) -> None:
        super().__init__()
        self._append = append
        self._interval = interval
        self._end_within = end_within
        self._held = bytearray()
        self._complained = False
        self._locked = threading.Lock()
        self._due, self._ending = threading.Event(), threading.Event()
        # A store that hangs must not keep the process.
        self._writing = threading.Thread(target=self._write_on, name="migration log", daemon=True)
        if interval:
            self._writing.start()

    def emit(self, record: logging.LogRecord) -> None:
        line = (self.format(record) + "\n").encode()
        with self._locked:
            self._held = _last_lines(self._held + line)
            many = len(self._held) > _HELD_BYTES // 2
        if many or not self._interval:
            self.flush()

    def flush(self) -> None:
        """Write what is held; with a thread, let it do so, since at the process's end too nobody waits for a store."""
        if self._interval:
            self._due.set()
        else:
            self._write()

    def close(self) -> None:
        if self._ending.is_set():  # `logging` closes all handlers again at the process's end
            return
        self._ending.set()
        self.flush()
        if self._interval:
            self._writing.join(self._end_within)
            if self._writing.is_alive():
                self._complain(f"the end of the log could not be written within {self._end_within:g} s, and is lost")
        super().close()

    def _write(self) -> bool:
        with self._locked:  # not during the write: a thread that logs would wait for it
            taken, self._held = self._held, bytearray()
        if not taken:
            return True
        try:
            self._append(bytes(taken))
        except (ImgmigError, OSError) as error:
            self._complain(f"the log cannot be written, and the work goes on: {error}")
            with self._locked:
                self._held = _last_lines(taken + self._held)
            return False
        return True

    def _write_on(self) -> None:
        while not self._ending.is_set():
            self._due.wait(self._interval)
            self._due.clear()
            if not self._write():
                self._ending.wait(self._interval)  # many lines are no reason to try at once again
        self._write()

    def _complain(self, what: str) -> None:
        if not self._complained:
            self._complained = True
            logging.getLogger(__name__).warning("%s", what)


def _last_lines(held: bytearray) -> bytearray:
    """As many whole lines as are kept."""
    if len(held) <= _HELD_BYTES:
        return held
    begin = held.find(b"\n", len(held) - _HELD_BYTES - 1) + 1
    return held[begin:]
