"""Drafts a declaration from both sides. `written` makes the text."""

from collections.abc import Iterator

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.drafting.choices import choose_order
from imgmig_dagster.drafting.sampled import SAMPLE, sample
from imgmig_dagster.drafting.see import first_day, see_table, see_target
from imgmig_dagster.drafting.seen import PK_SK
from imgmig_dagster.drafting.written import Draft, written
from imgmig_dagster.errors import SettingsError, SourceRefused
from imgmig_dagster.mapping.declaration.loading import parse
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.indexes import missing_page_index
from imgmig_dagster.source.reader import SourceReader


def draft(
    connections: ReadOnlyConnections, access: AwsAccess, schema: str, table: str, target: str, time_zone: str
) -> Draft:
    """Read both sides and write the declaration, with what a sample of rows shows.

    Raises:
        SourceError: there is no such table, or it cannot be read.
        TargetError: DynamoDB cannot be asked. A target table that does not exist yet is assumed to have the key PK and
            SK.
    """
    seen, found = see_table(connections, schema, table), see_target(access, target)
    start = first_day(connections.fetch, seen, choose_order(seen))
    first = written(seen, found or PK_SK, start)
    found_in_rows = list(_tried(connections, first, time_zone))
    return written(seen, found or PK_SK, start, found_in_rows)


def _tried(connections: ReadOnlyConnections, made: Draft, time_zone: str) -> Iterator[str]:
    """What a migration by this draft would find, as far as a sample shows."""
    try:
        mapping = parse(made.text, "the draft").mapping
    except SettingsError as error:
        yield from (f"DECIDE: as it is this declares nothing: {line}" for line in str(error).splitlines())
        return
    reader = SourceReader(connections, mapping.schema, mapping.table, mapping, time_zone)
    try:
        found = sample(reader, SAMPLE)
    except SourceRefused as error:
        yield f"DECIDE: a migration is refused: {error}"
        return
    if found.rejected:
        yield f"DECIDE: rows that were looked at: {found.rows:,}, and {found.rejected_rows:,} would be rejected:"
        # Without ids: a declaration is kept with the code.
        yield from (f"  {rows:,}: {why}" for why, rows in found.rejected.items())
        yield f"  To have them migrated: {found.remedy}."
    else:
        yield f"Rows that were looked at: {found.rows:,}. DynamoDB can hold all of them."
    if not reader.table.relation.is_view and (statements := missing_page_index(connections.fetch, reader.table)):
        yield "No index gives the rows in the order of the pages; without it each page sorts its partition:"
        yield from (f"  {statement};" for statement in statements)
