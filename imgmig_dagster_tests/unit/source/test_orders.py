"""What puts rows in order: times, dates, numbers, buckets of the identity; and the rows that have no time."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.mapping.fields import Field, FieldType, Null, Unit
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.mapping.spec import Order, TableMapping
from imgmig_dagster.source.indexes import missing_page_index
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.steps.census_sides import Sides
from imgmig_dagster.window import UNDATED_WINDOW, Window
from imgmig_dagster_tests.arrange import MARCH, month
from imgmig_dagster_tests.unit.source.things import Things, assert_all_looks_agree, text_field, things_mapping

FEBRUARY, APRIL = month(2024, 2), month(2024, 4)
START, END = 1_709_251_200, 1_711_929_600  # of March 2024
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def buckets(number: int) -> list[Window]:
    starts = [EPOCH + timedelta(seconds=bucket) for bucket in range(number)]
    return [Window(f"bucket-{n:02}", start, start + timedelta(seconds=1)) for n, start in enumerate(starts)]


# The type, the order, the values in SQL of the rows 1, 2, ... in February, March (3 and 4), April, and in no window.
ORDERS: dict[str, tuple[str, Order, Sequence[str]]] = {
    "a time": (
        "timestamptz",
        Order("at"),
        [
            "'2024-02-29 23:59:59.999999Z'",
            "'2024-03-01Z'",
            "'2024-03-31 23:59:59.999999Z'",
            "'2024-04-01Z'",
            "'infinity'",
        ],
    ),
    "a date": (
        "date",
        Order("at"),
        [
            "'2024-02-29'",
            "'2024-03-01'",
            "'2024-03-31'",
            "'2024-04-01'",
            "'5874897-12-31'",
            "'-infinity'",
            "'4714-11-24 BC'",
        ],
    ),
    "seconds": (
        "integer",
        Order("at", Unit.SECONDS),
        [f"{START - 1}", f"{START}", f"{END - 1}", f"{END}", "2147483647", "-2147483648"],
    ),
    "milliseconds": (
        "bigint",
        Order("at", Unit.MILLISECONDS),
        [f"{START * 1000 - 1}", f"{START * 1000}", f"{END * 1000 - 1}", f"{END * 1000}", "9223372036854775807", "0"],
    ),
    "microseconds": (
        "bigint",
        Order("at", Unit.MICROSECONDS),
        [f"{START * 10**6 - 1}", f"{START * 10**6}", f"{END * 10**6 - 1}", f"{END * 10**6}", "-9223372036854775808"],
    ),
    "seconds with a fraction": (
        "numeric(30, 6)",
        Order("at", Unit.SECONDS),
        [f"{START - 1}.999999", f"{START}", f"{END - 1}.999999", f"{END}", "'NaN'", "1e23"],
    ),
    "milliseconds with a fraction": (
        "numeric(30, 3)",
        Order("at", Unit.MILLISECONDS),
        [f"{START * 1000 - 1}.999", f"{START * 1000}", f"{END * 1000 - 1}.999", f"{END * 1000}", "-1.5"],
    ),
}


@pytest.mark.parametrize("has_undated", [False, True])
@pytest.mark.parametrize("what", ORDERS)
def test_each_window_has_the_rows_of_its_time(things: Things, what: str, has_undated: bool) -> None:
    column_type, order, values = ORDERS[what]
    rows = [f"({n}, {value})" for n, value in enumerate(values, 1)]
    things.make(f"id int PRIMARY KEY, at {column_type}", f"VALUES {', '.join(rows)}, (101, NULL), (102, NULL)")
    mapping = things_mapping(order=Order(order.column, order.unit, has_undated=has_undated))
    beyond = [str(number) for number in range(5, len(values) + 1)]
    expected = {FEBRUARY: ["1"], MARCH: ["2", "3"], APRIL: ["4"]}
    undated = {UNDATED_WINDOW: ["101", "102"]} if has_undated else {}

    with things.reader(mapping) as reader:
        assert_all_looks_agree(reader, {**expected, **undated}, beyond if has_undated else [*beyond, "101", "102"])
        assert_all_looks_agree(reader, {**undated, **expected}, beyond if has_undated else [*beyond, "101", "102"])
        outside = reader.rows_outside(MARCH.start, MARCH.end)
        assert outside.rows == len(values) - 2 + (0 if has_undated else 2)


@pytest.mark.parametrize("what", ORDERS)
def test_rows_of_one_time_are_told_apart_by_the_identity(things: Things, what: str) -> None:
    column_type, order, values = ORDERS[what]
    things.make(
        f"a int, b int, at {column_type}, PRIMARY KEY (a, b)",
    )
    things.add(9, f"(n - 1) / 3, (n - 1) % 3, {values[1]}")
    mapping = things_mapping(order=order, identity=("a", "b"), key=("{a}", "{b}"))

    with things.reader(mapping) as reader:
        assert_all_looks_agree(reader, {MARCH: [f"{n // 3}|{n % 3}" for n in range(9)]})


def test_the_order_of_a_row_is_a_time_for_any_type_in_its_item(things: Things) -> None:
    things.make("id int PRIMARY KEY, at bigint", f"VALUES (1, {START})")
    field = Field("at", "at", FieldType.INTEGER, Null.WRITTEN)

    with things.reader(things_mapping(field, order=Order("at", Unit.SECONDS))) as reader:
        ((row,),) = reader.pages(MARCH, None, 10)
        assert row == Row(("1", START, START * 10**6))


class TestBuckets:
    """Where there is no time the identity cuts the rows into buckets, and always into the same."""

    ORDER = Order("", buckets=4)
    COMPOSITE: TableMapping = things_mapping(
        text_field("b"), order=Order("", buckets=4), identity=("a", "b"), key=("{a}", "{b}")
    )

    def found(self, reader: SourceReader) -> dict[Window, list[str]]:
        return {window: [row.id for page in reader.pages(window, None, 100) for row in page] for window in buckets(4)}

    @pytest.mark.parametrize(
        ("id_type", "value"),
        [("int", "n"), ("text", "'id-' || n"), ("uuid", "md5(n::text)::uuid"), ("date", "date '2024-01-01' + n")],
    )
    def test_every_row_is_in_one(self, things: Things, id_type: str, value: str) -> None:
        things.make(f"id {id_type} PRIMARY KEY")
        things.add(40, value)

        with things.reader(things_mapping(order=self.ORDER)) as reader:
            found = self.found(reader)
            assert all(found.values()), "forty rows in four buckets"
            assert_all_looks_agree(reader, found)
            assert self.found(reader) == found

    def test_an_index_on_the_expression_serves_them(self, things: Things) -> None:
        things.make("a int, b text, PRIMARY KEY (a, b)", "SELECT n, 'x' FROM generate_series(1, 40) AS listed(n)")

        with things.reader(self.COMPOSITE) as reader:
            fetch = reader._connections.fetch
            (statement,) = missing_page_index(fetch, reader.table)
            things.owner.execute(statement.encode())
            assert missing_page_index(fetch, reader.table) == []
            assert_all_looks_agree(reader, self.found(reader))

    def test_a_census_finds_each_rows_bucket(self, things: Things, tmp_path: Path) -> None:
        things.make("a int, b text, PRIMARY KEY (a, b)", "SELECT n, 'x' FROM generate_series(1, 40) AS listed(n)")
        sides = Sides(tmp_path, self.COMPOSITE, buckets(4), 40)

        with things.reader(self.COMPOSITE) as reader:
            for page in reader.all_rows(7):
                sides.add_rows(page)
            listed = {name: sorted(ids) for name, ids in sides.ids()}
            assert listed == {window.partition: sorted(ids) for window, ids in self.found(reader).items()}


def test_a_census_finds_the_rows_without_a_time(things: Things, tmp_path: Path) -> None:
    things.make("id int PRIMARY KEY, at bigint", f"VALUES (1, {START}), (2, NULL), (3, 0), (4, {END})")
    mapping = things_mapping(order=Order("at", Unit.SECONDS, has_undated=True))

    with things.reader(mapping) as reader:
        for windows in ([UNDATED_WINDOW, MARCH, APRIL], [MARCH, APRIL, UNDATED_WINDOW]):
            sides = Sides(tmp_path / windows[0].partition, mapping, windows, 4)
            for page in reader.all_rows(2):
                sides.add_rows(page)
            assert dict(sides.ids()) == {"2024-03-01": ["1"], "2024-04-01": ["4"], "undated": ["2"], "outside": ["3"]}


@pytest.mark.parametrize(
    ("column_type", "order", "fault"),
    [
        ("numeric", Order("at", Unit.SECONDS), "declare its scale"),
        ("numeric(20, 4)", Order("at", Unit.MILLISECONDS), "declare its scale"),
        ("real", Order("at", Unit.SECONDS), "column at is real, and the mapping takes timestamp"),
        ("bigint", Order("at"), "say which time the number is"),
        ("text", Order("at"), "column at is text, and the mapping takes timestamp"),
    ],
)
def test_what_orders_no_rows_is_refused(things: Things, column_type: str, order: Order, fault: str) -> None:
    things.make(f"id int PRIMARY KEY, at {column_type}")

    with things.reader(things_mapping(order=order)) as reader, pytest.raises(SourceRefused, match=fault):
        reader.count(MARCH)


@pytest.mark.parametrize("what", ORDERS)
def test_an_index_on_the_order_and_the_identity_gives_the_pages(things: Things, what: str) -> None:
    column_type, order, values = ORDERS[what]
    things.make(
        f"a int, b int, at {column_type}, PRIMARY KEY (a, b)",
    )
    things.add(9, f"n, n % 3, {values[1]}")
    mapping = things_mapping(order=order, identity=("a", "b"), key=("{a}", "{b}"))

    with things.reader(mapping) as reader:
        fetch = reader._connections.fetch
        (statement,) = missing_page_index(fetch, reader.table)
        assert statement.endswith('("at", "a", "b")')
        things.owner.execute(statement.encode())
        assert missing_page_index(fetch, reader.table) == []
