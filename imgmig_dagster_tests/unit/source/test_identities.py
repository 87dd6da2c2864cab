"""Identities of several columns and of any type: each look at the table sees the same rows under the same ids."""

import pytest
from psycopg import sql

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.mapping.spec import Order
from imgmig_dagster.mapping.template import parts, taken_apart
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import UNDATED_WINDOW, Window
from imgmig_dagster_tests.arrange import MARCH
from imgmig_dagster_tests.unit.source.test_plans import Recorded
from imgmig_dagster_tests.unit.source.things import (
    Things,
    assert_all_looks_agree,
    make_citext,
    text_field,
    things_mapping,
)

PAIR = {"identity": ("a", "b"), "key": ("A#{a}", "B#{b}")}
# The types of both columns, values in SQL in their order, and the ids.
PAIRS: dict[str, tuple[str, str, list[str], list[str]]] = {
    "numbers": ("int", "bigint", ["1, 9", "1, 10", "2, -5"], ["1|9", "1|10", "2|-5"]),
    "text with the separator": (
        'text COLLATE "C"',
        'text COLLATE "C"',
        [r"'', 'x'", r"'a', '|'", r"'a\', 'b'", r"'a|', 'b'"],
        ["|x", r"a|\|", r"a\\|b", r"a\||b"],
    ),
    "a number and an enum": ("bigint", "{s}.kind", ["1, 'z'", "1, 'a'", "2, 'z'"], ["1|z", "1|a", "2|z"]),
    "a uuid and a time": (
        "uuid",
        "timestamptz",
        [
            "'00000000-0000-0000-0000-000000000001', '2024-03-01 00:00:00.000001Z'",
            "'00000000-0000-0000-0000-000000000001', '2024-03-01 00:00:00.000002Z'",
        ],
        [
            "00000000-0000-0000-0000-000000000001|2024-03-01T00:00:00.000001Z",
            "00000000-0000-0000-0000-000000000001|2024-03-01T00:00:00.000002Z",
        ],
    ),
    "an address and a date": (
        "inet",
        "date",
        ["'10.0.0.2', '2024-03-01'", "'10.0.0.10', '2024-02-29'"],
        ["10.0.0.2/32|2024-03-01", "10.0.0.10/32|2024-02-29"],
    ),
    "bytes and a boolean": ("bytea", "boolean", [r"'\x00', false", r"'\x00', true"], [r"\\x00|false", r"\\x00|true"]),
    "padded text and a number": ("char(3)", "numeric", ["'k', 1.5", "'k', 2"], ["k  |1.5", "k  |2"]),
    "text of any case, and a number": ("{s}.citext", "int", ["'a', 2", "'B', 1", "'b', 2"], ["a|2", "B|1", "b|2"]),
    "a number, and text of any case": ("int", "{s}.citext", ["1, 'a'", "1, 'B'", "2, 'A'"], ["1|a", "1|B", "2|A"]),
}


@pytest.mark.parametrize("what", PAIRS)
def test_rows_of_two_columns_are_the_same_to_every_look(things: Things, what: str) -> None:
    first, second, values, ids = PAIRS[what]
    things.execute("CREATE TYPE {s}.kind AS ENUM ('z', 'a')")
    if "citext" in first + second:
        make_citext(things)
    rows = ", ".join(f"({pair}, '2024-03-05Z', 'v')" for pair in reversed(values))
    things.make(f"a {first}, b {second}, at timestamptz, v text, PRIMARY KEY (a, b)", f"VALUES {rows}")

    with things.reader(things_mapping(text_field("v"), order=Order("at"), **PAIR)) as reader:
        assert reader.table.id_is_indexed
        assert_all_looks_agree(reader, {MARCH: ids})


