"""How much of a large table a command reads before and beside its work: no more than the partitions asked for."""

from collections.abc import Callable
from typing import Any

import pytest

from imgmig_dagster_tests.arrange import Source
from imgmig_dagster_tests.orchestration.arrange import APRIL, Platform, images_of
from imgmig_dagster_tests.orchestration.commands import Finished

ROWS_OF_MARCH = 30_000
ROWS_OF_APRIL = 10


@pytest.fixture
def large(platform: Platform) -> Platform:
    """Very many rows in March, and a few in April."""
    platform.source.insert(images_of(4, range(ROWS_OF_APRIL)))
    columns = ", ".join(name for name in images_of(3, [0])[0] if name not in ("id", "created_at"))
    copied = "INSERT INTO {t} (id, created_at, {c}) SELECT gen_random_uuid(), '2024-03-10Z', {c} FROM {t}, {n}"
    numbers = f"generate_series(1, {ROWS_OF_MARCH // ROWS_OF_APRIL})"
    platform.source.execute(copied.replace("{c}", columns).replace("{n}", numbers))
    platform.source.execute("VACUUM ANALYZE {t}")
    return platform


def rows_read(source: Source) -> int:
    """How many rows of the table, and entries of its indexes, all sessions so far have read."""
    table = f"{source.schema}.{source.table}"
    counted: Any = source.owner.execute(
        "SELECT pg_stat_get_tuples_returned(%(t)s::regclass) + sum(pg_stat_get_tuples_returned(indexrelid))"
        " FROM pg_index WHERE indrelid = %(t)s::regclass",
        {"t": table},
    ).fetchone()
    return int(counted[0])


@pytest.mark.parametrize(
    "command", [["dry-run", "--partition", APRIL], ["dry-run", "--from", APRIL], ["dry-run", "--to", "2024-02-01"]]
)
def test_a_command_on_some_partitions_reads_no_others(
    large: Platform, imgmig: Callable[..., Finished], command: list[str]
) -> None:
    before = rows_read(large.source)

    imgmig(*command)

    assert rows_read(large.source) - before < ROWS_OF_MARCH // 2


def test_a_command_on_the_whole_table_counts_its_rows_once(large: Platform, imgmig: Callable[..., Finished]) -> None:
    before = rows_read(large.source)

    imgmig("dry-run")

    # Once more by the inventory, by the plan's count, and by the pages each.
    assert rows_read(large.source) - before < 4.5 * ROWS_OF_MARCH
