"""Text as `str`, for any encoding of the database. Invalid text costs its own row and no neighbour.

The server refuses a whole result for one value that has no form in Unicode. If a database is not in UTF-8, text is
therefore read as the stored bytes, and decoded here. In UTF-8 the server sends text as it is, and `loaders` decodes it.
"""

import ast
from collections.abc import Sequence
from typing import Any, Final

from imgmig_dagster.errors import UnreadableText
from imgmig_dagster.source.connection import Fetch

UTF8: Final = "UTF8"
NO_ENCODING: Final = "SQL_ASCII"
"""The encoding of a database that never checked its bytes. They may be anything; they are read as UTF-8."""

# Encodings that Python's codec and PostgreSQL decode alike, byte by byte. Encodings of several bytes differ (the wave
# dash of EUC_JP becomes another character), so the server decodes those.
_CODECS: Final = {
    NO_ENCODING: "utf-8",
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    **{f"ISO_8859_{part}": f"iso8859-{part}" for part in (5, 6, 7, 8)},
    **{f"LATIN{number}": f"iso8859-{part}" for number, part in enumerate((1, 2, 3, 4, 9, 10, 13, 14, 15, 16), 1)},
    **{f"WIN{page}": f"cp{page}" for page in (866, 874, *range(1250, 1259))},
}
_DECODE: Final = """
SELECT ARRAY(SELECT pg_catalog.convert_from(given, %(encoding)s::name)
             FROM unnest(%(values)s::bytea[]) WITH ORDINALITY AS listed(given, place) ORDER BY place)
"""
_ENCODE: Final = (
    "SELECT count(pg_catalog.convert_from(given, 'UTF8')) FROM unnest(%(values)s::bytea[]) AS listed(given)"
)
_TAKEN_AS_THEY_ARE: Final = (UTF8, NO_ENCODING)


def decoded(encoding: str, rows: list[Any], fetch: Fetch) -> list[Any]:
    """The rows with text for bytes; where the server decodes, by `fetch`. Invalid bytes stay bytes.

    Raises:
        UnreadableText: on a snapshot, which ends with the server's refusal of one value.
    """
    if encoding == UTF8:
        return rows
    stored = {value for row in rows for value in row if isinstance(value, bytes)}
    texts = _texts(encoding, sorted(stored), fetch)
    return [tuple(texts[value] if isinstance(value, bytes) else value for value in row) for row in rows]


def representable(encoding: str, ids: Sequence[str], fetch: Fetch) -> list[str]:
    """The ids that the encoding can express. The server refuses a whole statement for one id that it cannot."""
    if encoding in _TAKEN_AS_THEY_ARE or all(map(str.isascii, ids)):
        return list(ids)
    try:
        fetch(_ENCODE, {"values": [row_id.encode("utf-8", "surrogatepass") for row_id in ids]})
        return list(ids)
    except UnreadableText:
        if len(ids) == 1:
            return []
    middle = len(ids) // 2
    return [row_id for part in (ids[:middle], ids[middle:]) for row_id in representable(encoding, part, fetch)]


def stored_bytes(row_id: str) -> bytes | None:
    """The bytes of an id that is not valid text, from the name that `str` gives them; None for any other id."""
    if not row_id.startswith(("b'", 'b"')):
        return None
    try:
        found = ast.literal_eval(row_id)
    except (SyntaxError, ValueError):
        return None
    return found if isinstance(found, bytes) and not found.isascii() else None


def _texts(encoding: str, stored: Sequence[bytes], fetch: Fetch) -> dict[bytes, str | bytes]:
    codec = _CODECS.get(encoding, "ascii")
    texts = {value: _decoded(value, codec) for value in stored}
    if encoding not in _CODECS:
        texts.update(_from_server(encoding, [value for value in stored if not value.isascii()], fetch))
    return texts


def _from_server(encoding: str, stored: list[bytes], fetch: Fetch) -> dict[bytes, str | bytes]:
    if not stored:
        return {}
    try:
        ((texts,),) = fetch(_DECODE, {"encoding": encoding, "values": stored})
        return dict(zip(stored, texts, strict=True))
    except UnreadableText:
        if len(stored) == 1:
            return {}
    # One value without a form fails them all: halve them until it is alone.
    middle = len(stored) // 2
    return {**_from_server(encoding, stored[:middle], fetch), **_from_server(encoding, stored[middle:], fetch)}


def _decoded(value: bytes, codec: str) -> str | bytes:
    try:
        return value.decode(codec)
    except UnicodeDecodeError:
        return value
