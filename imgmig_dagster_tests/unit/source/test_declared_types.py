"""Types that an application makes, types that a declaration leaves open, and those that do not fit it."""

from dataclasses import replace

import pytest

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.mapping.fields import Field, FieldType, Unit
from imgmig_dagster_tests.arrange import MARCH
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.unit.source.test_every_type import T, fill, of, read, reader_of
from imgmig_dagster_tests.unit.source.things import Things


def test_a_type_of_the_application_has_a_text(services: Services, things: Things) -> None:
    services.owner.execute(f"CREATE TYPE {things.schema}.size AS (width int, height int)")
    services.owner.execute(f"CREATE DOMAIN {things.schema}.tags AS text[]")
    services.owner.execute(f"CREATE TYPE {things.schema}.mood AS ENUM ('sad', 'glad')")

    fill(things, "{s}.size", "ROW(1, 2)::{s}.size")
    assert read(things, of(T.TEXT)) == ["(1,2)"]
    fill(things, "{s}.tags", "'{a,b}'")
    assert read(things, of(T.TEXT_SET)) == ['["a","b"]']
    fill(things, "{s}.mood[]", "'{glad}'")
    assert read(things, of(T.TEXT_SET)) == ['["glad"]']
    fill(things, "{s}.mood", "'glad'")
    assert read(things, of(T.TEXT)) == ["glad"]


@pytest.mark.parametrize(
    ("base", "field", "value", "expected"),
    [
        ("text", of(T.TEXT), "'x'", "x"),
        ("varchar(30)", of(T.TEXT), "'x'", "x"),
        ("{s}.mood", of(T.TEXT), "'glad'", "glad"),
        ("timestamptz", of(T.TIMESTAMP), "'1970-01-01 00:00:01Z'", 1_000_000),
        ("bigint", of(T.INTEGER), "7", 7),
    ],
)
def test_a_domain_is_read_as_what_it_is_over(
    things: Things, base: str, field: Field, value: str, expected: object
) -> None:
    things.execute("CREATE TYPE {s}.mood AS ENUM ('sad', 'glad')")
    things.execute(f"CREATE DOMAIN {{s}}.inner AS {base}; CREATE DOMAIN {{s}}.outer AS {{s}}.inner NOT NULL")

    fill(things, "{s}.outer", value)
    assert read(things, field) == [expected]


@pytest.mark.parametrize(
    ("column_type", "natural"),
    [
        ("varchar(20)", T.TEXT),
        ("uuid", T.TEXT),
        ("inet", T.TEXT),
        ("integer", T.INTEGER),
        ("numeric(10, 2)", T.NUMBER),
        ("double precision", T.NUMBER),
        ("boolean", T.BOOLEAN),
        ("timestamp(3)", T.TIMESTAMP),
        ("date", T.DATE),
        ("jsonb", T.DOCUMENT),
        ("text[]", T.LIST),
        ("bytea", T.BINARY),
    ],
)
def test_a_field_that_leaves_its_type_open_has_that_of_its_column(
    things: Things, column_type: str, natural: FieldType
) -> None:
    fill(things, column_type)

    with reader_of(things, of(T.TEXT)) as reader:
        assert reader.mapping.fields[-1].type is natural
    with reader_of(things, replace(of(T.TEXT), as_text=True)) as reader:
        assert reader.mapping.fields[-1].type is T.TEXT


@pytest.mark.parametrize(
    ("column_type", "field", "remedy"),
    [
        ("integer", of(T.BOOLEAN), "write value: {column: value, as: integer}"),
        ("date", of(T.TIMESTAMP), "write value: {column: value, as: date}"),
        ("bigint", of(T.TIMESTAMP), "{column: value, unit: s}"),
        ("real", of(T.TIMESTAMP, column_unit=Unit.SECONDS), "write value: {column: value, as: number}"),
        ("integer[]", of(T.TEXT_SET), "write value: {column: value, as: list}"),
        ("json[]", of(T.TEXT_SET), "write value: {column: value, as: list}"),
        ("text[]", of(T.NUMBER_SET), "write value: {column: value, as: list}"),
        ("text", of(T.DOCUMENT), "write value: {column: value, as: text}"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_declare(
    things: Things, column_type: str, field: Field, remedy: str
) -> None:
    fill(things, column_type)

    with reader_of(things, field) as reader, pytest.raises(SourceRefused) as caught:
        reader.count(MARCH)

    assert f"column value is {column_type}, and the mapping takes " in str(caught.value)
    assert remedy in str(caught.value)
