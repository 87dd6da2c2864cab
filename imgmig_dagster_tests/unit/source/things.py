"""A source table of any definition, and every way of reading it asked for the same rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from imgmig_dagster.mapping.fields import Field, FieldType, Null
from imgmig_dagster.mapping.rows import Cursor, DigestedRow
from imgmig_dagster.mapping.spec import KeyAttribute, Order, TableMapping
from imgmig_dagster.mapping.template import Template
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.counting import present, repeated_on
from imgmig_dagster.source.ranges import Range, Sum, cut, ends, placed_rows, row_digests, sums
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window


@dataclass(frozen=True)
class Things:
    """The table ``things`` in a schema of the test's own."""

    owner: psycopg.Connection[Any]
    url: str
    schema: str

    def execute(self, statement: str) -> list[Any]:
        """A statement of the owner, with ``{t}`` for the table and ``{s}`` for its schema."""
        named = statement.replace("{t}", f"{self.schema}.things").replace("{s}", self.schema)
        cursor = self.owner.execute(named.encode())
        return cursor.fetchall() if cursor.description else []

    def make(self, definition: str, rows: str = "") -> None:
        """The table created again, with rows as after ``INSERT INTO``."""
        self.execute(f"DROP TABLE IF EXISTS {{t}}; CREATE TABLE {{t}} ({definition})")
        self.execute("GRANT SELECT ON {t} TO imgmig_reader")
        if rows:
            self.execute(f"INSERT INTO {{t}} {rows}")

    def add(self, number: int, values: str) -> None:
        """So many rows, made of the numbers ``n`` from 1."""
        statement = "INSERT INTO {t} SELECT {v} FROM generate_series(1, {n}) AS listed(n)"
        self.execute(statement.replace("{v}", values).replace("{n}", str(number)))

    def reader(self, mapping: TableMapping, zone: str = "UTC") -> SourceReader:
        """A reader that waits for nothing."""
        connections = ReadOnlyConnections(self.url, sleep=lambda _seconds: None)
        return SourceReader(connections, self.schema, "things", mapping, zone)


def make_citext(things: Things) -> None:
    """What the extension citext makes, in a schema that is on no search_path: as text, but for its comparisons."""
    things.execute("CREATE TYPE {s}.citext")
    for name, like in {"citextin(cstring)": "textin", "citextout({s}.citext)": "textout"}.items():
        returned = "{s}.citext" if "in(" in name else "cstring"
        things.execute(
            f"CREATE FUNCTION {{s}}.{name} RETURNS {returned} AS '{like}' LANGUAGE internal IMMUTABLE STRICT",
        )
    things.execute(
        "CREATE TYPE {s}.citext (INPUT = {s}.citextin, OUTPUT = {s}.citextout, LIKE = pg_catalog.text, CATEGORY = 'S')",
    )
    things.execute("CREATE CAST ({s}.citext AS text) WITHOUT FUNCTION AS IMPLICIT")
    things.execute("CREATE CAST (text AS {s}.citext) WITHOUT FUNCTION AS ASSIGNMENT")
    operators = {"lt": "<", "le": "<=", "eq": "=", "ge": ">=", "gt": ">"}
    for name, operator in operators.items():
        things.execute(
            f"CREATE FUNCTION {{s}}.citext_{name}({{s}}.citext, {{s}}.citext) RETURNS bool"
            " LANGUAGE sql IMMUTABLE STRICT AS $$"
            f' SELECT lower($1::text) COLLATE "C" {operator} lower($2::text) COLLATE "C" $$',
        )
        things.execute(
            f"CREATE OPERATOR {{s}}.{operator} (FUNCTION = {{s}}.citext_{name}, LEFTARG = {{s}}.citext,"
            " RIGHTARG = {s}.citext)",
        )
    things.execute(
        "CREATE FUNCTION {s}.citext_cmp({s}.citext, {s}.citext) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS $$"
        ' SELECT bttextcmp(lower($1::text) COLLATE "C", lower($2::text) COLLATE "C") $$',
    )
    listed = ", ".join(f"OPERATOR {n} {{s}}.{sign}" for n, sign in enumerate(operators.values(), start=1))
    things.execute(
        f"CREATE OPERATOR CLASS {{s}}.citext_ops DEFAULT FOR TYPE {{s}}.citext USING btree AS {listed},"
        " FUNCTION 1 {s}.citext_cmp({s}.citext, {s}.citext)",
    )


