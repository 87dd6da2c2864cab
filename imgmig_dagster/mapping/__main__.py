"""Prints the mapping as Markdown: ``python -m imgmig_dagster.mapping > docs/mapping.md``."""

import sys

from imgmig_dagster.mapping.declaration import PACKAGED, load
from imgmig_dagster.mapping.described import markdown_table
from imgmig_dagster.mapping.types import table_of_types
from imgmig_dagster.mapping.unfit import table_of_codes

PAGE = """# How a row becomes an item

Generated from the declaration in `imgmig_dagster/mappings/images.yaml` by
`.venv/bin/python -m imgmig_dagster.mapping > docs/mapping.md`; a test holds it fresh.

{table}

A column of the source that is in none of these lines is named with a reason by `IMGMIG_IGNORED_COLUMNS`, or turns the
verdict to FAIL.

## Types

{types}

Nothing is rounded, and no part of a value is dropped: a value that DynamoDB cannot hold costs its row, which the ledger
names with code and column. NULL is written, left out, or costs the row, as declared; NULL, an attribute of type NULL
and an absent one are equal. A map is NULL as a whole where all its members are. Inside of a document null is a value.

A key costs its row where it is empty or NULL, longer than 2,048 bytes (sort key: 1,024), or cannot be taken apart again
because a column holds one of the key's separators (`key_ambiguous`): so no two rows make one key. So does an item above
400 KB.

The codes, as they stand in the ledger, in the dry run and in the comments of a draft:

{codes}

To keep such a row, mend it in the source, or declare the column `as: text`, which takes what PostgreSQL writes. Or
leave it out by `where`.

Of a sensitive column reports show `***`; that a value is NULL or absent they show.

## What is read

| column in PostgreSQL | what is read |
|---|---|
| `text`, `varchar`, `name`, `citext` in any schema, every other string type | the text, letter for letter |
| `char(n)` | the text with its padding |
| enums, `uuid`, whole numbers where text is asked for | their text |
| `smallint`, `integer`, `bigint`, `serial` | the number |
| `numeric` | the number; as an integer, if it is whole and has at most 38 digits |
| `real`, `double precision` | the shortest number that reads as the same one again |
| `boolean`, `bytea`, `date` | the value |
| `json`, `jsonb`, arrays | the JSON; of an array what `array_to_json()` makes of it, without its lower bounds |
| a domain, and a domain over a domain | as the type behind it |
| `timestamp with time zone` | the instant |
| `timestamp` without a zone | the instant by `IMGMIG_SOURCE_TIME_ZONE`, `UTC` unless it is set |
| whole numbers and `numeric` with a unit | the instant so many seconds, milliseconds or microseconds since 1970 |
| anything else: `time`, `interval`, `inet`, ranges, `xml`, `money`, composite types, ... | PostgreSQL's text of it |

A field that says no type has that of its column; `as: text` takes the text of any type. A field that is declared as
another type than its column's is refused with the line to declare. What a text depends on is the same for every
session: `IntervalStyle` is `postgres`, `bytea_output` `hex`, `lc_monetary` `C`, `TimeZone` `UTC`, `DateStyle` `ISO`,
and numbers have all their digits.

In a key or another text of columns a timestamp is written as `toISOString()` writes it. One of the identity has all six
digits of its microseconds, since rows may differ in nothing else.

Padding is read because PostgreSQL hands it to the application too: the id `k1` of a `char(4)` column makes the key of
`k1` and two spaces. A `numeric` value with a fraction or more digits, NaN and infinity cost their row
(`not_a_whole_number`).

A local time becomes an instant as by PostgreSQL's `AT TIME ZONE`: one that was on the clocks twice is the later of
both, and one that was on no clock counts by the offset of before.

Text is the same text whatever encoding the database is in; in `SQL_ASCII` it is read as UTF-8. Bytes that are no text,
or have no form in Unicode, cost their row (`not_utf8`), and no neighbour.

## Versions of PostgreSQL

PostgreSQL 12 or later will do, but for three things. An older server is refused before anything is read, with the
remedy.

| declared | needs | for |
|---|---|---|
| `numeric` as a number, a number set | 13 | `trim_scale()` |
| `real` or `double precision` as a number | 14 | infinite `numeric`: one such row would fail all of a page |
| partitions by buckets | 14 | `hash_record_extended()` |
"""


def page() -> str:
    """The whole of `docs/mapping.md`."""
    images = load(PACKAGED / "images.yaml").mapping
    return PAGE.format(table=markdown_table(images), types=table_of_types(), codes=table_of_codes())


if __name__ == "__main__":
    sys.stdout.write(page())
