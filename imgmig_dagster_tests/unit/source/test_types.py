"""Columns of every type that keeps what the mapping asks for: each value as the application reads it, each row once."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster_tests.arrange import COLUMNS, MARCH, Source, image, row_id
from imgmig_dagster_tests.conftest import NewSource
from imgmig_dagster_tests.images import IMAGE, PICTURE


def values(reader: SourceReader, column: str) -> list[object]:
    return [row[COLUMNS.index(column)] for page in reader.pages(MARCH, None, 3) for row in page]


def in_schema(source: Source, statement: str) -> None:
    """With ``{s}`` for the schema of the test."""
    source.execute(statement.replace("{s}", f'"{source.schema}"'))


def make_citext(source: Source) -> None:
    """The type in the schema of the test."""
    make_citext_in(lambda statement: in_schema(source, statement))


def make_citext_in(execute: Callable[[str], object]) -> None:
    """What the extension citext makes, in a schema that is on no search_path: as text, but for its comparisons."""
    execute("CREATE TYPE {s}.citext")
    for name, like in {"citextin(cstring)": "textin", "citextout({s}.citext)": "textout"}.items():
        returned = "{s}.citext" if "in(" in name else "cstring"
        execute(
            f"CREATE FUNCTION {{s}}.{name} RETURNS {returned} AS '{like}' LANGUAGE internal IMMUTABLE STRICT",
        )
    execute(
        "CREATE TYPE {s}.citext (INPUT = {s}.citextin, OUTPUT = {s}.citextout, LIKE = pg_catalog.text, CATEGORY = 'S')",
    )
    execute("CREATE CAST ({s}.citext AS text) WITHOUT FUNCTION AS IMPLICIT")
    execute("CREATE CAST (text AS {s}.citext) WITHOUT FUNCTION AS ASSIGNMENT")
    operators = {"lt": "<", "le": "<=", "eq": "=", "ge": ">=", "gt": ">"}
    for name, operator in operators.items():
        execute(
            f"CREATE FUNCTION {{s}}.citext_{name}({{s}}.citext, {{s}}.citext) RETURNS bool"
            " LANGUAGE sql IMMUTABLE STRICT AS $$"
            f' SELECT lower($1::text) COLLATE "C" {operator} lower($2::text) COLLATE "C" $$',
        )
        execute(
            f"CREATE OPERATOR {{s}}.{operator} (FUNCTION = {{s}}.citext_{name}, LEFTARG = {{s}}.citext,"
            " RIGHTARG = {s}.citext)",
        )
    execute(
        "CREATE FUNCTION {s}.citext_cmp({s}.citext, {s}.citext) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS $$"
        ' SELECT bttextcmp(lower($1::text) COLLATE "C", lower($2::text) COLLATE "C") $$',
    )
    listed = ", ".join(f"OPERATOR {n} {{s}}.{sign}" for n, sign in enumerate(operators.values(), start=1))
    execute(
        f"CREATE OPERATOR CLASS {{s}}.citext_ops DEFAULT FOR TYPE {{s}}.citext USING btree AS {listed},"
        " FUNCTION 1 {s}.citext_cmp({s}.citext, {s}.citext)",
    )


TEXTS = {
    "enum": ("CREATE TYPE {s}.mime AS ENUM ('image/png', 'image/jpeg')", "{s}.mime"),
    "domain": ("CREATE DOMAIN {s}.mime AS text CHECK (value LIKE 'image/%%')", "{s}.mime"),
    "nested domain": ("CREATE DOMAIN {s}.url AS varchar(30); CREATE DOMAIN {s}.mime AS {s}.url NOT NULL", "{s}.mime"),
    "domain over an enum": (
        "CREATE TYPE {s}.kind AS ENUM ('image/png', 'image/jpeg'); CREATE DOMAIN {s}.mime AS {s}.kind",
        "{s}.mime",
    ),
    "name": ("SELECT 1", "name"),
    "varchar": ("SELECT 1", "varchar(12)"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_text_comes_from_every_type_that_holds_text(source: Source, kind: str) -> None:
    prepare, column_type = TEXTS[kind]
    in_schema(source, prepare.replace("%%", "%"))
    in_schema(source, f"ALTER TABLE {{t}} DROP COLUMN mime_type, ADD COLUMN mime_type {column_type}")
    source.insert([image(1), image(2, mime_type="image/png")])

    with source.reader() as reader:
        assert values(reader, "mime_type") == ["image/jpeg", "image/png"]
        before = reader.inventory(MARCH).digest
        source.execute("UPDATE {t} SET mime_type = 'image/jpeg'")
        assert reader.inventory(MARCH).digest != before
        assert len(reader.sample(5, 1, PICTURE, [MARCH])) == 2


def test_a_domain_over_a_timestamp_and_one_over_an_integer_are_read_as_those(source: Source) -> None:
    in_schema(source, "CREATE DOMAIN {s}.moment AS timestamptz; CREATE DOMAIN {s}.size AS bigint CHECK (value >= 0)")
    in_schema(source, "ALTER TABLE {t} ALTER created_at TYPE {s}.moment, ALTER size_bytes TYPE {s}.size")
    source.insert(image(number) for number in range(7))

    with source.reader() as reader:
        assert values(reader, "size_bytes") == [1000 + number for number in range(7)]
        assert reader.rows_per_window([MARCH]) == {MARCH.partition: 7}


CITEXT_IDS = ["a", "B", "c", "D", "e", "F", "g", "H", "Z-1", "z-2"]


def test_a_type_whose_comparisons_are_on_no_search_path_is_paged_by_them_all_the_same(new_source: NewSource) -> None:
    """Where text's comparison stood in for it, a page would begin behind rows that no page held."""
    source = new_source()
    make_citext(source)
    in_schema(source, "ALTER TABLE {t} DROP COLUMN id, ADD COLUMN id {s}.citext PRIMARY KEY")
    in_schema(source, "ALTER TABLE {t} DROP COLUMN mime_type, ADD COLUMN mime_type {s}.citext")
    source.insert(image(0, id=name, created_at="2024-03-01T00:00:00Z") for name in CITEXT_IDS)

    with source.reader() as reader:
        assert [row[0] for page in reader.pages(MARCH, None, 3) for row in page] == CITEXT_IDS
        assert [row[0] for page in reader.all_rows(3) for row in page] == CITEXT_IDS
        assert list(reader.rows(["B", "b", "nobody"])) == ["B"], "an id is what its item's key says, letter by letter"
        assert values(reader, "mime_type") == ["image/jpeg"] * len(CITEXT_IDS)
        first = next(reader.pages(MARCH, None, 4))
        with reader.window_ids(MARCH) as ids_between:
            assert sorted(ids_between(None, first.until)) == sorted(CITEXT_IDS[:4])
            assert sorted(ids_between(first.until, None)) == sorted(CITEXT_IDS[4:])


