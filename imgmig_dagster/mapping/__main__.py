"""Prints the mapping as Markdown: ``python -m imgmig_dagster.mapping > docs/mapping.md``."""

import sys

from imgmig_dagster.mapping.image import IMAGE

PAGE = """# How a row becomes an item

Generated from the declaration in `imgmig_dagster/mapping/image.py` by
`.venv/bin/python -m imgmig_dagster.mapping > docs/mapping.md`; a test holds it fresh.

{table}

Timestamps are written as JavaScript's `toISOString()` writes them: UTC, exactly three decimals, microseconds
cut and not rounded. A `timestamp` column without a zone is read as UTC.
"""


def page() -> str:
    """The whole of `docs/mapping.md`."""
    return PAGE.format(table=IMAGE.markdown_table())


if __name__ == "__main__":
    sys.stdout.write(page())
