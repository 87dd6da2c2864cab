"""The name of a table as a person types it: as PostgreSQL reads it, but letter case counts without quotes too."""

import re
from typing import Final

from imgmig_dagster.errors import SettingsError

_PART: Final = r'(?:"((?:[^"]|"")+)"|([^".]+))'
_NAME: Final = re.compile(rf"(?:{_PART}\.)?{_PART}")


def schema_and_table(text: str) -> tuple[str, str]:
    """Both names; the schema is ``public`` if none is given. Put a name with a point or a quote in double quotes.

    Raises:
        SettingsError: it is not such a name.
    """
    match = _NAME.fullmatch(text.strip())
    if match is None:
        raise SettingsError(
            f"{text} names no table: write SCHEMA.TABLE, and put a name with a point in it in double quotes, such as "
            """'public."my.table"'"""
        )
    schema, table = (
        quoted.replace('""', '"') if quoted else bare for quoted, bare in (match.group(1, 2), match.group(3, 4))
    )
    return schema or "public", table
