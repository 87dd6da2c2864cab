"""Writes a run's progress to its log in Dagster's UI: a line every ten seconds, also while nothing moves.

Each hundred rows are in ``migration.log`` (`progress.every_rows`); the terminal's bar is in `cli.console`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import dagster as dg

from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.progress import Progress

_EVERY_S: Final = 10.0
# A paused run repeats its line every five minutes.
_REPEATED_EVERY: Final = 30


class RunLog:
    """Keeps the last moment of each partition, and writes the sum to `log`.

    Args:
        log: Dagster's log of the run.
        pause: says who paused the stage, and since when; empty while it runs.
        clock: seconds, for the rate.
    """

    def __init__(
        self, log: logging.Logger, pause: Callable[[], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._pause = pause
        self._clock = clock
        self._verb = ""
        self._last: dict[str, Progress] = {}
        self._counted = (0, clock())
        self._told, self._repeated = "", 0

    def listen(self, progress: Progress) -> None:
        """Take note of a moment of one partition's work."""
        if progress.verb != self._verb:
            self._verb, self._last = progress.verb, {}
            self._counted = (progress.before, self._clock())
        self._last[progress.partition] = progress

    def tell(self) -> None:
        """Write a line, unless the last one said the same not long ago."""
        line = self._line()
        self._repeated = self._repeated + 1 if line == self._told else 0
        if self._repeated % _REPEATED_EVERY == 0:
            self._told = line
            self._log.info(line)

    @contextmanager
    def telling(self, every_s: float = _EVERY_S) -> Iterator[None]:
        """Write lines by a thread of its own while the context lasts, and how it ended if it ended early."""
        over = threading.Event()

        def tell_on() -> None:
            while not over.wait(every_s):
                # The run itself reports that Dagster's log cannot be written.
                with suppress(Exception):
                    self.tell()

        thread = threading.Thread(target=tell_on, name="run log", daemon=True)
        thread.start()
        try:
            yield
        except (dg.Failure, ImgmigError) as error:
            # Dagster shows the same sentence above a stack trace.
            self._log.error(str(error))
            raise
        except (Exception, GeneratorExit):
            raise
        except BaseException:
            self._log.warning(self._stopped())
            raise
        finally:
            over.set()
            thread.join()

    def _line(self) -> str:
        pause = self._pause()
        return f"{self._moment()}; {pause}" if pause else self._moment()

    def _moment(self) -> str:
        if not self._last:
            return "No row is done yet"
        done, total, noun = self._sums()
        moment = self._clock()
        before, at = self._counted
        self._counted = (done, moment)
        rate = (done - before) / (moment - at) if moment > at else 0.0
        share = 100 * done / total if total else 100.0
        line = f"{self._verb} {done:,} of {total:,} {noun} ({share:.1f}%), {rate:,.0f}/s"
        if len(self._last) > 1:
            finished = sum(each.done >= each.total for each in self._last.values())
            line += f", in {len(self._last):,} partitions, of which {finished:,} are done"
        return line

    def _stopped(self) -> str:
        done, total, noun = self._sums()
        so_far = f"{done:,} of {total:,} {noun} are confirmed" if self._last else "No row is done yet"
        return f"Stopped. {so_far}. Re-execute resumes each partition; it begins a census, a sample or a report again"

    def _sums(self) -> tuple[int, int, str]:
        found = list(self._last.values())
        noun = found[-1].noun if found else "rows"
        return sum(each.done for each in found), sum(each.total for each in found), noun
