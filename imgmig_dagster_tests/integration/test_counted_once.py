"""A row whose order column moves while a pass goes on is counted once, wherever it was met; and so is time."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from imgmig_dagster.clock import Clock
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_lines
from imgmig_dagster.verification.verification_result import Mismatch
from imgmig_dagster_tests.arrange import Migration, image, row_id
from imgmig_dagster_tests.runs import Run

# Row n was created n seconds after midnight.
Moves = dict[int, str]


def at(second: int) -> str:
    return f"2024-03-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.5Z"


# After the page of that number the row is created at another time. A page holds 100 rows, a segment 1,000.
MOVES: dict[str, Moves] = {
    "forward within a segment": {1: at(450)},
    "forward to another segment": {1: at(1_500)},
    "forward over two segments": {1: at(2_250)},
    "forward twice, to other segments": {1: at(1_200), 14: at(2_250)},
    "forward twice within a segment": {1: at(350), 5: at(850)},
    "back, behind the cursor": {1: at(0)},
    "forward, and back again": {1: at(1_500), 17: at(5)},
    "forward, and back into another segment": {1: at(2_250), 22: at(1_100)},
    "to the end of the window": {1: "2024-03-31T00:00:00Z"},
}
ROWS = 2_300


@pytest.fixture(params=list(MOVES))
def moves(request: pytest.FixtureRequest) -> Moves:
    found: Moves = MOVES[request.param]
    return found


def while_it_is_read(reader: SourceReader, change: Callable[[int], None]) -> None:
    """Call `change` with the number of each page, as soon as the page has been read."""
    pages = reader.pages

    def read(*arguments: Any) -> Iterator[Any]:
        for number, page in enumerate(pages(*arguments)):
            yield page
            change(number)

    reader.pages = read  # type: ignore[method-assign,assignment]


def moving(migration: Migration, moves: Moves, **changes: object) -> Callable[[int], None]:
    def change(page: int) -> None:
        if page in moves:
            migration.source.update(10, created_at=moves[page], **changes)

    return change


@pytest.mark.parametrize("write_mode", list(WriteMode))
def test_by_a_migration(migration: Migration, moves: Moves, write_mode: WriteMode) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    run = migration.run(write_mode=write_mode, page_size=100)
    while_it_is_read(run.source, moving(migration, moves))

    with run.source:
        result = run.migrate()

    assert (result.total, result.rows_in_window, result.left_window) == (ROWS, ROWS, 0)
    assert result.every_row_is_accounted_for


def test_by_a_verification(migration: Migration, moves: Moves) -> None:
    """Its item is never brought up to date: the difference is listed once, also where the pass was past the row."""
    migration.source.insert(image(number) for number in range(ROWS))
    migration.migrate(write_mode=WriteMode.BATCH)
    run = migration.verification(page_size=100)
    while_it_is_read(run.source, moving(migration, moves, width=7))

    with run.source:
        result = run.verify()

    assert result.verdicts == {"match": ROWS - 1, "mismatch": 1, "missing": 0, "unverified": 0}
    assert (result.looked_at, result.rows_in_window, result.left_window) == (ROWS, ROWS, 0)
    listed = load_lines(migration.state, names.mismatches(migration.window.partition), Mismatch)
    faults = ("createdAt", "updatedAt", "width")
    assert sorted((found.row_id, str(found.attribute)) for found in listed) == [(row_id(10), name) for name in faults]
    assert (result.mismatches_found, dict(result.by_attribute)) == (len(faults), dict.fromkeys(faults, 1))


def test_a_row_that_moves_to_another_window_is_none_of_this_one(migration: Migration) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    run = migration.run(page_size=100)
    while_it_is_read(run.source, moving(migration, {1: at(1_500), 17: "2024-05-01T00:00:00Z"}))

    with run.source:
        result = run.migrate()

    assert (result.total, result.rows_in_window, result.left_window) == (ROWS, ROWS - 1, 1)
    assert migration.target.item(10) is not None


@pytest.mark.parametrize("make_pass", [Run.migrate, Run.verify])
def test_the_time_of_a_pass_is_counted_once_however_often_it_is_saved(
    migration: Migration, make_pass: Callable[[Run], Any]
) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    seconds = [0.0]

    def a_second_goes_by(_page: int) -> None:
        seconds[0] += 1

    run = replace(migration.run(page_size=100), clock=Clock(monotonic=lambda: seconds[0]))
    with run.source:
        while_it_is_read(run.source, a_second_goes_by)
        assert make_pass(run).duration_s == ROWS / 100
