"""A table with a column of every type: what is read of it, and that its digest is that of its item."""

from typing import Any

import pytest

from imgmig_dagster.mapping.digests import item_digester, row_digester
from imgmig_dagster.mapping.fields import Field, FieldType, Null, Unit
from imgmig_dagster.mapping.rows import INFINITY, DigestedRow
from imgmig_dagster.mapping.spec import Order
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster_tests.arrange import MARCH, us
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.unit.source.things import Things, things_mapping

T = FieldType


def of(kind: FieldType, **more: Any) -> Field:
    return Field("value", "value", kind, Null.WRITTEN, **more)


def fill(things: Things, column_type: str, *values: str | None) -> None:
    """A table of an id, a time and one column more, and a row of each value, in SQL, in their order."""
    things.make(f"id int PRIMARY KEY, at timestamptz, value {column_type}")
    for number, value in enumerate(values):
        things.execute(f"INSERT INTO {{t}} SELECT {number}, '2024-03-01Z', {value or 'NULL'}")


def reader_of(things: Things, field: Field) -> SourceReader:
    return things.reader(things_mapping(field, order=Order("at")))


def read(things: Things, field: Field) -> list[Any]:
    """What a row holds of the column, row by row."""
    with reader_of(things, field) as reader:
        rows = [row for page in reader.pages(MARCH, None, 3) for row in page]
        assert reader.inventory(MARCH).rows == len(rows), "no value fails the digest of a page"
        digested = reader.rows([row.id for row in rows])
    mapping = things_mapping(field, order=Order("at"))
    of_row, of_item, transform = row_digester(mapping), item_digester(mapping), transformer(mapping)
    for row in rows:
        item = transform(row)
        assert of_row(row) == digested[row.id].digest, "the same is digested here"
        assert isinstance(item, Rejection) or of_item(item) == digested[row.id].digest, "and of its item"
    return [row[1] for row in rows]


def contents(things: Things, field: Field) -> list[str]:
    """What is hashed of the column, row by row."""
    with reader_of(things, field) as reader, reader.snapshot() as snapshot:
        found = snapshot("SELECT {content} FROM {table} t ORDER BY {id}")
    of_ids = [f"S{len(str(number))}:{number}" for number in range(len(found))]
    return [bytes(content).decode().removeprefix(of_id) for of_id, (content,) in zip(of_ids, found, strict=True)]


