"""Reads the rows and items of the table in a certificate, by the mapping in the certificate. Nothing here can write.

`contents.py` reads their values.
"""

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import boto3
import psycopg
from psycopg import sql

from contents import EPOCH, MICROSECOND, MICROSECONDS, Document, Unreadable, content, of_column, of_item, same

TOLERANCE = {"exact": 0, "less than 1 second apart": 1_000_000}  # in microseconds
KEY_BYTES = 2_048, 1_024  # of a partition key, and of a sort key
DATE, LOCAL, INSTANT = 1082, 1114, 1184  # PostgreSQL's numbers of its types
PADDED, JSON = 1042, (114, 3802)
TIMES = {
    INSTANT: "{column}",
    LOCAL: "({column} AT TIME ZONE {zone})",
    # A date can be later than the last timestamp.
    DATE: """(CASE WHEN {column} < date '294277-01-01' THEN {column}::timestamp WHEN {column} IS NOT NULL
    THEN 'infinity' END AT TIME ZONE 'UTC')""",
}
SPELLED = """CASE WHEN {0} >= '0001-01-01' AND {0} < '10000-01-01' THEN to_char({0}, {1}) ELSE {0}::text END"""
# The bucket of a row is made of its identity, and bucket k is second k since 1970.
BUCKET = "to_timestamp((hash_record_extended(ROW({}), 0) & 9223372036854775807) %% {})"
SNAPSHOT = """BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL row_security = off;
SET LOCAL client_encoding = 'UTF8'; SET LOCAL search_path = pg_catalog; SET LOCAL TimeZone = 'UTC';
SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL extra_float_digits = 1;
SET LOCAL bytea_output = 'hex'; SET LOCAL lc_monetary = 'C'"""
PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
Id = tuple[str | None, ...]  # the texts of the columns that make up the id of a row


class Values(list[Any]):
    """Of a row or an item: one value per field; its id, and what else is asked of one side alone.

    `modified` is when a row was modified, in microseconds since 1970. `wrong` names an item's faults that no row tells.
    """

    def __init__(self, row_id: Id, values: Iterable[Any], modified: Any = None, wrong: Iterable[str] = ()) -> None:
        super().__init__(values)
        self.id = row_id
        self.modified = modified
        self.wrong = wrong


class Key:
    """An attribute of the primary key, made of a template."""

    def __init__(self, said: Document) -> None:
        self.attribute, self.type = said["attribute"], said["type"]
        pieces = PLACEHOLDER.split(said["template"])
        self.literals, self.columns = pieces[::2], pieces[1::2]
        # Lazily up to each separator; the last column takes the rest.
        self.pattern = re.compile("(.*?)".join(map(re.escape, self.literals)), re.DOTALL)

    def rendered(self, texts: Mapping[str, str]) -> Document:
        """The attribute, of the columns' texts."""
        parts = [literal + texts[name] for literal, name in zip(self.literals, self.columns, strict=False)]
        return {self.attribute: {self.type: "".join(parts) + self.literals[-1]}}

    def parsed(self, item: Document) -> dict[str, str]:
        """The columns' texts in an item."""
        found = self.pattern.fullmatch(item[self.attribute].get(self.type, ""))
        return dict(zip(self.columns, found.groups(), strict=True)) if found else {}


