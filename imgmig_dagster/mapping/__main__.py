"""Prints the mapping as Markdown: ``python -m imgmig_dagster.mapping > docs/mapping.md``."""

import sys

from imgmig_dagster.mapping.declaration import PACKAGED, load
from imgmig_dagster.mapping.described import markdown_table
from imgmig_dagster.mapping.types import table_of_types
from imgmig_dagster.mapping.unfit import table_of_codes

PAGE = """# How a row becomes an item

For anyone who asks what happens to a value: each type, what DynamoDB gets, what counts as equal, and what is
rejected. [How to declare a table](declaration.md) says how to choose the types. The first table is the mapping of
`images`.

Generated from `imgmig_dagster/mappings/images.yaml` by `.venv/bin/python -m imgmig_dagster.mapping >
docs/mapping.md`; a test keeps it up to date.

{table}

A column of the source that is in none of these lines turns the verdict to FAIL, unless the declaration ignores it
with a reason.

## Types

{types}

Nothing is rounded, and no part of a value is dropped. If DynamoDB cannot hold a value, its row is rejected, and the
ledger names the row with code and column.

NULL is written, left out, or rejected, as declared. NULL, an attribute of type NULL and an absent attribute are
equal. A map is NULL if all its members are. Inside a document null is a value.

A row is rejected if its key is empty or NULL, is longer than 2,048 bytes (sort key: 1,024), or cannot be split again
because a column contains one of the key's separators (`key_ambiguous`). So two rows never make the same key. A row is
also rejected if its item is larger than 400 KB.

The codes in the ledger, in the dry run and in the comments of a draft:

{codes}

To keep such a row, fix it in the source, or declare the column `as: text`, which accepts PostgreSQL's text of any
value. Or leave the row out with `where`.

For a sensitive column, reports show `***`. They do show that a value is NULL or absent.

## What is read

| column in PostgreSQL | what is read |
|---|---|
| `text`, `varchar`, `name`, `citext` in any schema, every other string type | the exact text |
| `char(n)` | the text with its padding |
| enums, `uuid`, whole numbers declared as text | their text |
| `smallint`, `integer`, `bigint`, `serial` | the number |
| `numeric` | the number; as an integer, if it is whole and has at most 38 digits |
| `real`, `double precision` | the shortest number that reads back as the same value |
| `boolean`, `bytea`, `date` | the value |
| `json`, `jsonb`, arrays | the JSON; for an array the result of `array_to_json()`, without its lower bounds |
| a domain, and a domain over a domain | as its base type |
| `timestamp with time zone` | the instant |
| `timestamp` without a zone | the instant in the setting `time_zone`, by default `UTC` |
| whole numbers and `numeric` with a unit | the instant, counted in seconds, milliseconds or microseconds from 1970 |
| anything else: `time`, `interval`, `inet`, ranges, `xml`, `money`, composite types, ... | PostgreSQL's text of it |

A field without a declared type has the type of its column. `as: text` accepts the text of any type. If a field is
declared with a type that its column does not have, it is refused, with the line to declare. Session settings that
affect a text are always the same: `IntervalStyle` is `postgres`, `bytea_output` `hex`, `lc_monetary` `C`, `TimeZone`
`UTC`, `DateStyle` `ISO`, and numbers have all their digits.

In a key or another text made of columns, a timestamp is written as `toISOString()` writes it. A timestamp of the
identity has all six digits of its microseconds, because rows may differ only there.

Padding is read because the application gets it from PostgreSQL too: the id `k1` of a `char(4)` column makes a key of
`k1` and two spaces. A row is rejected (`not_a_whole_number`) for a `numeric` value with a fraction or more than 38
digits, NaN or infinity in a field that is a whole number.

A local time becomes an instant as with PostgreSQL's `AT TIME ZONE`. A time that the clocks showed twice is the later
one. A time that they skipped uses the offset from before the change.

Text is the same text in every database encoding. In `SQL_ASCII` it is read as UTF-8. Bytes that are not text, or that
cannot be represented in Unicode, cause only their own row to be rejected (`not_utf8`).

## Versions of PostgreSQL

PostgreSQL 12 or later is enough, with three exceptions. If the server is too old for a declaration, it is refused
before anything is read, and the message names the remedy.

| declared | needs | for |
|---|---|---|
| `numeric` as a number, a number set | 13 | `trim_scale()` |
| `real` or `double precision` as a number | 14 | infinite `numeric`: one such row would make a whole page fail |
| partitions by buckets | 14 | `hash_record_extended()` |
"""


def page() -> str:
    """The whole of `docs/mapping.md`."""
    images = load(PACKAGED / "images.yaml").mapping
    return PAGE.format(table=markdown_table(images), types=table_of_types(), codes=table_of_codes())


if __name__ == "__main__":
    sys.stdout.write(page())
