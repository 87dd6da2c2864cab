"""Loaders for values of PostgreSQL's binary format that psycopg's own loaders refuse or change."""

import struct
from typing import Any, Final

import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format
from psycopg.types.numeric import NumericBinaryLoader
from psycopg.types.string import TextBinaryLoader

from imgmig_dagster.mapping.rows import INFINITY, MINUS_INFINITY
from imgmig_dagster.source.columns import MAX_DIGITS

# Microseconds from 1970-01-01, where a `Value` starts, to 2000-01-01, where PostgreSQL's binary format starts.
_POSTGRES_EPOCH_US: Final = 946_684_800_000_000
_unpack: Final = struct.Struct(">q").unpack


class _MicrosecondsLoader(Loader):
    """Timestamps as microseconds since 1970. psycopg's own loader fails on ±infinity, BC and year 12026.

    One such value would fail the whole page.
    """

    format = Format.BINARY

    def load(self, data: Buffer) -> int:
        since_2000: int = _unpack(data)[0]
        return since_2000 + _POSTGRES_EPOCH_US if MINUS_INFINITY < since_2000 < INFINITY else since_2000


class _WholeNumberLoader(NumericBinaryLoader):
    """`numeric` as a whole number. A fraction, too many digits, NaN, infinity become text, which equals no number."""

    def load(self, data: Buffer) -> int | str:  # type: ignore[override]  # of another type, on purpose
        number = super().load(data)
        # adjusted() first: the exponent says how much memory the whole number takes.
        if number.is_finite() and number.adjusted() < MAX_DIGITS and number == number.to_integral_value():
            return int(number)
        return str(number)


class _TextLoader(TextBinaryLoader):
    """Text, or bytes where they are not valid text.

    A database in UTF-8 may hold unchecked bytes, from before it had that encoding or from a damaged page.
    """

    def load(self, data: Buffer) -> str | bytes:
        try:
            return super().load(data)
        except UnicodeDecodeError:
            return bytes(data)


def register_loaders(connection: psycopg.Connection[Any]) -> None:
    """Make the connection return timestamps and numbers as a `Value` has them."""
    for type_name in ("timestamptz", "timestamp"):
        connection.adapters.register_loader(type_name, _MicrosecondsLoader)
    connection.adapters.register_loader("numeric", _WholeNumberLoader)


def take_any_bytes(cursor: psycopg.Cursor[Any]) -> None:
    """Make the cursor return bytes for invalid text. psycopg's own loader is quicker, and fails on it."""
    for type_name in ("text", "varchar", "bpchar"):
        cursor.adapters.register_loader(type_name, _TextLoader)