# No item can hold their values.
NEVER_WRITTEN = {"an array of json"}
UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
# The type, the field, and of each value in SQL what a row holds and what is hashed of it.
READ: dict[str, tuple[str, Field, dict[str | None, tuple[Any, str]]]] = {
    "boolean": ("boolean", of(T.BOOLEAN), {"true": (True, "Bt;"), "false": (False, "Bf;"), None: (None, "-")}),
    "numeric": (
        "numeric",
        of(T.NUMBER),
        {
            "1.50": ("1.50", "N1.5;"),
            "-0.0": ("0.0", "N0;"),
            "1e20": ("100000000000000000000", "N100000000000000000000;"),
            "1e-10": ("0.0000000001", "N0.0000000001;"),
            "'NaN'": ("NaN", "NNaN;"),
            "'-Infinity'": ("-Infinity", "N-Infinity;"),
            None: (None, "-"),
        },
    ),
    "a numeric as a whole number": (
        "numeric",
        of(T.INTEGER),
        {
            "12.000": (12, "N12;"),
            "1e3": (1000, "N1000;"),
            "9" * 38: (int("9" * 38), f"N{'9' * 38};"),
            "1e37": (10**37, f"N1{'0' * 37};"),
            "9" * 39: ("9" * 39, f"N{'9' * 39};"),
            "0.1": ("0.1", "N0.1;"),
            "'NaN'": ("NaN", "NNaN;"),
            "'-Infinity'": ("-Infinity", "N-Infinity;"),
        },
    ),
    "smallint": ("smallint", of(T.INTEGER), {"-7": (-7, "N-7;")}),
    "a numeric as text": ("numeric", of(T.TEXT, as_text=True), {"1.50": ("1.50", "S4:1.50")}),
    "double precision": (
        "double precision",
        of(T.NUMBER),
        {
            "0.1::float8 + 0.2::float8": ("0.30000000000000004", "N0.30000000000000004;"),
            "1e16": ("1e+16", "N10000000000000000;"),
            "1e-7": ("1e-07", "N0.0000001;"),
            "'-0'": ("-0", "N0;"),
            "'NaN'": ("NaN", "NNaN;"),
            "'Infinity'": ("Infinity", "NInfinity;"),
        },
    ),
    "real": ("real", of(T.NUMBER), {"0.1": ("0.1", "N0.1;"), "16777216": ("1.6777216e+07", "N16777216;")}),
    "whole numbers as numbers": ("int", of(T.NUMBER), {"-7": ("-7", "N-7;"), None: (None, "-")}),
    "date": (
        "date",
        of(T.DATE),
        {
            "'2024-02-29'": ("2024-02-29", "D2024-02-29;"),
            "'0044-03-15 BC'": ("0044-03-15 BC", "D0044-03-15 BC;"),
            "'infinity'": ("infinity", "Dinfinity;"),
            "'5874897-12-31'": ("5874897-12-31", "D5874897-12-31;"),
            None: (None, "-"),
        },
    ),
    "bytea": ("bytea", of(T.BINARY), {r"'\x00ff'": ("00ff", "X00ff;"), "''": ("", "X;"), None: (None, "-")}),
    "seconds": (
        "bigint",
        of(T.TIMESTAMP, column_unit=Unit.SECONDS),
        {
            "1709251200": (us("2024-03-01 00:00:00"), "T1709251200000;"),
            "-1": (-1_000_000, "T-1000;"),
            "9223372036854775807": (9223372036854775807000000, "T9223372036854775807000;"),
            None: (None, "-"),
        },
    ),
    "milliseconds": ("int8", of(T.TIMESTAMP, column_unit=Unit.MILLISECONDS), {"-1": (-1000, "T-1;")}),
    "microseconds": (
        "int8",
        of(T.TIMESTAMP, column_unit=Unit.MICROSECONDS),
        {"-1": (-1, "T-1;"), "1999": (1999, "T1;"), "9223372036854775807": (2**63 - 1, "T9223372036854775;")},
    ),
    "numeric seconds": (
        "numeric",
        of(T.TIMESTAMP, column_unit=Unit.SECONDS),
        {"1.5": (1_500_000, "T1500;"), "'NaN'": ("NaN", "TNaN;"), "-0.0005": (-500, "T-1;")},
    ),
    "a timestamp as epoch seconds": (
        "timestamptz",
        of(T.EPOCH),
        {
            "'2024-03-01 00:00:00.999999Z'": (us("2024-03-01 00:00:00.999999"), "T1709251200;"),
            "'1969-12-31 23:59:59.5Z'": (-500_000, "T-1;"),
            "'infinity'": (INFINITY, "Tinfinity;"),
            None: (None, "-"),
        },
    ),
    "a timestamp as epoch microseconds": (
        "timestamptz",
        of(T.EPOCH, unit=Unit.MICROSECONDS),
        {
            "'2024-03-01 00:00:00.999999Z'": (us("2024-03-01 00:00:00.999999"), "T1709251200999999;"),
            "'294276-12-31 23:59:59Z'": (9224318015999000000, "T9224318015999000000;"),
        },
    ),
    "milliseconds as epoch seconds": (
        "int8",
        of(T.EPOCH, column_unit=Unit.MILLISECONDS),
        {"1999": (1_999_000, "T1;"), "-1": (-1000, "T-1;")},
    ),
    "seconds as epoch microseconds": (
        "int8",
        of(T.EPOCH, column_unit=Unit.SECONDS, unit=Unit.MICROSECONDS),
        {"2": (2_000_000, "T2000000;")},
    ),
    "labels": ("smallint", of(T.LABEL, labels=(("0", "image"),)), {"0": ("0", "S1:0"), "7": ("7", "S1:7")}),
    "jsonb": (
        "jsonb",
        of(T.DOCUMENT),
        {
            '\'{"bb": 1.50, "a": [1e2, -0.0, "1.00", "\\"2.0"]}\'': (
                '{"a": [100, 0.0, "1.00", "\\"2.0"], "bb": 1.50}',
                'J43:{"a": [100, 0, "1.00", "\\"2.0"], "bb": 1.5}',
            ),
            "'null'": ("null", "-"),
            "'\"1.0\"'": ('"1.0"', 'J5:"1.0"'),
            "'10.010'": ("10.010", "J5:10.01"),
            "'{}'": ("{}", "J2:{}"),
            None: (None, "-"),
        },
    ),
    "json": (
        "json",
        of(T.DOCUMENT),
        {
            '\'{"a":1,  "a":2}\'': ('{"a":1,  "a":2}', 'J8:{"a": 2}'),
            r"""'"\u0000"'""": (r'"\u0000"', r'J?8:"\u0000"'),
            r"""'"\ud83d\ude00"'""": (r'"\ud83d\ude00"', 'J6:"😀"'),
            r"""'"\ud83d"'""": (r'"\ud83d"', r'J?8:"\ud83d"'),
            r"""'"\ude00\ud83d"'""": (r'"\ude00\ud83d"', r'J?14:"\ude00\ud83d"'),
            r"""'"\\u0000\\ud83d"'""": (r'"\\u0000\\ud83d"', r'J16:"\\u0000\\ud83d"'),
            r"""'"\ud83d\\\ude00"'""": (r'"\ud83d\\\ude00"', r'J?16:"\ud83d\\\ude00"'),
            r"""'"\u00fc\n"'""": (r'"\u00fc\n"', 'J6:"ü\\n"'),
            "'1e400000'": ("1e400000", "J?8:1e400000"),
            "'[1e-99999]'": ("[1e-99999]", "J?10:[1e-99999]"),
            "'\"1e400000\"'": ('"1e400000"', 'J10:"1e400000"'),
            "' null '": (" null ", "-"),
            "'1E3'": ("1E3", "J4:1000"),
            "'0e9999999'": ("0e9999999", "J?9:0e9999999"),
            "'0e1000'": ("0e1000", "J?6:0e1000"),
            "'0e999'": ("0e999", "J1:0"),
            "'1e00000012'": ("1e00000012", "J13:1" + "0" * 12),
        },
    ),
    "an array": (
        "numeric[]",
        of(T.LIST),
        {
            "'{1.50,NULL,2e3}'": ("[1.50,null,2000]", "J17:[1.5, null, 2000]"),
            "'{}'": ("[]", "J2:[]"),
            None: (None, "-"),
        },
    ),
    "an array of texts": (
        "text[]",
        of(T.LIST),
        {"""ARRAY['a"b', '1.0', NULL]""": ('["a\\"b","1.0",null]', 'J21:["a\\"b", "1.0", null]')},
    ),
    "an array of arrays of doubles": (
        "float8[]",
        of(T.LIST),
        {
            "'{{1,1e300},{0.5,-0}}'": ("[[1,1e+300],[0.5,-0]]", "J318:[[1, 1" + "0" * 300 + "], [0.5, 0]]"),
            "'{{1,1e30},{0.5,-0}}'": ("[[1,1e+30],[0.5,-0]]", "J48:[[1, 1" + "0" * 30 + "], [0.5, 0]]"),
        },
    ),
    "an array of json": (
        "json[]",
        of(T.LIST),
        {r"""ARRAY['"\u0000"'::json]""": (r'["\u0000"]', r'J?10:["\u0000"]')},
    ),
    "a set of texts": (
        "text[]",
        of(T.TEXT_SET),
        {
            "ARRAY['b', 'B', 'ä', 'a', 'b']": ('["b","B","ä","a","b"]', 'J21:["B", "a", "b", "ä"]'),
            "'{}'": ("[]", "-"),
            None: (None, "-"),
        },
    ),
    "a set of numbers": (
        "numeric[]",
        of(T.NUMBER_SET),
        {
            "'{10,9.50,9.5}'": ("[10,9.50,9.5]", 'J13:["10", "9.5"]'),
            "'{-1.50,10,9}'": ("[-1.50,10,9]", 'J19:["-1.5", "10", "9"]'),
        },
    ),
    "uuid": (
        "uuid",
        of(T.TEXT),
        {"'{A0EEBC999C0B4EF8BB6D6BB9BD380A11}'": (UUID, f"S36:{UUID}")},
    ),
    "varchar": ("varchar(9)", of(T.TEXT), {"'7f'": ("7f", "S2:7f")}),
    "padded text": ("char(5)", of(T.TEXT), {"'7f'": ("7f   ", "S5:7f   ")}),
    "name": ("name", of(T.TEXT), {"'7f'": ("7f", "S2:7f")}),
    "a whole number as text": ("bigint", of(T.TEXT, as_text=True), {"7": ("7", "S1:7")}),
    "time": ("time", of(T.TEXT), {"'04:05:06.7'": ("04:05:06.7", "S10:04:05:06.7")}),
    "timetz": ("timetz", of(T.TEXT), {"'04:05:06+02'": ("04:05:06+02", "S11:04:05:06+02")}),
    "interval": (
        "interval",
        of(T.TEXT),
        {"'1 year 2 days 03:04:05.6'": ("1 year 2 days 03:04:05.6", "S24:1 year 2 days 03:04:05.6")},
    ),
    "inet": ("inet", of(T.TEXT), {"'10.0.0.1/24'": ("10.0.0.1/24", "S11:10.0.0.1/24")}),
    "cidr": ("cidr", of(T.TEXT), {"'10/8'": ("10.0.0.0/8", "S10:10.0.0.0/8")}),
    "macaddr": ("macaddr", of(T.TEXT), {"'08-00-2b-01-02-03'": ("08:00:2b:01:02:03", "S17:08:00:2b:01:02:03")}),
    "a range": ("int4range", of(T.TEXT), {"'[1,5]'": ("[1,6)", "S5:[1,6)")}),
    "a range of time": (
        "tstzrange",
        of(T.TEXT),
        {"'[2024-01-01Z,)'": ('["2024-01-01 00:00:00+00",)', 'S27:["2024-01-01 00:00:00+00",)')},
    ),
    "bits": ("bit varying", of(T.TEXT), {"B'101'": ("101", "S3:101")}),
    "a point": ("point", of(T.TEXT), {"'(0.1,2)'": ("(0.1,2)", "S7:(0.1,2)")}),
    "tsvector": ("tsvector", of(T.TEXT), {"'a:1 b'": ("'a':1 'b'", "S9:'a':1 'b'")}),
    "money": ("money", of(T.TEXT), {"12.5": ("$12.50", "S6:$12.50")}),
    "a single byte": ('"char"', of(T.TEXT), {"'x'": ("x", "S1:x")}),
    "a timestamp as text": (
        "timestamptz",
        of(T.TEXT, as_text=True),
        {"'2024-03-01 00:00:00.000001Z'": ("2024-03-01 00:00:00.000001+00", "S29:2024-03-01 00:00:00.000001+00")},
    ),
    "json as text": ("json", of(T.TEXT, as_text=True), {"'{ }'": ("{ }", "S3:{ }")}),
    "an array as text": (
        "bytea[]",
        of(T.TEXT, as_text=True),
        {r"ARRAY['\x01'::bytea]": ('{"\\\\x01"}', 'S9:{"\\\\x01"}')},
    ),
}


