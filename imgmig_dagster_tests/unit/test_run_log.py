"""What a run's log in the UI says while it goes on, while it is paused, and when it was stopped."""

import logging
import threading

import dagster as dg
import pytest

from imgmig_dagster.defs.run_log import RunLog
from imgmig_dagster.errors import SourceUnavailable
from imgmig_dagster.progress import Progress
from imgmig_dagster_tests.arrange import FakeClock


class Lines(logging.Handler):
    """Keeps what is logged, and says when a line came."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []
        self.came = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))
        self.came.set()


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def log(lines: Lines) -> logging.Logger:
    logger = logging.Logger("a run", logging.INFO)
    logger.addHandler(lines)
    return logger


def migrated(partition: str, done: int, total: int) -> Progress:
    return Progress("Migrated", partition, done, total, 0.0)


def test_a_line_sums_up_the_partitions_with_the_rate_since_the_last_line(log: logging.Logger, lines: Lines) -> None:
    clock = FakeClock()
    told = RunLog(log, lambda: "", clock)

    told.tell()
    told.listen(migrated("a", 0, 1_000))
    clock.now += 10
    told.listen(migrated("a", 1_000, 1_000))
    told.listen(migrated("b", 500, 3_000))
    told.tell()
    clock.now += 10
    told.listen(migrated("b", 700, 3_000))
    told.tell()
    told.listen(Progress("Verified", "b", 0, 3_000, 0.0))
    told.tell()

    of_two = "in 2 partitions, of which 1 are done"
    assert [text for _level, text in lines.lines] == [
        "No row is done yet",
        f"Migrated 1,500 of 4,000 rows (37.5%), 150/s, {of_two}",
        f"Migrated 1,700 of 4,000 rows (42.5%), 20/s, {of_two}",
        "Verified 0 of 3,000 rows (0.0%), 0/s",
    ]


def test_a_paused_run_says_who_paused_it_once_and_each_five_minutes(log: logging.Logger, lines: Lines) -> None:
    told = RunLog(log, lambda: "paused by amy@desk since 2025-01-02T10:50:00Z", FakeClock())
    told.listen(migrated("a", 10, 20))

    for _ in range(62):
        told.tell()

    line = "Migrated 10 of 20 rows (50.0%), 0/s; paused by amy@desk since 2025-01-02T10:50:00Z"
    assert lines.lines == [("INFO", line)] * 3


def test_lines_come_by_themselves_while_nothing_moves(log: logging.Logger, lines: Lines) -> None:
    with RunLog(log, lambda: "paused").telling(every_s=0.01):
        assert lines.came.wait(60)

    assert lines.lines[0] == ("INFO", "No row is done yet; paused")


def test_a_store_that_is_away_ends_neither_the_lines_nor_the_run(log: logging.Logger, lines: Lines) -> None:
    asked = iter([SourceUnavailable("away")])

    def pause() -> str:
        if error := next(asked, None):
            raise error
        return ""

    with RunLog(log, pause).telling(every_s=0.01):
        assert lines.came.wait(60)


@pytest.mark.parametrize(
    ("error", "level", "said"),
    [
        (KeyboardInterrupt(), "WARNING", "Stopped. 10 of 20 rows are confirmed. Re-execute resumes each partition; "),
        (dg.Failure("1 of 2 partitions failed"), "ERROR", "1 of 2 partitions failed"),
        (SourceUnavailable("PostgreSQL is away"), "ERROR", "PostgreSQL is away"),
    ],
)
def test_the_end_of_a_run_that_ended_early_is_one_sentence(
    log: logging.Logger, lines: Lines, error: BaseException, level: str, said: str
) -> None:
    told = RunLog(log, lambda: "")

    told.listen(migrated("a", 10, 20))

    with pytest.raises(type(error)), told.telling():
        raise error

    [(found, text)] = lines.lines
    assert (found, text.startswith(said)) == (level, True)


def test_an_unforeseen_error_is_left_to_its_stack_trace(log: logging.Logger, lines: Lines) -> None:
    """Its text may hold a row's values."""
    with pytest.raises(ValueError, match="secret"), RunLog(log, lambda: "").telling():
        raise ValueError("a secret")

    assert lines.lines == []
