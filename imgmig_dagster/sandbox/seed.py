"""What the sandbox's source table holds: its DDL, synthetic rows, and rows from a CSV file."""

import csv
import random
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.files import refusal

SOURCE_TABLE: Final = "images"
SOURCE_DDL: Final = """
CREATE TABLE IF NOT EXISTS images (
    id                uuid PRIMARY KEY,
    user_id           uuid NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    original_filename text NOT NULL,
    s3_key            text NOT NULL,
    s3_bucket         text NOT NULL,
    thumbnail_s3_key  text,
    mime_type         text NOT NULL,
    size_bytes        bigint NOT NULL,
    width             integer,
    height            integer
);
CREATE INDEX IF NOT EXISTS images_created_at_id ON images (created_at, id);
"""

SYNTHETIC_START: Final = date(2023, 1, 1)
SYNTHETIC_END: Final = date(2025, 1, 1)
"""Synthetic rows are created from the start to just before the end, 24 months."""

_NULLABLE: Final = frozenset({"thumbnail_s3_key", "width", "height"})


class SeedError(ImgmigError):
    """Rows that cannot be loaded; the message names line and column where they come from a file."""


class ImageRow(NamedTuple):
    """One row of the source table, in the order of its columns. Sizes are bytes and pixels."""

    id: UUID
    user_id: UUID
    created_at: datetime
    updated_at: datetime
    original_filename: str
    s3_key: str
    s3_bucket: str
    thumbnail_s3_key: str | None
    mime_type: str
    size_bytes: int
    width: int | None
    height: int | None


_TYPES: Final = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/svg+xml": "svg",
    "application/octet-stream": "bin",
}

# Names that a careless copy, comparison or report would change, cut, run or refuse.
_HARD_NAMES: Final = (
    "",
    " leading and trailing spaces .jpg ",
    "caf\u00e9.png",  # NFC
    "cafe\u0301.png",  # NFD: looks the same, and is another string
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family.jpg",  # joined by zero-width joiners
    "invoice\u202egpj.exe",  # right-to-left override
    "<script>alert('name')</script>.svg",
    "=HYPERLINK(\"http://localhost/\",\"name\")",
    "комбайн 収穫 حصاد.webp",
    "tab\tand\nnewline.gif",
    "quote\"comma,semicolon;backslash\\.png",
    "NULL",
    "../../etc/passwd",
    "n" * 255,
    "長い名前" * 300,
)  # fmt: skip

# JavaScript's numbers are exact up to 2^53.
_HARD_SIZES: Final = (0, 1, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1)

_LARGEST_TIE: Final = 1_200