class Sides:
    """Both tables as the certificate names them."""

    def __init__(self, certificate: Document, url: str) -> None:
        said, arn = certificate["recheck"], certificate["identity"]["target"]
        self.mapping: Document = said["mapping"]
        self.fields: list[Document] = self.mapping["fields"]
        self.keys = [Key(each) for each in self.mapping["key"]]
        self.zone = said["source"]["time_zone"]
        name = sql.Identifier(*(said["source"][part].replace("%", "%%") for part in ("schema", "table")))
        only = sql.SQL("ONLY {}" if said["source"]["only"] else "{}").format(name)
        where = sql.SQL((self.mapping["where"] or "true").replace("%", "%%"))
        self.source = sql.SQL("(SELECT * FROM {} WHERE (\n{}\n)) t").format(only, where)  # it may end with a comment
        self.connection = psycopg.connect(url, autocommit=True, prepare_threshold=None, target_session_attrs="primary")
        self.types: Mapping[str, int] = {}
        self.seen = Counter[Id]()  # ids of rows
        self.target = arn.rpartition("/")[2]
        self.dynamodb: Any = boto3.client("dynamodb", region_name=arn.split(":")[3])

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read all rows inside this context on one snapshot."""
        self.connection.execute(SNAPSHOT)
        columns = sql.SQL("SELECT * FROM {} LIMIT 0").format(self.source)
        # In binary, PostgreSQL accepts only one statement: the condition comes from the certificate.
        found = self.connection.execute(columns, (), binary=True).description
        self.types = {each.name: each.type_code for each in found or ()}
        yield
        self.connection.execute("ROLLBACK")

    def rows(self, where: sql.Composable, parameters: Sequence[Any]) -> Iterator[list[Values]]:
        """Yield rows in pages of a thousand."""
        ids, modified = self.mapping["id"], self.mapping["modified"]
        columns = [*map(self.key_text, ids), *map(self.field, self.fields)]
        columns.append(sql.SQL("timestamptz_send({})").format(self.instant(modified)) if modified else sql.SQL("NULL"))
        query = sql.SQL("SELECT {} FROM {} WHERE {}").format(sql.SQL(", ").join(columns), self.source, where)
        time_of = {"type": "timestamp", "column_unit": None}
        with self.connection.cursor("recheck") as cursor:
            cursor.execute(query, parameters)
            while stored := cursor.fetchmany(1_000):
                yield [
                    Values(
                        tuple(row[: len(ids)]),
                        map(of_column, self.fields, row[len(ids) : -1]),
                        of_column(time_of, row[-1]),
                    )
                    for row in stored
                ]

    def field(self, field: Document) -> sql.Composable:
        """A field as `of_column` takes it."""
        if field["template"] is not None:
            return self.rendered(field["template"])
        name, kind = field["column"], field["type"]
        if kind in ("timestamp", "epoch") and not field["column_unit"]:
            return sql.SQL("timestamptz_send({})").format(self.instant(name))  # infinity, BC, and every microsecond
        if kind in ("list", "text set", "number set") and self.types[name] not in JSON:
            return sql.SQL("array_to_json({})::text").format(column(name))
        return sql.SQL("encode({}, 'hex')").format(column(name)) if kind == "binary" else self.text(name)

    def text(self, name: str) -> sql.Composable:
        """A column's text; a cast would strip the padding of character(n)."""
        is_padded = self.types[name] == PADDED
        how = "CASE WHEN {0} IS NOT NULL THEN concat({0}) END" if is_padded else "{0}::text"
        return sql.SQL(how).format(column(name))

    def instant(self, name: str) -> sql.Composable:
        """A column of a time as a point in time."""
        return sql.SQL(TIMES[self.types[name]]).format(column=column(name), zone=sql.Literal(self.zone))

    def key_text(self, name: str) -> sql.Composable:
        """A column's text in an id, a key and a template: of times in UTC, of the identity to the microsecond.

        A local time of the identity keeps its own clock, on which each time is another.
        """
        if self.types[name] not in (LOCAL, INSTANT):
            return self.text(name)
        is_identity = name in self.mapping["identity"]
        is_own = self.types[name] == LOCAL and (is_identity or self.zone == "UTC")
        clock = column(name) if is_own else sql.SQL("({} AT TIME ZONE 'UTC')").format(self.instant(name))
        form = f'YYYY-MM-DD"T"HH24:MI:SS.{"US" if is_identity else "MS"}'
        return sql.SQL(SPELLED).format(clock, form + ("" if is_own and self.zone != "UTC" else '"Z"'))

    def rendered(self, template: str) -> sql.Composable:
        """The text of a template; NULL where a column of it is."""
        pieces = PLACEHOLDER.split(template)
        parts = [
            sql.Literal(piece.replace("%", "%%")) if number % 2 == 0 else self.key_text(piece)
            for number, piece in enumerate(pieces)
        ]
        return sql.SQL("({})").format(sql.SQL(" || ").join(parts))

    def within(self, partitions: Iterable[Document]) -> tuple[sql.Composable, list[Any]]:
        """The condition of rows in any of these partitions, and its parameters."""
        place, conditions, parameters = self.place, [sql.SQL("false").format()], list[Any]()
        for each in partitions:
            if is_undated(each):
                conditions.append(sql.SQL("{} IS NULL").format(place))
            else:
                conditions.append(sql.SQL("{0} >= %s AND {0} < %s").format(place))
                parameters += [self.bound(each["start"]), self.bound(each["end"])]
        return sql.SQL(" OR ").join(conditions), parameters

    @property
    def place(self) -> sql.Composable:
        """What is compared with where partitions start and end: a point in time, or microseconds since 1970."""
        order = self.mapping["order"]
        if order["buckets"] is not None:
            identity = sql.SQL(", ").join(map(column, self.mapping["identity"]))
            return sql.SQL(BUCKET).format(identity, sql.Literal(order["buckets"]))
        if order["unit"] is None:
            return self.instant(order["column"])
        return sql.SQL("({}::numeric * {})").format(column(order["column"]), sql.Literal(MICROSECONDS[order["unit"]]))

    def bound(self, moment: str) -> Any:
        """Where a partition starts or ends, as `place` is compared with it."""
        if self.mapping["order"]["unit"] is None:
            return moment
        return (datetime.fromisoformat(moment) - EPOCH) // MICROSECOND

    def among(self, ids: Sequence[Id]) -> tuple[sql.Composable, list[Any]]:
        """The condition of rows of these ids, and its parameters."""
        columns = sql.SQL(", ").join(map(self.key_text, self.mapping["id"]))
        given = sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(self.mapping["id"]))
        condition = sql.SQL("({}) IN (SELECT * FROM unnest({}))").format(columns, given)
        return condition, [list(texts) for texts in zip(*ids, strict=True)]

    def key(self, row_id: Id) -> Document:
        """The primary key of a row's item."""
        texts = dict(zip(self.mapping["id"], row_id, strict=True))
        return {name: value for key in self.keys for name, value in key.rendered(texts).items()}

    def row_id(self, item: Document) -> Id | None:
        """The id in an item's key; None where the item is another entity's."""
        texts = {name: text for key in self.keys for name, text in key.parsed(item).items()}
        row_id = tuple(texts.get(name, "") for name in self.mapping["id"])
        return row_id if self.key(row_id).items() <= item.items() else None

    def items(self, ids: Iterable[Id]) -> dict[Id, Values]:
        """Return the values of these ids' items, by id, read strongly consistently."""
        found: dict[Id, Values] = {}
        rendered = {str(key): key for key in (self.key(each) for each in ids if None not in each)}
        # DynamoDB refuses the whole request for a key that no item can have, or that occurs twice.
        keys = [key for key in rendered.values() if is_possible(key)]
        while keys:
            request = {self.target: {"Keys": keys[:100], "ConsistentRead": True}}
            reply = self.dynamodb.batch_get_item(RequestItems=request)
            for item in reply["Responses"].get(self.target, ()):
                if (row_id := self.row_id(item)) is not None:
                    values = (of_item(field, item) for field in self.fields)
                    found[row_id] = Values(row_id, values, wrong=list(self.wrong_constants(item)))
            left = reply["UnprocessedKeys"].get(self.target, {}).get("Keys", [])
            keys = keys[100:] + left
            time.sleep(0.1 if left else 0)  # the reply was full, or the table throttles
        return found

    def wrong_constants(self, item: Document) -> Iterator[str]:
        """The attributes that are the same in every item, and not in this one."""
        for name, value in self.mapping["constants"].items():
            if not same(item.get(name), value):
                yield name

    def fault(self, row: Values | None, item: Values | None) -> str:
        """Say what is wrong with a row and its item; empty if they agree by the declared rules."""
        if row is None or item is None:
            return "" if row is item else "no row" if row is None else "no item"
        wrong = [
            field["column"] or field["attribute"]
            for field, a, b in zip(self.fields, row, item, strict=True)
            if not agree(field, a, b)
        ]
        return ", ".join([*wrong, *item.wrong])

    def look_again(self, ids: Sequence[Id]) -> dict[Id, str]:
        """Say what is wrong with these ids now."""
        whole = [row_id for row_id in ids if None not in row_id]
        with self.snapshot():
            rows = {row.id: row for page in self.rows(*self.among(whole)) for row in page} if whole else {}
        items = self.items(whole)
        found = {row_id: self.fault(rows.get(row_id), items.get(row_id)) for row_id in whole}
        nowhere = {row_id: "no item" for row_id in ids if None in row_id}  # NULL is in no key
        return {row_id: fault for row_id, fault in (found | nowhere).items() if fault}


def is_undated(partition: Document) -> bool:
    """Whether a partition is that of the rows without a time: it ends where it starts."""
    return bool(partition["start"] == partition["end"])


def joined(row_id: Id) -> str:
    """The id as one text."""
    if len(row_id) == 1:
        return str(row_id[0])
    return "|".join("\\N" if text is None else text.replace("\\", "\\\\").replace("|", "\\|") for text in row_id)


def column(name: str) -> sql.Composable:
    """A column in a statement with parameters."""
    return sql.SQL("t.{}").format(sql.Identifier(name.replace("%", "%%")))


def is_possible(key: Document) -> bool:
    """Whether an item can have this key."""
    texts = [next(iter(attribute.values())) for attribute in key.values()]
    return all(0 < len(text.encode()) <= limit for text, limit in zip(texts, KEY_BYTES, strict=False))


def agree(field: Document, row: Any, item: Any) -> bool:
    """Whether the values of a row and its item agree by the field's rule."""
    if isinstance(item, Unreadable):
        return False
    is_near = isinstance(row, int) and isinstance(item, int) and abs(row - item) < TOLERANCE[field["rule"]]
    return is_near or content(field, row) == content(field, item)
