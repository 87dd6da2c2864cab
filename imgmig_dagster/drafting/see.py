"""Reads both sides for a draft: the source's catalog, a few of its values, and what DynamoDB says of the target."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from botocore.exceptions import ClientError
from psycopg import sql

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.doctor.diagnosis import ask_aws
from imgmig_dagster.drafting.choices import OrderChoice
from imgmig_dagster.drafting.drafted_names import says_time
from imgmig_dagster.drafting.seen import KeyPart, SeenColumn, SeenTable, SeenTarget
from imgmig_dagster.mapping.fields import FieldType, Unit
from imgmig_dagster.source.catalog import columns_of
from imgmig_dagster.source.columns import natural
from imgmig_dagster.source.connection import Fetch
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reflection import reflect
from imgmig_dagster.source.relations import find_relation

# 1990 and 2100, in seconds: of these years no number of seconds is one of milliseconds.
_FIRST_SECOND: Final = 631_152_000
_LAST_SECOND: Final = 4_102_444_800


def see_table(connections: ReadOnlyConnections, schema: str, name: str) -> SeenTable:
    """The source table.

    Raises:
        SourceError: there is none, or it cannot be read.
    """
    relation = find_relation(connections.fetch, schema, name)
    reflected = reflect(connections, schema, name)
    columns = tuple(
        SeenColumn(column.name, column.shown, natural(column), column.required, reflected.comments.get(column.name, ""))
        for column in columns_of(connections.fetch, relation).values()
    )
    return SeenTable(
        schema,
        name,
        columns,
        reflected.primary_key,
        reflected.unique,
        reflected.leading,
        dict(_units(connections.fetch, sql.Identifier(schema, name), columns)),
        relation.is_view,
    )


def see_target(access: AwsAccess, name: str) -> SeenTarget | None:
    """The target table; None if it does not exist yet.

    Raises:
        TargetError: it cannot be asked.
    """
    client = access.client("dynamodb")

    def describe() -> Any:
        try:
            return client.describe_table(TableName=name)["Table"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise

    found = ask_aws("DescribeTable", describe)
    if found is None:
        return None
    types = {each["AttributeName"]: each["AttributeType"] for each in found["AttributeDefinitions"]}

    def parts(schema: list[dict[str, str]]) -> tuple[KeyPart, ...]:
        names = [each["AttributeName"] for kind in ("HASH", "RANGE") for each in schema if each["KeyType"] == kind]
        return tuple(KeyPart(attribute, types[attribute]) for attribute in names)

    indexes = [*found.get("GlobalSecondaryIndexes", []), *found.get("LocalSecondaryIndexes", [])]
    return SeenTarget(
        name, parts(found["KeySchema"]), {index["IndexName"]: parts(index["KeySchema"]) for index in indexes}
    )


def first_day(fetch: Fetch, table: SeenTable, order: OrderChoice) -> str | None:
    """The first day of the month of the earliest row; None if no row has a time from year 1 on."""
    if order.column is None:
        return None
    column, unit = sql.Identifier(order.column), order.unit
    time = sql.SQL("CASE WHEN isfinite({0}) THEN {0} END").format(column)
    if unit is not None:
        # What is no time by any sense would fail the statement.
        seconds = sql.SQL("{}::numeric / {}").format(column, sql.Literal(1_000_000 // unit.microseconds))
        time = sql.SQL("CASE WHEN {0} BETWEEN -60000000000 AND 250000000000 THEN to_timestamp({0}::float8) END").format(
            seconds
        )
    query = sql.SQL("SELECT min({})::text FROM {} t").format(time, sql.Identifier(table.schema, table.name))
    ((found,),) = fetch(query, None)
    return None if found is None or "BC" in found or found[4:5] != "-" else f"{found[:7]}-01"


def _units(fetch: Fetch, table: sql.Composable, columns: tuple[SeenColumn, ...]) -> Iterator[tuple[str, Unit]]:
    for column in columns:
        if column.type in (FieldType.INTEGER, FieldType.NUMBER) and says_time(column.name):
            # Without the tenth at either end: a few rows may hold any number.
            query = sql.SQL(
                "SELECT percentile_disc(0.1) WITHIN GROUP (ORDER BY value)::text,"
                " percentile_disc(0.9) WITHIN GROUP (ORDER BY value)::text"
                " FROM (SELECT t.{0} AS value FROM {1} t WHERE t.{0} > 0 LIMIT 1000) AS sampled"
            ).format(sql.Identifier(column.name), table)
            ((least, most),) = fetch(query, None)
            if unit := unit_of(least, most):
                yield column.name, unit


def unit_of(least: str | None, most: str | None) -> Unit | None:
    """The unit in which both numbers are times of the years 1990 to 2100; None if there is none."""
    numbers = [Decimal(each) for each in (least, most) if each is not None]
    if not numbers or not all(each.is_finite() for each in numbers):
        return None
    for unit in Unit:
        scale = 1_000_000 // unit.microseconds
        if all(_FIRST_SECOND * scale <= each < _LAST_SECOND * scale for each in numbers):
            return unit
    return None
