"""A random sample of images, both records side by side, for a person to look at."""

import asyncio
from collections.abc import Sequence

from imgmig_dagster.mapping.compare import comparer, describe_fields
from imgmig_dagster.mapping.spec import Row
from imgmig_dagster.target.connection import TargetSettings
from imgmig_dagster.target.table import Lookup
from imgmig_dagster.verification.results import SpotCheckPair, SpotCheckResult
from imgmig_dagster.verification.verifier import VerificationRun
from imgmig_dagster.window import now


def spot_check(run: VerificationRun, count: int, seed: int) -> SpotCheckResult:
    """Draw `count` images at random and read both sides of each.

    Raises:
        SourceError, TargetError: see there.
    """
    rows = run.source.sample(count, seed)
    lookup = asyncio.run(_items(run.target, [str(row[0]) for row in rows]))
    return SpotCheckResult(
        run_id=run.run_id,
        seed=seed,
        requested=count,
        pairs=[_pair(run, row, lookup) for row in rows],
        source_rows=run.source.count_all(),
        checked_at=now(),
    )


async def _items(target: TargetSettings, ids: Sequence[str]) -> Lookup:
    async with target.open() as table:
        return await table.get_many(ids)


def _pair(run: VerificationRun, row: Row, lookup: Lookup) -> SpotCheckPair:
    mapping = run.source.mapping
    row_id = str(row[0])
    # An item that could not be read is shown as absent: it does not pass.
    item = lookup.items.get(row_id)
    differing = {found.attribute for found in comparer(mapping)(row, item or {}).differences}
    return SpotCheckPair(
        row_id=row_id,
        fields=[
            (attribute, expected, found, attribute not in differing)
            for attribute, expected, found in describe_fields(mapping, row, item or {})
        ],
        has_item=item is not None,
    )