# The type of the column, its ids in their order, and texts that no row can have, or that are spelled otherwise.
ONES: dict[str, tuple[list[str], list[str]]] = {
    "uuid": (
        [f"0000000{number:x}-0000-4000-8000-000000000000" for number in (3, 9, 10)],
        ["not-a-uuid", "", "00000000-0000-4000-8000-00000000000", "0000000A-0000-4000-8000-000000000000", "\0"],
    ),
    "bigint": (
        ["-5", "0", "9", "10", "100", "1000", "4611686018427387904"],
        ["abc", "", "1.5", "9" * 30, "+1", "010", " 9", "\0"],
    ),
    "integer": (["90", "100", "101"], [str(2**31)]),
    "numeric(20, 0)": (["-3", "0", "7", "100", "18446744073709551615"], ["007", "7.0", "x"]),
    "text": (sorted(["a", "B", "ä", "Z", "a'b", 'q"uote', "100", "20", " ", "%s", "{}", "\\x"]), ["\0", "b"]),
    "varchar(50)": (["img-000", "img-001", "img-002"], ["img-0"]),
    "char(8)": ([f"k{number:<7}" for number in (1, 10, 11, 2)], ["k1"]),
    "character(30)": ([f"k{number:<29}" for number in (1, 10, 11, 2)], ["k1"]),
    "{s}.kind": (["z", "a"], ["b"]),
    # Where text's comparison stood in for its own, a page would begin behind rows that no page held.
    "{s}.citext": (["a", "B", "c", "D", "e", "F", "g", "H", "Z-1", "z-2"], ["A", "b"]),
}


@pytest.mark.parametrize("column_type", ONES)
def test_rows_of_one_column_are_the_same_to_every_look(things: Things, column_type: str) -> None:
    ids, strangers = ONES[column_type]
    things.execute("CREATE TYPE {s}.kind AS ENUM ('z', 'a')")
    if "citext" in column_type:
        make_citext(things)
    listed = ", ".join("('{}', '2024-03-05Z')".format(row_id.replace("'", "''")) for row_id in reversed(ids))
    things.make(f"id {column_type} PRIMARY KEY, at timestamptz", f"VALUES {listed}")

    with things.reader(things_mapping(order=Order("at"))) as reader:
        assert_all_looks_agree(reader, {MARCH: ids})
        assert list(reader.rows([*strangers, ids[1]])) == [ids[1]]
        assert reader.rows(strangers) == {}


# The ends of a type, and what is no number or no day of a calendar: the column, values in SQL, and the ids.
ENDS: dict[str, tuple[str, list[str]]] = {
    "date": ("date", ["infinity", "-infinity", "5874897-12-31", "12024-02-29", "4714-11-24 BC", "0001-02-29 BC"]),
    "timestamptz": (
        "timestamptz",
        ["infinity", "-infinity", "294276-12-31 23:59:59.999999", "4714-11-24 00:00:00 BC", "0044-03-15 12:00:00.5 BC"],
    ),
    "timestamp": ("timestamp", ["infinity", "-infinity", "12024-02-29 00:00:00", "4714-11-24 00:00:00 BC"]),
    "numeric": ("numeric", ["NaN", "Infinity", "-Infinity", "9" * 50, f"0.{'0' * 200}1", "-0.10"]),
}


@pytest.mark.parametrize("what", ENDS)
def test_a_row_at_the_end_of_its_type_is_found_by_its_id(things: Things, what: str) -> None:
    column_type, ids = ENDS[what]
    listed = ", ".join(f"('{value}')" for value in ids)
    things.make(
        f"a {column_type} PRIMARY KEY, at timestamptz",
        f"SELECT listed.a::{column_type}, '2024-03-01Z' FROM (VALUES {listed}) AS listed(a)",  # noqa: S608
    )
    mapping = things_mapping(order=Order("at"), identity=("a",), key=("A#{a}",))
    with things.reader(mapping) as reader:
        assert sorted(row.id for page in reader.all_rows(10) for row in page) == sorted(ids)
        assert sorted(reader.rows(ids)) == sorted(ids)


@pytest.mark.parametrize(
    "text", ["0000-01-01", "12023-02-29", "4714-11-23 BC", "5874898-01-01", "0002-02-29 BC", "2024-00-01", "now"]
)
def test_what_is_no_day_is_looked_up_without_a_fault(things: Things, text: str) -> None:
    for column_type, id_ in (("date", text), ("timestamptz", text.replace(" BC", "") + " 00:00:00")):
        things.make(f"a {column_type} PRIMARY KEY, at timestamptz", "VALUES ('2024-03-01', '2024-03-01Z')")
        with things.reader(things_mapping(order=Order("at"), identity=("a",), key=("A#{a}",))) as reader:
            assert reader.rows([id_, text]) == {}


