"""Adds to a failed check what to do next, for the UI: the words of `remedies`, and links to the jobs that do it."""

from collections.abc import Iterable, Sequence

import dagster as dg

from imgmig_dagster import remedies
from imgmig_dagster.defs.table import Table
from imgmig_dagster.local_runs.instance import CODE_LOCATION


def advised(
    results: Iterable[dg.AssetCheckResult], table: Table, partitions: Sequence[str] = ()
) -> Sequence[dg.AssetCheckResult]:
    """The results; each failed one says what to do next, in words and as links to jobs."""
    return [each if each.passed else _advised(each, table, partitions) for each in results]


def _advised(result: dg.AssetCheckResult, table: Table, partitions: Sequence[str]) -> dg.AssetCheckResult:
    name = result.check_name or ""
    remedy, jobs = remedies.of_check(name), list(map(table.named, remedies.CHECKS[name].jobs))
    place = table.stage.value, partitions, table.option
    in_ui = f". In the UI: job {', then '.join(jobs)}" if jobs else ""
    facts = {
        **result.metadata,
        "what_to_do": dg.MetadataValue.md(remedies.of_check_in_full(name, *place)),
        **{f"job_{number}": dg.MetadataValue.job(job, CODE_LOCATION) for number, job in enumerate(jobs, 1)},
    }
    return result._replace(description=f"{result.description}. Next: {remedy.text(*place)}{in_ui}", metadata=facts)