SHORT_IDS = {"char(8)": "k{:<7}", "character(30)": "k{:<29}"}


@pytest.mark.parametrize("id_type", SHORT_IDS)
def test_a_padded_id_is_the_same_to_every_statement(new_source: NewSource, id_type: str) -> None:
    """With its padding: that is what PostgreSQL hands to the application, and what its items' keys are made of."""
    source = new_source(id_type=id_type)
    expected = sorted(SHORT_IDS[id_type].format(number) for number in range(12))
    source.insert(
        image(number, id=f"k{number}", created_at=None if number == 11 else "2024-03-01Z") for number in range(12)
    )

    with source.reader() as reader:
        inside = [name for name in expected if name.strip() != "k11"]
        assert [row[0] for page in reader.pages(MARCH, None, 5) for row in page] == inside
        with reader.window_ids(MARCH) as ids_between:
            assert sorted(ids_between(None, None)) == inside
        assert [row[0] for page in reader.all_rows(5) for row in page] == expected
        assert [row_id for _counts, page in reader.recount([MARCH], 5) for row_id in page] == expected
        assert sorted(reader.rows([expected[0], "k1"])) == [expected[0]], "k1 without its padding is no row's id"
        assert reader.rows_outside(MARCH.start, MARCH.end).sample_ids == (SHORT_IDS[id_type].format(11),)
        assert {each.row[0] for each in reader.sample(50, 1, PICTURE, [MARCH])} == set(expected)
        assert reader.repeated_ids(MARCH).ids == 0


