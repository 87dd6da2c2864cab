"""Checks a certificate of imgmig against both databases. It writes nothing, and shares no code with what made it.

docs/recheck.md says what it needs, what it sees and what it does not, and defines the digest.
"""

import argparse
import hashlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any

import boto3
import psycopg
from botocore.exceptions import BotoCoreError, ClientError
from psycopg import sql

EPILOG = """example, with the password in PGPASSWORD or ~/.pgpass:
  python recheck.py certificate.json --source 'postgresql://auditor@db.example.com/app?sslmode=verify-full' --scan
exit code 0: the certificate's figures are today's, and row by row both sides agree
          1: not so; lines that begin with DIFFERS say what
          2: could not look: the certificate, PostgreSQL or DynamoDB cannot be read"""
FORMAT = 2
TOLERANCE = {"exact": 0, "less than 1 second apart": 1_000_000}  # in microseconds
NAMED = 20  # keys that a line names; all are counted
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)
SINCE_1970 = 946_684_800_000_000  # PostgreSQL counts its microseconds from 2000
INFINITE = {2**63 - 1: "infinity", -(2**63): "-infinity"}
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([Ee][+-]?[0-9]{1,4})?")
MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9:]{8})(?:[.,]([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:?[0-9]{2})")
SNAPSHOT = """BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL row_security = off;
SET LOCAL client_encoding = 'UTF8'; SET LOCAL search_path = pg_catalog; SET LOCAL TimeZone = {zone}"""
Values = list[Any]  # of a row or an item: the id, then the mapped columns in the mapping's order
Document = dict[str, Any]


class Unreadable(str):
    """A value that is not of the declared type: it has no digest, and equals nothing."""


def whole(text: str) -> Any:
    """A whole number, however it is spelled."""
    if NUMBER.fullmatch(text) and (number := Decimal(text)).adjusted() < 100 and number == number.to_integral_value():
        return int(number)
    return Unreadable(text)


def of_column(kind: str, stored: Any) -> Any:
    """A column's value: text, a whole number, or microseconds since 1970."""
    if stored is None or kind != "timestamp":
        return whole(stored) if stored and kind == "integer" else stored
    since_2000 = int.from_bytes(stored, "big", signed=True)
    return INFINITE.get(since_2000, since_2000 + SINCE_1970)


def of_attribute(kind: str, attribute: Document | None) -> Any:
    """An attribute's value; an absent one is NULL."""
    if attribute is None or attribute == {"NULL": True}:
        return None
    if kind == "text" and "S" in attribute:
        return attribute["S"]
    if kind == "integer" and "N" in attribute:
        return whole(attribute["N"])
    if kind == "timestamp" and (found := MOMENT.fullmatch(attribute.get("S", ""))):
        day, clock, fraction, zone = found.groups()
        try:
            moment = datetime.strptime(f"{day} {clock} {zone.upper()}", "%Y-%m-%d %H:%M:%S %z")
        except ValueError:  # no such day or time
            return Unreadable(attribute)
        return (moment - EPOCH) // MICROSECOND + int((fraction or "").ljust(6, "0")[:6])
    return Unreadable(attribute)


def content(kind: str, value: Any) -> bytes:
    """A value as it is hashed."""
    if value is None:
        return b"-"
    if kind == "text":
        return b"S%d:%s" % (len(value.encode()), value.encode())
    if kind == "integer":
        return b"N%d;" % value
    return f"T{value if isinstance(value, str) else value // 1_000};".encode()


def digest(kinds: Sequence[str], values: Values) -> int | None:
    """The digest of a row or an item; None where a value is not readable."""
    if any(isinstance(value, Unreadable) for value in values):
        return None
    hashed = hashlib.sha256(b"".join(map(content, kinds, values))).digest()
    return int.from_bytes(hashed[:8], "big", signed=True)


class Sides:
    """Both tables as the certificate names them; nothing here can write."""

    def __init__(self, certificate: Document, url: str) -> None:
        said, arn = certificate["recheck"], certificate["identity"]["target"]
        self.mapping: Document = said["mapping"]
        self.fields: list[Document] = self.mapping["fields"]
        self.columns = [self.mapping["id_column"], *(field["column"] for field in self.fields)]
        self.kinds = ["text", *(field["type"] for field in self.fields)]
        self.begin = sql.SQL(SNAPSHOT).format(zone=said["source"]["time_zone"])
        table = sql.Identifier(*(said["source"][part].replace("%", "%%") for part in ("schema", "table")))
        self.source = sql.SQL("ONLY {}" if said["source"]["only"] else "{}").format(table)
        self.connection = psycopg.connect(url, autocommit=True, prepare_threshold=None, target_session_attrs="primary")
        self.seen = Counter[str]()  # ids of rows
        self.target = arn.rpartition("/")[2]
        self.dynamodb: Any = boto3.client("dynamodb", region_name=arn.split(":")[3])

    def column(self, name: str, kind: str) -> sql.Composable:
        """A column as it is read; of a time without a zone the zone is the transaction's, which `snapshot` sets."""
        if kind == "timestamp":  # in binary: infinity, BC, and every microsecond
            return sql.SQL("timestamptz_send({})").format(self.column(name, "instant"))
        # A cast to text would strip the padding of character(n).
        how = "t.{0}::timestamptz" if kind == "instant" else "CASE WHEN t.{0} IS NOT NULL THEN concat(t.{0}) END"
        return sql.SQL(how).format(sql.Identifier(name.replace("%", "%%")))

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All rows that are read inside are of one moment."""
        self.connection.execute(self.begin)
        yield
        self.connection.execute("ROLLBACK")

    def rows(self, where: str, parameters: Sequence[Any]) -> Iterator[list[Values]]:
        """Rows by the thousand, with ``{id}`` and ``{at}`` (the order column) in the condition."""
        columns = sql.SQL(", ").join(map(self.column, self.columns, self.kinds))
        names = {"id": self.column(self.columns[0], "text"), "at": self.column(self.mapping["order_column"], "instant")}
        query = sql.SQL("SELECT {} FROM {} t WHERE {}").format(columns, self.source, sql.SQL(where).format(**names))
        with self.connection.cursor("recheck") as cursor:
            cursor.execute(query, parameters)
            while stored := cursor.fetchmany(1_000):
                yield [list(map(of_column, self.kinds, row)) for row in stored]

    def key(self, row_id: str) -> Document:
        """The primary key of a row's item."""
        partition, sort = self.mapping["key_prefix"] + row_id, self.mapping["sort_key"]
        return {self.mapping["key_attribute"]: {"S": partition}, self.mapping["sort_key_attribute"]: {"S": sort}}

    def row_id(self, item: Document) -> str | None:
        """The id in an item's key; None where the item is another entity's."""
        row_id = str(item[self.mapping["key_attribute"]].get("S")).removeprefix(self.mapping["key_prefix"])
        return row_id if self.key(row_id).items() <= item.items() else None

    def items(self, ids: Iterable[str]) -> dict[str, Values]:
        """The values of the items of these ids, by id, read strongly consistently."""
        found: dict[str, Values] = {}
        prefix = self.mapping["key_prefix"]
        # For a key that no item can have, or one that stands there twice, DynamoDB would refuse the whole request.
        keys = [self.key(each) for each in dict.fromkeys(ids) if 0 < len((prefix + each).encode()) <= 2_048]
        while keys:
            request = {self.target: {"Keys": keys[:100], "ConsistentRead": True}}
            reply = self.dynamodb.batch_get_item(RequestItems=request)
            for item in reply["Responses"].get(self.target, ()):
                row_id = str(self.row_id(item))
                values = (of_attribute(field["type"], item.get(field["attribute"])) for field in self.fields)
                found[row_id] = [row_id, *values]
            left = reply["UnprocessedKeys"].get(self.target, {}).get("Keys", [])
            keys = keys[100:] + left
            time.sleep(0.1 if left else 0)  # the reply was full, or the table throttles
        return found

    def fault(self, row: Values | None, item: Values | None) -> str:
        """What is wrong with a row and its item; empty where they agree by the declared rules."""
        if row is None or item is None:
            return "" if row is item else "no row" if row is None else "no item"
        return ", ".join(
            field["column"]
            for field, a, b in zip(self.fields, row[1:], item[1:], strict=True)
            if a != b and not (isinstance(a, int) and isinstance(b, int) and abs(a - b) < TOLERANCE[field["rule"]])
        )

    def look_again(self, ids: list[str]) -> dict[str, str]:
        """What is wrong with these ids now."""
        with self.snapshot():
            rows = {row[0]: row for page in self.rows("{id} = ANY(%s)", [ids]) for row in page} if ids else {}
        items = self.items(ids)
        return {row_id: fault for row_id in ids if (fault := self.fault(rows.get(row_id), items.get(row_id)))}


class Look:
    """One look at a partition: count and digest of each side, how many rows are `close` or `newer`, faults by id."""

    def __init__(self, sides: Sides, pages: Iterable[list[Values]], since: int) -> None:
        modified = sides.columns.index(sides.mapping["modified_column"])
        self.rows, self.digest = {"source": 0, "target": 0}, {"source": 0, "target": 0}
        self.close = self.newer = 0
        self.faults: dict[str, str] = {}
        for page in pages:
            sides.seen.update(row[0] for row in page)
            items = sides.items(row[0] for row in page)
            for row in page:
                item = items.get(row[0])
                digests = [digest(sides.kinds, values) for values in (row, item) if values is not None]
                for side, found in zip(self.rows, digests, strict=False):
                    self.rows[side] += 1
                    self.digest[side] += found or 0
                self.newer += isinstance(row[modified], int) and row[modified] > since
                if fault := sides.fault(row, item):
                    self.faults[row[0]] = fault
                self.close += not fault and digests[0] != digests[1]


def findings(certificate: Document, url: str, scan: bool) -> Iterator[tuple[bool, str]]:
    """Each finding: whether it is good, and its sentence."""
    sides, partitions = Sides(certificate, url), certificate["partitions"]
    since = (datetime.fromisoformat(certificate["counted_at"]) - EPOCH) // MICROSECOND
    with sides.snapshot():
        inside, ranges = "{at} >= %s AND {at} < %s", [(each["start"], each["end"]) for each in partitions]
        looks = [Look(sides, sides.rows(inside, each), since) for each in ranges]
        # Where one partition ends and the next begins is no edge of what is certified.
        edges = [moment for moment, times in Counter(chain(*ranges)).items() if times == 1]
        nowhere = " OR ".join(["false", *(f"({inside})" for _ in edges[::2])])
        outside = {row[0]: "" for page in sides.rows(f"({nowhere}) IS NOT TRUE", edges) for row in page}
    sides.seen.update(list(outside))
    if repeated := {row_id: "" for row_id, times in sides.seen.items() if times > 1}:
        yield False, f"{len(repeated):,} ids stand in the source twice: {named(repeated)}"
    # An application may have written between the looks at a row and at its item: a fault is one that shows twice.
    still = sides.look_again([row_id for look in looks for row_id in look.faults])
    for each, look in zip(partitions, looks, strict=True):
        look.faults = {row_id: still[row_id] for row_id in look.faults if row_id in still}
        yield judge(each, look)
    if outside:
        yield False, f"{len(outside):,} rows lie in no certified partition: {named(outside)}"
    if scan:
        pages = sides.dynamodb.get_paginator("scan").paginate(TableName=sides.target, ConsistentRead=True)
        ids = {found for page in pages for item in page["Items"] if (found := sides.row_id(item)) is not None}
        orphans = sides.look_again(sorted(ids - sides.seen.keys()))
        yield not orphans, f"{len(orphans):,} items have no row{': ' if orphans else ''}{named(orphans)}"


def judge(certified: Document, look: Look) -> tuple[bool, str]:
    """Whether a partition is as certified and both sides agree now, and the sentence that says so."""
    said = []
    for side in ("source", "target"):
        then = "none" if certified[side] is None else f"{certified[side]['rows']:,} rows, {certified[side]['digest']}"
        if (now := f"{look.rows[side]:,} rows, {look.digest[side]}") != then:
            said.append(f"the {side}'s count and digest were {then}, and are {now}")
    good = not said and not look.faults
    if said and look.newer:
        said.append(f"{look.newer:,} rows say that they changed since")
    if look.faults:
        said.append(f"{len(look.faults):,} of {look.rows['source']:,} rows do not agree: {named(look.faults)}")
    else:
        said.append(f"{look.rows['source']:,} rows agree with their items{' as certified' if good else ' now'}")
    if look.close:
        said.append(f"{look.close:,} of them agree with a timestamp that is off by less than 1 second")
    return good, f"{certified['partition']}: {'; '.join(said)}"


def named(faults: dict[str, str]) -> str:
    """Keys with what is wrong with them, never a value."""
    shown = ", ".join(f"{row_id} ({what})" if what else row_id for row_id, what in islice(faults.items(), NAMED))
    return shown + (f" and {len(faults) - NAMED:,} more" if len(faults) > NAMED else "")


def read(path: str) -> Document:
    """The certificate in a file. ValueError: it is none, or was altered."""
    document: Document = json.loads(Path(path).read_bytes())
    if document["format"] != FORMAT:
        raise ValueError(f"{path} is of format {document['format']}, and this file reads {FORMAT}")
    covered = {name: value for name, value in document.items() if name not in ("sha256", "signature")}
    canonical = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    if hashlib.sha256(canonical).hexdigest() != document["sha256"]:
        raise ValueError(f"{path} was altered since it was written: its SHA-256 does not fit its content")
    return document


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(epilog=EPILOG, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("certificate", help="the file certificate.json")
    parser.add_argument("--source", default="", metavar="URL", help="of PostgreSQL; without it libpq's PG* variables")
    parser.add_argument("--scan", action="store_true", help="read every item, to find those without a row")
    arguments = parser.parse_args()
    good = []
    try:
        certificate = read(arguments.certificate)
        print(f"Stage {certificate['stage']}, as of {certificate['counted_at']}: verdict {certificate['verdict']}")
        for agrees, sentence in findings(certificate, arguments.source, arguments.scan):
            print(f"{'agrees ' if agrees else 'DIFFERS'} {sentence}")
            good.append(agrees)
    except (OSError, ValueError, KeyError, TypeError, psycopg.Error, BotoCoreError, ClientError) as error:
        print(f"could not look: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}", file=sys.stderr)
        return 2
    print(f"{sum(good):,} of {len(good):,} findings agree")
    return 0 if good and all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
