"""``imgmig verify --self-test``: shows whether verification finds planted corruptions. The test is in `self_test/`."""

import secrets
from dataclasses import asdict
from typing import TYPE_CHECKING

from imgmig_dagster.cli.console import CommandResult, Output
from imgmig_dagster.cli.wording import SHOWN_FAULTS, add_row, table_of
from imgmig_dagster.errors import Interrupted, SettingsError
from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster.stage.config import sandbox_root, uses_sandbox
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.tables import chosen_table, declarations

if TYPE_CHECKING:
    from imgmig_dagster.self_test.run import SelfTestResult


def check_the_checker(
    stage: Stage, table: str | None, seed: int | None, corruptions: int, output: Output
) -> CommandResult:
    """Run the self-test in the stage's sandbox, on images of its own or on copies of a declared table's rows.

    Raises:
        SettingsError: the stage has services of its own, in which nothing is ever planted.
    """
    if not uses_sandbox(stage):
        raise SettingsError(
            f"--self-test plants corruptions, and so works in the sandbox only: stage {stage.value} has locations of "
            "its own. Use --stage dev, without urls and table in stages/dev.toml"
        )
    from imgmig_dagster.self_test.run import run_self_test

    mapping = None if table is None else declarations(stage)[chosen_table(stage, table)].mapping
    seed = secrets.randbelow(2**32) if seed is None else seed
    output.say(f"Planting {corruptions:,} corruptions (seed {seed}) in tables of the self-test's own ...")
    try:
        return _finding(run_self_test(Sandbox(sandbox_root()), seed, corruptions, mapping))
    except KeyboardInterrupt:
        raise Interrupted("stopped; the self-test's tables are gone") from None


def _finding(result: "SelfTestResult") -> CommandResult:
    judgement = result.judgement
    table = table_of("kind", "planted", "named", "missed", "false")
    for harmful in (True, False):
        for kind in judgement.kinds:
            if kind.harmful is harmful:
                to_name = (kind.named, kind.missed) if harmful else (None, None)
                add_row(table, kind.kind, kind.planted, *to_name, kind.false)
        table.add_section()
    corruptions = sum(kind.planted for kind in judgement.kinds if kind.harmful)
    named = sum(kind.named for kind in judgement.kinds)
    lines = [
        *(f"missed: {row_id}: {attribute}" for row_id, attribute in judgement.missed[:SHOWN_FAULTS]),
        *(f"false alarm: {row_id}: {attribute}" for row_id, attribute in judgement.false[:SHOWN_FAULTS]),
        *(
            f"{what}: counted {counted:,}, and planted {planted:,}"
            for what, (counted, planted) in result.counts.items()
            if counted != planted
        ),
        f"{named:,} of {corruptions:,} corruptions named by key and field among {result.rows:,} rows, "
        f"{len(judgement.false):,} false alarms, in {result.duration_s:.1f} s (seed {result.seed})",
    ]
    document = {
        "passed": result.passed,
        "seed": result.seed,
        "rows": result.rows,
        "planted": corruptions,
        "named": named,
        "kinds": [asdict(kind) for kind in judgement.kinds],
        "fields": result.fields,
        "missed": judgement.missed,
        "false": judgement.false,
        "counts": {what: {"counted": found, "planted": planted} for what, (found, planted) in result.counts.items()},
        "took_s": result.duration_s,
    }
    return CommandResult(0 if result.passed else 1, document, lines, table)