def test_a_numeric_column_gives_whole_numbers_and_what_is_none_costs_its_row(source: Source) -> None:
    source.execute("ALTER TABLE {t} ALTER size_bytes TYPE numeric, ALTER width TYPE numeric(20, 0)")
    digits = "9" * 38
    fitting = {"0": 0, "-7": -7, "12.000": 12, "1e3": 1000, digits: int(digits), "1e37": 10**37}
    unfit = ["1.5", "1e38", digits + "0", "NaN", "Infinity", "-Infinity", "0.1"]
    source.insert(image(number, size_bytes=value) for number, value in enumerate([*fitting, *unfit]))

    transform = transformer(IMAGE)
    with source.reader() as reader:
        rows = [row for page in reader.pages(MARCH, None, 4) for row in page]

    assert [row[9] for row in rows[: len(fitting)]] == list(fitting.values())
    assert all(type(row[9]) is int for row in rows[: len(fitting)])
    rejected = [transform(row) for row in rows[len(fitting) :]]
    assert [(each.row_id, each.field, each.code) for each in rejected if isinstance(each, Rejection)] == [
        (row_id(len(fitting) + number), "size_bytes", "not_a_whole_number") for number in range(len(unfit))
    ]
    assert all("38 digits" in each.reason and str(Decimal("1.5")) not in each.reason for each in rejected)  # type: ignore[union-attr]


def test_ids_of_a_numeric_column_without_a_fraction_are_their_digits(new_source: NewSource) -> None:
    source = new_source(id_type="numeric(20, 0)")
    expected = ["-3", "0", "7", "100", "18446744073709551615"]
    source.insert(image(0, id=number) for number in expected)

    with source.reader() as reader:
        assert [row[0] for page in reader.pages(MARCH, None, 2) for row in page] == expected
        assert list(reader.rows(["7", "007", "7.0", "x"])) == ["7"]


def test_an_enum_as_an_id_is_paged_in_its_own_order(new_source: NewSource) -> None:
    source = new_source()
    in_schema(source, "CREATE TYPE {s}.name AS ENUM ('z', 'a', 'm')")
    in_schema(source, "ALTER TABLE {t} DROP COLUMN id, ADD COLUMN id {s}.name PRIMARY KEY")
    source.insert(image(0, id=name, created_at="2024-03-01Z") for name in "zam")

    with source.reader() as reader:
        assert [row[0] for page in reader.pages(MARCH, None, 1) for row in page] == ["z", "a", "m"]
        assert list(reader.rows(["a", "nobody"])) == ["a"]


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("created_at", "date"),
        ("updated_at", "time"),
        ("size_bytes", "real"),
    ],
)
def test_what_would_need_a_cast_is_refused_with_what_to_do(source: Source, column: str, wrong: str) -> None:
    source.execute(f"ALTER TABLE {{t}} DROP COLUMN {column} CASCADE, ADD COLUMN {column} {wrong}")

    with source.reader() as reader, pytest.raises(SourceRefused) as caught:
        reader.count(MARCH)

    assert f"column {column} is {wrong}" in str(caught.value).replace(" without time zone", "")
    assert "make a view that casts it, and name that by `table` in the declaration" in str(caught.value)