def test_an_id_holds_every_column_of_the_key_and_rows_are_found_by_those_of_the_identity(things: Things) -> None:
    things.make(
        "id int PRIMARY KEY, owner text, at timestamptz, made timestamptz",
        "VALUES (1, 'x|y', '2024-03-01Z', '2024-01-02 03:04:05.678901Z'), (2, 'z', '2024-03-02Z', '1999-12-31Z'),"
        " (3, 'z', NULL, '1999-12-31Z')",
    )
    mapping = things_mapping(order=Order("at"), key=("OWNER#{owner}", "{made}#{id}"))
    first, second = r"x\|y|2024-01-02T03:04:05.678Z|1", "z|1999-12-31T00:00:00.000Z|2"

    with things.reader(mapping) as reader:
        assert_all_looks_agree(reader, {MARCH: [first, second]}, ["z|1999-12-31T00:00:00.000Z|3"])
        assert mapping.key(first) == {"PK": {"S": "OWNER#x|y"}, "SK": {"S": "2024-01-02T03:04:05.678Z#1"}}
        things.execute("UPDATE {t} SET owner = 'new' WHERE id = 2")
        assert reader.rows([first, second]).keys() == {first}, "another key is another item's"


def test_a_column_of_the_key_that_is_null_makes_an_id_of_which_no_key_is_made(things: Things) -> None:
    things.make(
        "id int PRIMARY KEY, owner text, at timestamptz",
        r"VALUES (1, NULL, '2024-03-01Z'), (2, NULL, '2024-03-01Z'), (3, '\N', '2024-03-01Z')",
    )
    ids = [r"\N|1", r"\N|2", r"\\N|3"]

    with things.reader(things_mapping(order=Order("at"), key=("OWNER#{owner}", "{id}"))) as reader:
        assert_all_looks_agree(reader, {MARCH: ids})
        rows = [row for page in reader.pages(MARCH, None, 10) for row in page]
        rejected = [transformer(reader.mapping)(row) for row in rows[:2]]
    assert [(each.row_id, each.code) for each in rejected if isinstance(each, Rejection)] == [
        (r"\N|1", "null_in_required_field"),
        (r"\N|2", "null_in_required_field"),
    ]
    assert [taken_apart(row_id, 2) for row_id in ids] == [None, None, [r"\N", "3"]]
    assert [parts(row_id, 2) for row_id in ids] == [[None, "1"], [None, "2"], [r"\N", "3"]]


