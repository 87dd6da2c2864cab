"""What a person reads while a run works on a partition."""

import re
import threading

import pytest

from imgmig_dagster.errors import StateUnavailable
from imgmig_dagster.progress import Progress, ProgressMeter, every_rows, every_seconds, migration_log
from imgmig_dagster_tests.arrange import FakeClock


def test_a_line_reads_as_the_requirements_have_it() -> None:
    assert (
        Progress("Migrated", "2024-03-01", 500, 15_432, 90.0, noun="images").line()
        == "Migrated 500/15432 images (3.2%)"
    )
    assert Progress("Migrated", "2024-03-01", 0, 0, 0.0).line() == "Migrated 0/0 rows (100.0%)"


def test_the_meter_tells_each_step_with_its_rate() -> None:
    clock, told = FakeClock(), list[Progress]()
    meter = ProgressMeter("Migrated", "p", 400, told.append, clock=clock)

    clock.now += 2.0
    meter.advance(100)
    meter.failures, meter.retries = 3, 5
    clock.now += 2.0
    meter.advance(300)

    assert [(step.done, step.total, step.rate) for step in told] == [(100, 400, 50.0), (400, 400, 100.0)]
    assert (told[-1].failures, told[-1].retries) == (3, 5)


def test_a_resumed_passs_rate_is_of_its_own_rows() -> None:
    clock, told = FakeClock(), list[Progress]()
    meter = ProgressMeter("Migrated", "p", 2_000, told.append, done=1_000, clock=clock)

    clock.now += 10.0
    meter.advance(100)

    assert (told[0].done, told[0].rate) == (1_100, 10.0)


def test_rows_that_arrive_meanwhile_make_the_total_grow() -> None:
    told = list[Progress]()
    meter = ProgressMeter("Migrated", "p", 10, told.append)

    meter.advance(12)

    assert (told[0].done, told[0].total) == (12, 12)


def test_a_line_is_told_every_hundred_rows_and_at_the_end() -> None:
    told = list[int]()
    listen = every_rows(100, lambda progress: told.append(progress.done))

    for done in (25, 99, 100, 125, 199, 215, 450, 475, 480):
        listen(Progress("Migrated", "p", done, 480, 0.0))

    assert told == [100, 215, 450, 480]


def test_partitions_and_verbs_are_counted_apart() -> None:
    told = list[tuple[str, str, int]]()
    listen = every_rows(100, lambda progress: told.append((progress.verb, progress.partition, progress.done)))

    for verb, partition in (("Migrated", "a"), ("Migrated", "b"), ("Verified", "a")):
        listen(Progress(verb, partition, 120, 1_000, 0.0))

    assert told == [("Migrated", "a", 120), ("Migrated", "b", 120), ("Verified", "a", 120)]


def test_a_moment_is_told_at_most_once_an_interval() -> None:
    clock, told = FakeClock(), list[int]()
    listen = every_seconds(1.0, lambda progress: told.append(progress.done), clock)

    for done in range(1, 41):
        clock.now += 0.1
        listen(Progress("Migrated", "p", done, 40, 0.0))

    assert told in ([10, 20, 30, 40], [11, 22, 33]), "a sum of floats decides between the two"


def test_the_log_has_timestamps_in_utc_and_levels() -> None:
    written = list[bytes]()

    with migration_log(written.append, interval=0.0) as logger:
        logger.info("Migrated 500/15432 images (3.2%)")
        logger.warning("slow")

    first, second = b"".join(written).decode().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[INFO\] Migrated 500/15432 images \(3\.2%\)", first)
    assert second.endswith("Z [WARNING] slow")


def test_lines_that_are_held_back_are_written_at_the_end_even_after_an_error() -> None:
    written = list[bytes]()

    def work() -> None:
        with migration_log(written.append, interval=3_600.0) as logger:
            logger.info("one")
            logger.info("two")
            assert written == []
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()

    (content,) = written
    assert [line.rpartition(" ")[2] for line in content.decode().splitlines()] == ["one", "two"]


@pytest.mark.parametrize("error", [StateUnavailable("no space left"), OSError(28, "No space left on device")])
def test_a_log_that_cannot_be_written_never_ends_the_work_and_says_so_once(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    written, full = list[bytes](), [True]

    def append(content: bytes) -> None:
        if full[0]:
            raise error
        written.append(content)

    with migration_log(append, interval=0.0) as logger:
        logger.info("one")
        logger.info("two")
        full[0] = False
        logger.info("three")
        full[0] = True
        logger.info("four")

    assert [line.rpartition(" ")[2] for line in b"".join(written).decode().splitlines()] == ["one", "two", "three"]
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "the log cannot be written, and the work goes on"
    ]


def test_whoever_logs_never_waits_for_a_store_that_hangs_nor_does_the_end() -> None:
    answered, written = threading.Event(), list[bytes]()

    def append(content: bytes) -> None:
        answered.wait()
        written.append(content)

    with migration_log(append, interval=0.001, end_within=0.01) as logger:
        logger.info("one")
        logger.info("two")
        assert written == []
    answered.set()


def test_what_a_store_that_hangs_has_not_taken_stays_small_and_begins_with_a_whole_line() -> None:
    asked, answered, written = threading.Event(), threading.Event(), list[bytes]()

    def append(content: bytes) -> None:
        asked.set()
        answered.wait()
        written.append(content)

    with migration_log(append, interval=0.001) as logger:
        logger.info("first")
        asked.wait()
        for number in range(3_000):
            logger.info("%d", number)
        answered.set()

    later = b"".join(written[1:])
    assert 60_000 < len(later) <= 65_536
    assert later.splitlines()[0].startswith(b"2")
    assert later.endswith(b" 2999\n")


def test_many_lines_do_not_wait_for_their_time() -> None:
    written = threading.Event()

    with migration_log(lambda _content: written.set(), interval=3_600.0) as logger:
        for number in range(1_000):
            logger.info("%d", number)
        assert written.wait(60.0)


def test_of_very_many_rows_lines_are_told_by_time() -> None:
    clock, told = FakeClock(), list[int]()
    listen = every_rows(100, lambda progress: told.append(progress.done), lines=3, interval=10.0, clock=clock)

    for done in range(100, 2_001, 100):
        clock.now += 2.0
        listen(Progress("Migrated", "p", done, 2_000, 0.0))

    assert told == [100, 200, 300, 800, 1_300, 1_800, 2_000]
