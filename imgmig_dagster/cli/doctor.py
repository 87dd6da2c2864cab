"""``imgmig doctor``: shows whether a stage is fit for a migration. The examinations are in `doctor/`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from imgmig_dagster.cli.console import CommandResult, Output, finish_all
from imgmig_dagster.cli.options import Json, StageOption, TablesOption, chosen
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.sandbox.attaching import require_running
from imgmig_dagster.stage.config import load_settings
from imgmig_dagster.stage.services import ONE_MORE_TRY, source_connections, source_reader
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.tables import chosen_tables, declarations, stage_tables
from imgmig_dagster.window import Window

if TYPE_CHECKING:
    from imgmig_dagster.doctor.diagnosis import Diagnosis

EXAMPLE: Final = "Example: imgmig doctor --stage staging"


def doctor(stage: StageOption = None, table: TablesOption = None, json: Json = False) -> None:
    """Reach every service of a stage, and say what is wrong with each and how to fix it.

    Writes nothing but a probe file, which it deletes, to the state store.

    Exit codes: 0 nothing failed (warnings do not count); 1 something failed; 3 a service cannot be reached.
    """
    settings = load_settings(chosen(stage))
    require_running(settings.stage)
    tables = {each.name: each for each in stage_tables(settings.stage)}
    declared = declarations(settings.stage)

    def find(name: str) -> CommandResult:
        mapping, windows = settings.applied_to(tables[name].mapping), tables[name].partitions.windows()
        return _finding(settings, mapping, windows, declared[name].at)

    finish_all(Output(json), chosen_tables(settings.stage, table), find)


def _finding(
    settings: Settings, mapping: TableMapping, windows: Sequence[Window], at: Callable[[str], str]
) -> CommandResult:
    from imgmig_dagster.defs.examinations import dagster_examinations
    from imgmig_dagster.doctor.aws_checks import aws_examinations, picture_examination
    from imgmig_dagster.doctor.diagnosis import examine
    from imgmig_dagster.doctor.session_checks import session_examinations
    from imgmig_dagster.doctor.source_checks import source_examinations

    connection = source_connections(settings, ONE_MORE_TRY)
    schema, name = mapping.schema, mapping.table
    with source_reader(settings, connection, mapping) as reader:
        found = examine(
            [
                *dagster_examinations(settings.stage),
                *session_examinations(connection, schema, name, mapping.columns),
                *source_examinations(connection.fetch, reader, windows, at),
                *aws_examinations(settings, mapping),
                *([picture_examination(settings.aws(), reader, mapping.pictures)] if mapping.pictures else []),
            ]
        )
    return finding_of(settings.stage, found)


def finding_of(stage: Stage, found: Sequence["Diagnosis"]) -> CommandResult:
    """The findings, each with its remedy, as a command's result."""
    from imgmig_dagster.doctor.diagnosis import Health, exit_code

    counts = {health.value: sum(each.health is health for each in found) for health in Health}
    document = {"stage": stage.value, **counts, "diagnoses": [asdict(each) for each in found]}
    line = f"Stage {stage.value}: " + ", ".join(f"{count} {health}" for health, count in counts.items())
    return CommandResult(exit_code(found), document, [*(line for each in found for line in _lines(each)), line])


def _lines(found: "Diagnosis") -> Iterator[str]:
    """Lines, not a row of a table, which has a width: a remedy can then be copied as a whole."""
    yield f"{found.health.value.upper():5} {found.service}, {found.thing}: {found.found}"
    if found.remedy:
        yield f"      -> {found.remedy}"
    if found.not_looked_at:
        yield f"      not looked at for the same cause: {', '.join(found.not_looked_at)}"