class TestUniqueness:
    """What keeps rows of one identity apart is an index on its columns, or on some of them."""

    MAPPING = things_mapping(order=Order("at"), **PAIR)

    def is_indexed(self, things: Things, definition: str, index: str = "") -> bool:
        things.make(f"{definition}, at timestamptz")
        if index:
            things.execute(index)
        with things.reader(self.MAPPING) as reader:
            return reader.table.id_is_indexed

    @pytest.mark.parametrize(
        ("definition", "index"),
        [
            ("a int, b int, PRIMARY KEY (b, a)", ""),
            ("a int NOT NULL, b int PRIMARY KEY", ""),
            ("a int NOT NULL, b int NOT NULL", "CREATE UNIQUE INDEX ON {t} (a, b) INCLUDE (at)"),
        ],
    )
    def test_an_index_of_the_columns_or_of_some_of_them_will_do(
        self, things: Things, definition: str, index: str
    ) -> None:
        assert self.is_indexed(things, definition, index)

    @pytest.mark.parametrize("definition", ["a int, b int NOT NULL, UNIQUE (a, b)", "a int UNIQUE, b int"])
    def test_where_a_column_may_be_null_the_rows_are_looked_at(self, things: Things, definition: str) -> None:
        assert not self.is_indexed(things, definition)

    @pytest.mark.parametrize("columns", ["(a, b, at)", "(a, b) WHERE a > 0", "(a, abs(b))", "(at)"])
    def test_another_index_is_none(self, things: Things, columns: str) -> None:
        with pytest.raises(SourceRefused, match="has no unique index on a, b, or on some of them alone"):
            self.is_indexed(things, "a int NOT NULL, b int NOT NULL", f"CREATE UNIQUE INDEX ON {{t}} {columns}")

    def test_rows_whose_identity_is_null_are_named(self, things: Things) -> None:
        things.make(
            "a int, b int, at timestamptz, UNIQUE (a, b)",
            "VALUES (1, NULL, '2024-03-01Z'), (1, NULL, '2024-03-01Z'), (1, 2, '2024-03-01Z')",
        )
        with things.reader(self.MAPPING) as reader:
            found = reader.repeated_ids(MARCH)
            assert found.ids > 0
            assert set(found.sample_ids) == {r"1|\N"}
            with pytest.raises(SourceRefused, match="more than one row with the a, b"), reader.window_ids(MARCH):
                raise AssertionError("not reached")

    @pytest.mark.parametrize("size", [1, 2, 100])
    @pytest.mark.parametrize(
        ("definition", "values", "ids", "without"),
        [
            ("a int UNIQUE, b int", ["(NULL, 1)", "(2, 2)", "(NULL, 3)", "(1, 4)"], ["1", "2"], "None"),
            ("a text UNIQUE, b int", ["(NULL, 1)", "('Z', 2)", "('A', 3)"], ["A", "Z"], "None"),
            ("a int, b text, UNIQUE (a, b)", ["(1, NULL)", "(NULL, 'x')", "(1, 'x')", "(2, 'x')"], ["1|x", "2|x"], ""),
        ],
    )
    def test_rows_without_an_identity_keep_no_other_from_being_counted(
        self, things: Things, size: int, definition: str, values: list[str], ids: list[str], without: str
    ) -> None:
        things.make(f"{definition}, at timestamptz DEFAULT '2024-03-01Z'", f"(a, b) VALUES {', '.join(values)}")
        mapping = things_mapping(order=Order("at"), identity=("a",), key=("A#{a}",)) if without else self.MAPPING

        with things.reader(mapping) as reader:
            assert [row.id for page in reader.all_rows(size) for row in page] == ids
            recounted = list(reader.recount([MARCH], size))
            assert [row_id for _counts, page in recounted for row_id in page] == ids
            assert {counts.everything for counts, _page in recounted} == {len(values)}
            assert reader.repeated_ids().ids == len(values) - len(ids)


@pytest.mark.parametrize(("column_type", "window"), [("timestamptz", MARCH), ("timestamptz", UNDATED_WINDOW)])
def test_an_index_serves_pages_and_looks_for_ids(things: Things, column_type: str, window: Window) -> None:
    things.make(f"a int, b text, at {column_type}, PRIMARY KEY (a, b)")
    things.add(5_000, "n, 'x', CASE WHEN n % 2 = 0 THEN '2024-03-01Z'::timestamptz + n * interval '1 minute' END")
    things.execute("CREATE INDEX ON {t} (at, a, b)")
    things.execute("ANALYZE {t}")
    connections = Recorded(things.url)
    mapping = things_mapping(order=Order("at", has_undated=True), **PAIR)

    with SourceReader(connections, things.schema, "things", mapping) as reader:
        assert reader.table.id_is_indexed
        connections.asked.clear()
        assert len(next(reader.pages(window, (0, "7|x") if window.is_undated else None, 10))) == 10
        assert len(reader.rows([f"{n}|x" for n in range(1, 30)])) == 29

    assert len(connections.asked) == 2
    # As of a table that is too large to be read as a whole.
    things.owner.execute("SET enable_seqscan = off; SET enable_sort = off")
    try:
        for query, parameters in connections.asked:
            plan = str(things.owner.execute(sql.SQL("EXPLAIN ") + query, parameters).fetchall())
            assert "Index Cond" in plan, plan
            assert "Sort" not in plan, plan
    finally:
        things.owner.execute("RESET enable_seqscan; RESET enable_sort")
