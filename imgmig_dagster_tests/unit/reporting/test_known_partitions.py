"""What `imgmig status` shows of a report: it fits a screen, says what is known, and ends with what to type."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from rich.console import Console

from imgmig_dagster.cli.known_partitions import blocked, next_command, partition_table
from imgmig_dagster.reporting.model import SummaryReport
from imgmig_dagster.state.failures import Failure
from imgmig_dagster.window import Window
from imgmig_dagster_tests.unit.reporting.stage_state import StageState, month

_SHOWN = 8
OPTIONS = "--stage staging"


def days(count: int) -> list[Window]:
    first = datetime(2016, 1, 1, tzinfo=timezone.utc)
    starts = [first + timedelta(days=number) for number in range(count)]
    return [Window(start.date().isoformat(), start, start + timedelta(days=1)) for start in starts]


def on_screen(report: SummaryReport, width: int = 80) -> list[str]:
    console = Console(width=width)
    table, lines = partition_table(report.filled, _SHOWN)
    with console.capture() as captured:
        console.print(table)
    return [*captured.get().splitlines(), *lines]


def test_few_partitions_have_a_line_each(state: StageState) -> None:
    for number in range(1, 9):
        state.clean(month(number), 100)
    state.census()
    shown = on_screen(state.report())
    assert len(shown) == 1 + 8
    assert shown[1].split() == ["2024-01-01", "100", "100", "01-02", "10:21", "PASS"]


@pytest.mark.parametrize("width", [60, 80])
def test_many_are_folded_where_the_same_is_known_of_neighbours(state: StageState, width: int) -> None:
    windows = days(100)
    for window in windows:
        if window not in windows[60:]:
            state.clean(window, 10)
        elif window not in windows[90:]:
            state.window(window, 10)
        else:
            state.window(window, 0)
    state.migrate(windows[20], {"updated": 10}, minute=40)
    shown = on_screen(state.report(), width)
    assert [line.split()[-1] for line in shown] == ["verdict", "PASS", "STALE", "PASS", "NONE"]
    assert shown[-1].startswith("2016-03-01 to 2016-03-30"), "empty ones are not shown"
    assert shown[-1].split()[3:] == ["300", "NONE"]
    assert max(map(len, shown)) <= width


def test_of_thousands_that_cannot_be_folded_those_that_do_not_pass_are_shown_and_all_are_counted(
    state: StageState,
) -> None:
    windows = days(100)
    for window in windows:
        state.clean(window, 10)
    for window in windows[::2]:
        state.migrate(window, {"updated": 10}, minute=40)
    shown = on_screen(state.report())
    assert [line.split()[-1] for line in shown[1:-1]] == ["STALE"] * _SHOWN
    assert shown[-1] == "... of 100 partitions: 50 STALE, 50 PASS"


def interrupted(state: StageState) -> None:
    state.interrupt_a_pass(month(2))


def written_since(state: StageState) -> None:
    state.migrate(month(2), {"updated": 5}, minute=40)


def never_migrated(state: StageState) -> None:
    state.window(month(4), 7)


def failed_rows(state: StageState) -> None:
    state.fail(month(2), Failure("id", None, "ValidationException", "too large", permanent=True))


def mismatched(state: StageState) -> None:
    state.verify(month(2), {"match": 9, "mismatch": 1})


@pytest.mark.parametrize(
    ("happens", "word", "explained", "typed"),
    [
        (interrupted, "STALE", "a migration pass was begun and has not finished", "migrate --partition 2024-02-01"),
        (written_since, "STALE", "because a migration wrote after it began", "verify --partition 2024-02-01"),
        (never_migrated, "NONE", "was not migrated (7 rows)", "migrate --partition 2024-04-01"),
        (failed_rows, "FAIL", "1 row in the failure ledger", "retry-failures --partition 2024-02-01"),
        (mismatched, "FAIL", "1 row mismatched", "repair --apply --partition 2024-02-01"),
    ],
)
def test_what_blocks_a_partition_is_said_with_what_to_type(
    state: StageState, happens: object, word: str, explained: str, typed: str
) -> None:
    for number in (1, 2, 3):
        state.clean(month(number), 10)
    assert callable(happens)
    happens(state)
    report = state.report()
    assert word in {line.split()[-1] for line in on_screen(report)[1:]}
    lines = blocked(report)
    assert explained in lines[0]
    assert lines[1] == f"  imgmig {typed} {OPTIONS}"
    assert next_command(report, OPTIONS) == f"imgmig {typed} {OPTIONS}"


def test_what_blocks_several_is_said_once_with_a_command_for_all_of_them(state: StageState) -> None:
    for number in range(1, 6):
        state.window(month(number), 10)
    assert blocked(state.report())[:3] == [
        "Partition 2024-01-01 was not migrated (10 rows) (and 4 more)",
        f"  imgmig migrate {OPTIONS}",
        f"  imgmig verify {OPTIONS}",
    ]
    for window in state.windows[:2]:
        state.migrate(window, {"written": 10})
        state.verify(window, {"match": 10})
    assert f"  imgmig migrate --from 2024-03-01 --to 2024-05-01 {OPTIONS}" in blocked(state.report())


def test_what_is_next_comes_from_what_is_left(state: StageState) -> None:
    state.clean(month(1), 10)
    assert next_command(state.report(), OPTIONS) == f"imgmig verify {OPTIONS}", "there is no census"
    state.census()
    report = state.report()
    assert next_command(report, OPTIONS) == f"imgmig spot-check {OPTIONS}"
    assert "before cutover: There is no spot check" in blocked(report)
    assert next_command(replace(report, cutover_blockers=()), OPTIONS) == f"imgmig certificate show {OPTIONS}"
