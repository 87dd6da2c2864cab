r"""The part of JSON in a row's digest, in SQL. It is canonical, and one bad row cannot fail a page by a cast.

Canonical means PostgreSQL's own text of jsonb, with every number in plain decimals without trailing zeros. What jsonb
cannot hold (``\u0000``, lone surrogates, numbers that numeric refuses) counts by its text: no item can hold it either.
"""

from typing import Final

# Strings are kept as they are. A number loses the zeros at the end of its fraction.
_NUMBERS: Final = r"""E'("(?:[^"\\\\]|\\\\.)*")|(-?[0-9]+)(?:([.][0-9]*[1-9])0*|[.]0+)?'"""
CANONICAL: Final = (
    f"CASE WHEN said ~ '[.][0-9]*0' THEN pg_catalog.regexp_replace(said, {_NUMBERS}, E'\\\\1\\\\2\\\\3', 'g')"
    " ELSE said END"
)
"""The canonical form of jsonb's text ``said``."""
# Escaped backslashes are taken out first, since they escape nothing; then each pair of surrogates.
_ESCAPES: Final = (
    r"pg_catalog.regexp_replace(pg_catalog.replace(raw, E'\\\\', ' '),"
    r" E'\\\\u[dD][89abAB][0-9a-fA-F]{{2}}\\\\u[dD][c-fC-F][0-9a-fA-F]{{2}}', '', 'g')"
)
_NO_NUMBER: Final = "'[0-9]{{255}}|[0-9][eE][+-]?0*[1-9][0-9]{{3}}'"
_WITHOUT_STRINGS: Final = r"""pg_catalog.regexp_replace(raw, E'"(?:[^"\\\\]|\\\\.)*"', '""', 'g')"""
UNFIT: Final = (
    rf"(raw ~ E'\\\\u' AND ({_ESCAPES} ~ E'\\\\u(?:0000|[dD][89a-fA-F])'{{or_escapes}}))"
    f" OR (raw ~ {_NO_NUMBER} AND {_WITHOUT_STRINGS} ~ {_NO_NUMBER})"
)
"""Whether jsonb may refuse the JSON ``raw``."""
ONLY_ASCII_ESCAPES: Final = r"pg_catalog.replace(raw, E'\\\\', ' ') ~ E'\\\\u(?:00[89a-fA-F]|0[1-9a-fA-F]|[1-9a-fA-F])'"
"""The same for a database that is not in UTF-8, which may have no form of another character."""

JSON_CONTENT: Final = (
    "(SELECT CASE WHEN raw IS NULL THEN '-' WHEN {unfit} THEN 'J?' || octet_length(raw) || ':' || raw ELSE ("
    "SELECT CASE WHEN plain = 'null' THEN '-' ELSE 'J' || octet_length(plain) || ':' || plain END"
    " FROM (SELECT {canonical} AS plain FROM (SELECT raw::jsonb::text AS said OFFSET 0) AS stored OFFSET 0) AS found"
    ") END FROM (SELECT {value} AS raw OFFSET 0) AS given)"
)
"""The content of the JSON ``value``, by the two pieces above; a JSON null counts as NULL."""

SET_CONTENT: Final = (
    "(SELECT coalesce('J' || octet_length(said) || ':' || said, '-') FROM (SELECT ("
    'SELECT pg_catalog.jsonb_agg(each ORDER BY each COLLATE "C")::text FROM ('
    "SELECT DISTINCT {element} AS each FROM pg_catalog.json_array_elements_text(pg_catalog.array_to_json({array}))"
    " AS listed(element)) AS once) AS said OFFSET 0) AS found)"
)
"""The content of an array as a set; an empty one counts as NULL."""