@pytest.mark.parametrize("what", READ)
def test_each_type_is_read_and_hashed_as_it_is_defined(things: Things, what: str) -> None:
    column_type, field, values = READ[what]
    fill(things, column_type, *values)

    assert read(things, field) == [value for value, _content in values.values()]
    assert contents(things, field) == [content for _value, content in values.values()]


@pytest.mark.parametrize("what", READ)
def test_the_digest_of_a_row_is_that_of_its_item(things: Things, what: str) -> None:
    column_type, field, values = READ[what]
    fill(things, column_type, *values)
    with reader_of(things, field) as reader:
        rows = [row for page in reader.pages(MARCH, None, 100, digested=True) for row in page]
        transform = transformer(reader.mapping)
    items = [transform(row) for row in rows]

    written = [(row, item) for row, item in zip(rows, items, strict=True) if not isinstance(item, Rejection)]
    assert written or what in NEVER_WRITTEN
    for row, item in written:
        assert isinstance(row, DigestedRow)
        assert row.digest == item_digester(reader.mapping)(item) == row_digester(reader.mapping)(row), (row, item)


def test_what_a_role_sets_for_itself_changes_no_text(services: Services, things: Things) -> None:
    settings = {
        "IntervalStyle": "sql_standard",
        "extra_float_digits": "-15",
        "bytea_output": "escape",
        "DateStyle": "'German'",
        "TimeZone": "'Asia/Tokyo'",
        "standard_conforming_strings": "off" if services.owner.info.server_version < 190000 else "on",
    }
    for name, value in settings.items():
        services.owner.execute(f"ALTER ROLE imgmig_reader SET {name} = {value}")
    try:
        for what in ("interval", "double precision", "an array as text", "a range of time", "json", "date", "jsonb"):
            column_type, field, values = READ[what]
            fill(things, column_type, *values)
            assert read(things, field) == [value for value, _content in values.values()]
            assert contents(things, field) == [content for _value, content in values.values()]
    finally:
        for name in settings:
            services.owner.execute(f"ALTER ROLE imgmig_reader RESET {name}")


@pytest.mark.parametrize("value", ["'{{1,2},{3,4}}'", "'{NaN,Infinity,NULL}'"])
def test_an_array_that_no_set_of_numbers_holds_fails_no_digest_of_its_page(things: Things, value: str) -> None:
    fill(things, "float8[]", "'{1}'", value)

    with reader_of(things, of(T.NUMBER_SET)) as reader:
        assert reader.inventory(MARCH).rows == 2
