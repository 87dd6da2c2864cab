"""Values of PostgreSQL's binary format that psycopg's own loaders make too much or too little of."""

import struct
from typing import Any, Final

import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format
from psycopg.types.numeric import NumericBinaryLoader
from psycopg.types.string import TextBinaryLoader

from imgmig_dagster.mapping.rows import INFINITY, MINUS_INFINITY
from imgmig_dagster.source.columns import MAX_DIGITS

# Microseconds from 1970-01-01, where a `Value` starts, to 2000-01-01, where PostgreSQL's binary format does.
_POSTGRES_EPOCH_US: Final = 946_684_800_000_000


class _MicrosecondsLoader(Loader):
    """Timestamps as microseconds since 1970: psycopg's own loader fails on ±infinity, BC and year 12026, and takes
    the whole page down with it."""

    format = Format.BINARY

    def load(self, data: Buffer) -> int:
        since_2000: int = struct.unpack(">q", data)[0]
        if since_2000 in (INFINITY, MINUS_INFINITY):
            return since_2000
        return since_2000 + _POSTGRES_EPOCH_US


class _WholeNumberLoader(NumericBinaryLoader):
    """`numeric` as the whole number that it is; one with a fraction or too many digits, NaN and infinity as text, which
    no number of an item equals."""

    def load(self, data: Buffer) -> int | str:  # type: ignore[override]  # of another type, on purpose
        number = super().load(data)
        # adjusted() first: the exponent says how much memory the whole number takes.
        if number.is_finite() and number.adjusted() < MAX_DIGITS and number == number.to_integral_value():
            return int(number)
        return str(number)


class _TextLoader(TextBinaryLoader):
    """Text, and bytes where it is none: a database in UTF-8 may hold bytes that were never looked at, from before it
    was in that encoding, or from a damaged page."""

    def load(self, data: Buffer) -> str | bytes:
        try:
            return super().load(data)
        except UnicodeDecodeError:
            return bytes(data)


def register_loaders(connection: psycopg.Connection[Any]) -> None:
    """Have the connection give timestamps and numbers as a `Value` has them."""
    for type_name in ("timestamptz", "timestamp"):
        connection.adapters.register_loader(type_name, _MicrosecondsLoader)
    connection.adapters.register_loader("numeric", _WholeNumberLoader)


def take_any_bytes(cursor: psycopg.Cursor[Any]) -> None:
    """Have the cursor give bytes for text that is none: psycopg's own loader is quicker, and fails on it."""
    for type_name in ("text", "varchar", "bpchar"):
        cursor.adapters.register_loader(type_name, _TextLoader)
