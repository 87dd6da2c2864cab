"""How far a long piece of work is, told to whoever wants to know."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from imgmig_dagster.errors import ImgmigError, StateError

# What is kept of lines that cannot be written, in case they can be later.
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
        """The moment as a log line has it."""
        share = 100 * self.done / self.total if self.total else 100.0
        return f"{self.verb} {self.done}/{self.total} {self.noun} ({share:.1f}%)"


Listener: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True)
class Ended:
    """How one partition of a run ended. `error` is what ended it early; where there is none, it is recorded.

    `red` are its blocking checks that do not hold.
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
        """`rows` more rows are done."""
        self._done += rows
        elapsed = self._clock() - self._started
        rate = (self._done - self._already_done) / elapsed if elapsed > 0 else 0.0
        # Rows that arrive meanwhile make more rows than were counted at the start.
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


def every_rows(step: int, tell: Listener) -> Listener:
    """A listener that passes on a moment each time another `step` rows are done, and the last one."""
    told: dict[str, int] = {}

    def listen(progress: Progress) -> None:
        key = f"{progress.verb} {progress.partition}"
        if progress.done // step > told.get(key, 0) // step or progress.done == progress.total:
            told[key] = progress.done
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
def migration_log(append: Callable[[bytes], None], interval: float) -> Iterator[logging.Logger]:
    """A logger whose lines go to `append`: timestamps in UTC, levels, one line a message.

    Lines are held back for up to `interval` seconds, and none is left behind at the end. A log that cannot be written
    never ends the work that it tells of: that is said once, on standard error.
    """
    handler = _AppendingHandler(append, interval)
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
    def __init__(self, append: Callable[[bytes], None], interval: float) -> None:
        super().__init__()
        self._append = append
        self._interval = interval
        self._held = bytearray()
        self._appended_at = time.monotonic()
        self._complained = False

    def emit(self, record: logging.LogRecord) -> None:
        self._held += (self.format(record) + "\n").encode()
        if time.monotonic() - self._appended_at >= self._interval:
            self.flush()

    def flush(self) -> None:
        if not self._held:
            return
        self._appended_at = time.monotonic()
        try:
            self._append(bytes(self._held))
        except (StateError, OSError) as error:
            if not self._complained:
                self._complained = True
                logging.getLogger(__name__).warning("the log cannot be written, and the work goes on: %s", error)
            del self._held[:-_HELD_BYTES]
        else:
            self._held.clear()

    def close(self) -> None:
        self.flush()
        super().close()
