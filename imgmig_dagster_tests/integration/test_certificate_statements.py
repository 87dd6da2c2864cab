"""What a certificate asks the source does not depend on the number of partitions."""

from dataclasses import replace
from datetime import timedelta

import pytest

from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.steps.certify import Certified, certify
from imgmig_dagster.window import Window
from imgmig_dagster_tests.arrange import MARCH, Migration, image, item_of
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.unit.source.test_plans import Recorded

ROWS, PARTITIONS = 10, 12
"""Rows of a partition: `image` makes one for each second."""
WINDOWS = [
    Window(f"part-{n:02}", MARCH.start + n * timedelta(seconds=ROWS), MARCH.start + (n + 1) * timedelta(seconds=ROWS))
    for n in range(PARTITIONS)
]


@pytest.fixture
def verified(migration: Migration) -> Migration:
    migration.source.insert(image(number) for number in [*range(ROWS * PARTITIONS), 1_000_000])
    for window in WINDOWS:
        of_window = replace(migration, window=window)
        of_window.migrate()
        assert of_window.verify().passed
    return migration


def certified(migration: Migration, partitions: int) -> tuple[Certified, int]:
    """The certificate, and how many statements the source was asked for it."""
    connection = Recorded(migration.source.url)
    with SourceReader(connection, migration.source.schema, migration.source.table, IMAGE) as reader:
        assert reader.table
        connection.asked.clear()
        run = replace(migration.run(run_id="report-1"), source=reader)
        found = run.look(lambda work: certify(work, WINDOWS[:partitions], lambda _line: None))
    return found, len(connection.asked)


def test_of_quiet_partitions(verified: Migration) -> None:
    few, statements = certified(verified, 2)
    all_of_them, of_all = certified(verified, PARTITIONS)

    assert statements == of_all
    assert few.rows == {window.partition: ROWS for window in WINDOWS[:2]}
    assert all_of_them.rows == {window.partition: ROWS for window in WINDOWS}
    assert [all_of_them.ends[window.partition][1][1] for window in WINDOWS] == [
        image(ROWS * n + ROWS - 1)["id"] for n in range(PARTITIONS)
    ]
    assert all_of_them.miscounted == []


def test_of_partitions_that_changed(verified: Migration) -> None:
    """The rows that changed in a partition are read again by a statement of their own."""
    looks = []
    for width, partitions in ((1, 2), (2, PARTITIONS)):
        for window in range(PARTITIONS):
            verified.source.update(window * ROWS, width=width)
            now = {"S": "2024-06-01T00:00:00.000Z"}
            verified.target.put(item_of(window * ROWS, width={"N": str(width)}, updatedAt=now))
        found, statements = certified(verified, partitions)
        assert (found.rounds.rounds, found.rounds.looked_again, found.rounds.moving) == (1, partitions, [])
        looks.append(statements - partitions)

    assert looks[0] == looks[1]
