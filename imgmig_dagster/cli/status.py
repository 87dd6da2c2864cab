"""``imgmig status``: judges a stage by the report's rules without running anything, from what can be read at once.

It asks the source for counts of rows, and the target for its identity. It does not ask the source for digests: only the
report sees what changed within rows since they were verified.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from imgmig_dagster import remedies
from imgmig_dagster.cli.console import CommandResult
from imgmig_dagster.cli.known_partitions import blocked, next_command, partition_table, state
from imgmig_dagster.cli.wording import finding, moment, verdict_line
from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.figures import values
from imgmig_dagster.reporting.cutover import Cutover
from imgmig_dagster.reporting.model import RunFacts, SummaryReport, build_report
from imgmig_dagster.reporting.partition_summary import PartitionSummary, Verdict
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.services import target_identity
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster.stage.stage_table import StageTable
from imgmig_dagster.state.index import at_a_glance
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.verification.evidence import identity_of
from imgmig_dagster.window import span

_MIGRATED: Final = ("in_target", "migrated")
_SCREEN: Final = 8
"""More partitions are shown as stretches of neighbours, so that all fits on a screen of 24 lines."""


def of_table(
    settings: Settings,
    table: StageTable,
    store: StateStore,
    source: SourceReader,
    rows: Mapping[str, int],
    counted_at: str,
    chosen: Sequence[str] = (),
) -> CommandResult:
    """What the state store knows about each partition, compared with the current source and target.

    `rows` is what the source counted in each partition at `counted_at`; `chosen` are the only partitions to show, each
    on its own line. If the target cannot be reached, the rest is shown with that error, and the verdict is not PASS.

    Raises:
        SourceError, StateError: see there.
    """
    identity, errors = None, []
    stage, windows = table.stage.value, table.partitions.windows()
    try:
        target = target_identity(settings, table.mapping)
    except ImgmigError as error:
        errors.append(error)
    else:
        identity = identity_of(source, target)
    facts = RunFacts(
        run_id="",
        made_at=counted_at,
        counted_at=counted_at,
        identity=identity,
        settings={},
        versions={},
        rows_outside=source.rows_outside(*span(windows)).rows,
        columns=source.columns_not_migrated(),
    )
    rows_now = {window.partition: rows.get(window.partition, 0) for window in windows}
    known = at_a_glance(store, list(rows_now))
    report = build_report(known, stage, windows, rows_now, facts, table=table.option, lists_mismatches=False)
    return _finding(report, remedies.options(stage, table.option), errors, chosen)


def _finding(
    report: SummaryReport, options: str, errors: Sequence[ImgmigError], chosen: Sequence[str]
) -> CommandResult:
    """The status of each partition that holds rows or has a record, and of all of them.

    `report` has no digests of the source, and with `errors` no identity of the target: then it proves no PASS.
    """
    named = set(chosen)
    shown = [each for each in report.partitions if each.partition in named or (not named and _is_known(each))]
    verdict, cutover = report.verdict, report.cutover
    if errors and verdict is Verdict.PASS:
        verdict, cutover = Verdict.NOT_VERIFIED, Cutover.NOT_READY
    counted_at = report.facts.counted_at
    document = {
        "verdict": verdict.value,
        "cutover": cutover.value,
        "counted_at": counted_at,
        "target_asked": not errors,
        "blockers": [each.sentence for each in report.blockers],
        "cutover_blockers": [each.sentence for each in report.cutover_blockers],
        "partitions": [_entry(each) for each in shown],
        "next": f"imgmig doctor {options}" if errors else next_command(report, options),
    }
    if not shown:
        idle = "No partition holds a row: see `partitions` in the declaration, or imgmig sandbox seed"
        return finding(errors, True, document, [idle])
    asked = (
        "the target was not asked, so that each verdict is of when it was verified" if errors else "the target asked"
    )
    table, left_out = partition_table(shown, len(shown) if named else _SCREEN)
    lines = [
        *left_out,
        *report.facts.columns.ignored_lines,
        *blocked(report),
        f"{verdict_line(verdict, cutover)}. As of {moment(counted_at)}: rows counted, {asked}. What changed within "
        f"rows since they were verified is seen by imgmig report {options}",
    ]
    found = finding(errors, True, document, lines, table)
    return replace(found, lines=[*found.lines, f"next: {document['next']}"])


def _is_known(each: PartitionSummary) -> bool:
    return each.verdict is not Verdict.EMPTY or bool(each.migration or each.verification)


def _entry(each: PartitionSummary) -> dict[str, object]:
    return {
        "partition": each.partition,
        "rows_now": each.rows,
        **(values(each.migration, *_MIGRATED) if each.migration else dict.fromkeys(_MIGRATED)),
        "failed": len(each.failures),
        "interrupted": each.pass_open,
        "verified_at": each.verification.finished_at if each.verification else None,
        "verdict": each.verdict.value,
        "state": state(each),
        "blockers": [blocker.sentence for blocker in each.blockers],
    }
