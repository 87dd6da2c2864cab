"""Checks a certificate of imgmig against both databases. It writes nothing and shares no code with imgmig.

docs/recheck.md says what it needs, what it sees and what it does not, and defines the digest.
"""

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, islice
from pathlib import Path

import psycopg
from botocore.exceptions import BotoCoreError, ClientError
from psycopg import sql

from contents import EPOCH, MICROSECOND, Document, digest
from sides import Id, Sides, Values, is_undated, joined

EPILOG = """example, with the password in PGPASSWORD or ~/.pgpass:
  python recheck.py certificate.json --source 'postgresql://auditor@db.example.com/app?sslmode=verify-full' --scan
exit code 0: the certificate's figures still hold, and both sides agree row by row
          1: something differs; the lines that begin with DIFFERS say what
          2: could not check: the certificate, PostgreSQL or DynamoDB cannot be read"""
FORMATS = (3, 4)
NAMED = 20  # ids that a line names; all are counted


class Look:
    """What one reading of a partition found: each side's count and digest, rows `close` or `newer`, faults by id."""

    def __init__(self, sides: Sides, pages: Iterable[list[Values]], since: int) -> None:
        self.rows, self.digest = {"source": 0, "target": 0}, {"source": 0, "target": 0}
        self.close = self.newer = 0
        self.faults: dict[Id, str] = {}
        for page in pages:
            sides.seen.update(row.id for row in page)
            items = sides.items(row.id for row in page)
            for row in page:
                item = items.get(row.id)
                digests = [
                    digest(sides.fields, joined(values.id), values) for values in (row, item) if values is not None
                ]
                for side, found in zip(self.rows, digests, strict=False):
                    self.rows[side] += 1
                    self.digest[side] += found or 0
                self.newer += isinstance(row.modified, int) and row.modified > since
                if fault := sides.fault(row, item):
                    self.faults[row.id] = fault
                self.close += not fault and digests[0] != digests[1]


def findings(certificate: Document, url: str, scan: bool) -> Iterator[tuple[bool, str]]:
    """Yield each finding: whether it is good, and its sentence."""
    sides, partitions = Sides(certificate, url), certificate["partitions"]
    since = (datetime.fromisoformat(certificate["counted_at"]) - EPOCH) // MICROSECOND
    with sides.snapshot():
        looks = [Look(sides, sides.rows(*sides.within([each])), since) for each in partitions]
        # Adjoining partitions: the end of one and the start of the next is no edge of the certified range.
        undated = [each for each in partitions if is_undated(each)]
        times = Counter(chain.from_iterable((each["start"], each["end"]) for each in partitions if each not in undated))
        edges = [moment for moment, number in times.items() if number == 1]
        runs = [{"start": start, "end": end} for start, end in zip(edges[::2], edges[1::2], strict=True)]
        certified, parameters = sides.within([*runs, *undated])
        nowhere = sql.SQL("({}) IS NOT TRUE").format(certified)
        outside = {row.id: "" for page in sides.rows(nowhere, parameters) for row in page}
    sides.seen.update(list(outside))
    if repeated := {row_id: "" for row_id, number in sides.seen.items() if number > 1}:
        yield False, f"{len(repeated):,} ids occur twice in the source: {named(repeated)}"
    # An application may have written between reading a row and reading its item: only what differs twice is a fault.
    still = sides.look_again([row_id for look in looks for row_id in look.faults])
    for each, look in zip(partitions, looks, strict=True):
        look.faults = {row_id: still[row_id] for row_id in look.faults if row_id in still}
        yield judge(each, look)
    if outside:
        yield False, f"{len(outside):,} rows are in no certified partition: {named(outside)}"
    if scan:
        pages = sides.dynamodb.get_paginator("scan").paginate(TableName=sides.target, ConsistentRead=True)
        ids = {found for page in pages for item in page["Items"] if (found := sides.row_id(item)) is not None}
        orphans = sides.look_again(sorted(ids - sides.seen.keys()))
        yield not orphans, f"{len(orphans):,} items have no row{': ' if orphans else ''}{named(orphans)}"


def judge(certified: Document, look: Look) -> tuple[bool, str]:
    """Return whether a partition is as certified and both sides agree now, and the sentence that says so."""
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


def named(faults: dict[Id, str]) -> str:
    """List ids with what is wrong with them, never a value."""
    shown = (f"{joined(row_id)} ({what})" if what else joined(row_id) for row_id, what in faults.items())
    return ", ".join(islice(shown, NAMED)) + (f" and {len(faults) - NAMED:,} more" if len(faults) > NAMED else "")


def read(path: str) -> Document:
    """Read a certificate from a file. ValueError: the file is no certificate, or was altered."""
    document: Document = json.loads(Path(path).read_bytes())
    if document["format"] not in FORMATS:
        said = f"{path} is of format {document['format']}, and this recheck.py reads {FORMATS[0]} and {FORMATS[1]}"
        raise ValueError(
            f"{said}: use the recheck.py of the version that made it, or make a new one with imgmig report"
        )
    covered = {name: value for name, value in document.items() if name not in ("sha256", "signature")}
    canonical = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    if hashlib.sha256(canonical).hexdigest() != document["sha256"]:
        raise ValueError(f"{path} was altered since it was written: its SHA-256 does not fit its content")
    return document


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(epilog=EPILOG, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("certificate", help="the file certificate.json")
    parser.add_argument("--source", default="", metavar="URL", help="of PostgreSQL; without it libpq's PG* variables")
    parser.add_argument("--scan", action="store_true", help="read every item, to find those without a row")
    arguments = parser.parse_args()
    good = []
    try:
        certificate = read(arguments.certificate)
        mapping = certificate["recheck"]["mapping"]
        stage = f"Stage {certificate['stage']}, table {mapping['name']}, as of {certificate['counted_at']}"
        print(f"{stage}: verdict {certificate['verdict']}")
        if mapping["where"]:
            print(f"Only rows count where {mapping['where']}")
        for agrees, sentence in findings(certificate, arguments.source, arguments.scan):
            print(f"{'agrees ' if agrees else 'DIFFERS'} {sentence}")
            good.append(agrees)
    except (OSError, ValueError, KeyError, TypeError, psycopg.Error, BotoCoreError, ClientError) as error:
        print(f"could not check: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}", file=sys.stderr)
        return 2
    print(f"{sum(good):,} of {len(good):,} findings agree")
    return 0 if good and all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