def synthetic_rows(count: int, seed: int = 0) -> Iterator[ImageRow]:
    """`count` rows, the same ones for the same `count` and `seed`.

    They spread over the 24 months to the microsecond, with rows on the first and the last microsecond of a
    month. 8 % of them, at most 1,200, share one instant, so that with 15,000 rows the tie crosses the edge of a
    page of 1,000. The names of every seventh row and the sizes of every fiftieth are hard ones.
    """
    rng = random.Random(seed)  # noqa: S311
    users = [_random_uuid(rng) for _ in range(max(1, count // 20))]
    ties = min(_LARGEST_TIE, count * 8 // 100)
    for index in range(count):
        identifier, user = _random_uuid(rng), rng.choice(users)
        created = _created_at(index, ties, rng)
        edited = timedelta(microseconds=rng.randrange(1, 90 * 86_400 * 10**6)) if rng.random() < 0.4 else timedelta()
        mime_type, suffix = rng.choice(tuple(_TYPES.items()))
        key = f"uploads/{user}/{identifier}"
        measured = rng.random() < 0.85
        yield ImageRow(
            id=identifier,
            user_id=user,
            created_at=created,
            updated_at=created + edited,
            original_filename=(
                _HARD_NAMES[index // 7 % len(_HARD_NAMES)]
                if index % 7 == 0
                else f"IMG_{rng.randrange(10_000):04}.{suffix}"
            ),
            s3_key=f"{key}.{suffix}",
            s3_bucket="images-dev",
            thumbnail_s3_key=f"{key}.thumbnail.webp" if rng.random() < 0.75 else None,
            mime_type=mime_type,
            size_bytes=(
                _HARD_SIZES[index // 50 % len(_HARD_SIZES)] if index % 50 == 0 else int(rng.lognormvariate(12, 1.2))
            ),
            width=rng.randint(1, 8_000) if measured else None,
            height=rng.randint(1, 8_000) if measured and rng.random() < 0.95 else None,
        )


def _random_uuid(rng: random.Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)


def _created_at(index: int, ties: int, rng: random.Random) -> datetime:
    start, end = (
        datetime(day.year, day.month, day.day, tzinfo=timezone.utc) for day in (SYNTHETIC_START, SYNTHETIC_END)
    )
    if index < ties:
        return datetime(2024, 3, 15, 9, 26, 53, 589_793, tzinfo=timezone.utc)
    if index % 100 == 99:
        month = rng.randrange(24)
        first = datetime(2023 + month // 12, month % 12 + 1, 1, tzinfo=timezone.utc)
        return first if rng.random() < 0.5 or first == start else first - timedelta(microseconds=1)
    return start + timedelta(microseconds=rng.randrange((end - start) // timedelta(microseconds=1)))


def csv_rows(path: Path) -> Iterator[ImageRow]:
    """The rows of a CSV file in UTF-8 whose header names the table's columns, in any order.

    An empty field is NULL in a column that may be NULL. Times are ISO 8601 or PostgreSQL's output, and carry a
    UTC offset. Raises `SeedError` with the line (of a field with line breaks: its last) and the column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            try:
                columns = _checked_header(path, next(reader, []))
                for fields in reader:
                    yield _parsed(f"{path}, line {reader.line_num}", columns, fields)
            except csv.Error as error:
                raise SeedError(f"{path}, line {reader.line_num}: {error}") from None
    except UnicodeDecodeError as error:
        raise SeedError(f"{path} is not UTF-8: {error}; convert it first") from None
    except OSError as error:
        raise SeedError(f"{refusal(error, path, reads=True)}, or name another file") from None


def _checked_header(path: Path, header: list[str]) -> list[str]:
    missing = [name for name in ImageRow._fields if name not in header]
    unknown = [name for name in header if name not in ImageRow._fields]
    if missing or unknown or len(header) != len(ImageRow._fields):
        wrong = [f"missing {', '.join(missing)}"] if missing else []
        wrong += [f"unknown {', '.join(map(repr, unknown))}"] if unknown else []
        raise SeedError(
            f"{path}, line 1: the header must name each of these columns once: {', '.join(ImageRow._fields)}"
            f" ({'; '.join(wrong) or 'one is there twice'})"
        )
    return header


def _parsed(where: str, columns: list[str], fields: list[str]) -> ImageRow:
    if len(fields) != len(columns):
        raise SeedError(f"{where}: {len(fields)} fields, but the header has {len(columns)}")
    values = {column: _value(where, column, text) for column, text in zip(columns, fields, strict=True)}
    return ImageRow(**values)


def _value(where: str, column: str, text: str) -> Any:
    if text == "" and column in _NULLABLE:
        return None
    try:
        return _PARSERS[column](text)
    except ValueError as error:
        raise SeedError(f"{where}, column {column}: {error}") from None


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a UUID") from None


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError("PostgreSQL's text cannot hold a NUL character")
    return text


def _integer(bits: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not an integer") from None
        if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
            raise ValueError(f"{number} does not fit into {bits} bits")
        return number

    return parse


_INSTANT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(Z|[+-]\d\d)(?::?(\d\d))?", re.ASCII
)


def _instant(text: str) -> datetime:
    # Python 3.10's fromisoformat knows neither Z nor +00 nor a fraction of other than 3 or 6 digits.
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time with a UTC offset, such as 2024-03-15T09:26:53.589793+00:00")
    day, clock, fraction, hours, minutes = match.groups()
    offset = "+00:00" if hours == "Z" else f"{hours}:{minutes or '00'}"
    return datetime.fromisoformat(f"{day}T{clock}.{(fraction or '').ljust(6, '0')}{offset}")


_PARSERS: Final[dict[str, Callable[[str], object]]] = {
    "id": _uuid,
    "user_id": _uuid,
    "created_at": _instant,
    "updated_at": _instant,
    "original_filename": _text,
    "s3_key": _text,
    "s3_bucket": _text,
    "thumbnail_s3_key": _text,
    "mime_type": _text,
    "size_bytes": _integer(64),
    "width": _integer(32),
    "height": _integer(32),
}


def replace_rows(source_url: str, rows: Iterable[ImageRow]) -> tuple[int, date | None]:
    """Replace the content of the source table in one transaction, by COPY.

    Returns the number of rows and the first day of the earliest row's month in UTC, None without rows. Raises
    `SeedError` if PostgreSQL refuses a row; the old content then stays.
    """
    import psycopg

    try:
        with psycopg.connect(source_url) as connection:
            # A session that somebody left open in psql would block TRUNCATE for ever.
            connection.execute("SET lock_timeout = '10s'")
            connection.execute("TRUNCATE images")
            with connection.cursor() as cursor, cursor.copy("COPY images FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            connection.execute("ANALYZE images")
            found = connection.execute(
                "SELECT count(*), date_trunc('month', min(created_at), 'UTC') FROM images"
            ).fetchone()
    except psycopg.Error as error:
        raise SeedError(f"the rows were not loaded, the old ones stay: {str(error).strip()}") from error
    count, earliest = found or (0, None)
    return count, earliest.astimezone(timezone.utc).date() if earliest else None