def things_mapping(
    *fields: Field, order: Order, identity: Sequence[str] = ("id",), key: Sequence[str] = ("THING#{id}",), **more: Any
) -> TableMapping:
    """A mapping of ``things``, whose key is of one or two templates."""
    names = ("PK", "SK")[: len(key)]
    attributes = tuple(KeyAttribute(name, Template(text)) for name, text in zip(names, key, strict=True))
    return TableMapping("things", "thing", "public", "things", tuple(identity), attributes, order, fields, **more)


def text_field(column: str) -> Field:
    """A column as text."""
    return Field(column, column, FieldType.TEXT, Null.WRITTEN)


def assert_all_looks_agree(
    reader: SourceReader, expected: Mapping[Window, Sequence[str]], outside: Sequence[str] = ()
) -> None:
    """Each way of reading sees these ids, window by window, in their order, and these in no window."""
    windows, everything = list(expected), [row_id for ids in expected.values() for row_id in ids] + list(outside)
    for window, ids in expected.items():
        for size in (1, 2, 100):
            assert list(_paged(reader, window, size)) == list(ids), (window.partition, size)
        _assert_one_window(reader, window, ids)
    _assert_ranges(reader, expected)
    found = reader.counts(windows)
    assert found.everything == found.table.rows == len(everything)
    assert found.table.rows_per_window == {window.partition: len(ids) for window, ids in expected.items() if ids}
    assert found.table.outside.rows == len(outside)
    assert sorted(found.table.outside.sample_ids) == sorted(outside)
    assert reader.rows_per_window(windows) == found.table.rows_per_window
    assert reader.digests(windows) == {each.partition: reader.inventory(each).digest for each in windows}
    assert sorted(row.id for page in reader.all_rows(2) for row in page) == sorted(everything)
    assert sorted(row_id for _counts, page in reader.recount(windows, 2) for row_id in page) == sorted(everything)
    assert sorted(reader.rows([*everything, "nobody", "no|body", "no|bo|dy", "-1"])) == sorted(everything)
    assert sorted(each.row.id for each in reader.sample(100, 1, None, windows)) == sorted(everything)
    with reader.snapshot() as snapshot:
        assert present(snapshot, [*everything, "nobody", "no|body"]) == set(everything)
        assert repeated_on(snapshot).ids == 0


def _assert_one_window(reader: SourceReader, window: Window, ids: Sequence[str]) -> None:
    rows = [row for page in reader.pages(window, None, 3, digested=True) for row in page]
    digests = [row.digest for row in rows if isinstance(row, DigestedRow)]
    assert reader.count(window) == reader.inventory(window).rows == reader.extent(window)[0] == len(ids)
    assert reader.inventory(window).digest == str(sum(digests))
    places = [page.until for page in reader.pages(window, None, 1)]
    with reader.window_ids(window) as ids_between:
        assert sorted(ids_between(None, None)) == sorted(ids)
        for place, row_id in zip(places, ids, strict=True):
            assert row_id in ids_between(None, place)
            assert row_id not in ids_between(place, None)
    with reader.snapshot() as snapshot:
        placed = [each for page in placed_rows(snapshot, window, None, 2) for each in page]
        assert [(each.place, each.digest) for each in placed] == list(zip(places, digests, strict=True))


def _assert_ranges(reader: SourceReader, expected: Mapping[Window, Sequence[str]]) -> None:
    """Statements about ranges of many windows see each row in its own range."""
    rows, places = dict[str, list[tuple[str, int]]](), dict[Window, list[Cursor]]()
    for window in expected:
        pages = list(reader.pages(window, None, 1, digested=True))
        rows[window.partition] = [(row.id, row.digest) for (row,) in pages if isinstance(row, DigestedRow)]
        places[window] = [page.until for page in pages]
    with reader.snapshot() as snapshot:
        assert ends(snapshot, list(expected)) == {each: (at[0], at[-1]) for each, at in places.items() if at}
        ranges = [each for window, at in places.items() for each in cut(window, at)]
        of_each = [found for window in places for found in [*([row] for row in rows[window.partition]), []]]
        assert row_digests(snapshot, ranges) == of_each
        assert sums(snapshot, ranges) == [Sum(len(found), sum(digest for _id, digest in found)) for found in of_each]
        assert [each.rows for each in sums(snapshot, [Range(window) for window in expected])] == [
            len(ids) for ids in expected.values()
        ]


def _paged(reader: SourceReader, window: Window, size: int) -> Iterator[str]:
    for page in reader.pages(window, None, size):
        assert 0 < len(page) <= size
        yield from (row.id for row in page)
