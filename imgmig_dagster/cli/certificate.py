"""``imgmig certificate``: shows certificates, and tells what changed between two."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from imgmig_dagster.cli.console import Finding, Output, finish
from imgmig_dagster.cli.options import Json, StageOption, chosen
from imgmig_dagster.cli.wording import verdict_line
from imgmig_dagster.config import load_settings
from imgmig_dagster.files import refusals_as
from imgmig_dagster.reporting.certificate import (
    Certificate,
    CertificateRefused,
    compare,
    kept_certificate,
    parse,
)
from imgmig_dagster.reporting.review import Cutover
from imgmig_dagster.state.opening import open_state

app = typer.Typer(help="The certificates of a stage: what was proved, and when.", no_args_is_help=True)

_KEPT: Final = ("latest", "previous")
Which = Annotated[str, typer.Argument(help="A file, or latest, or previous: of those that the state keeps.")]


@app.command(epilog="Example: imgmig certificate show latest --stage staging")
def show(which: Which = "latest", stage: StageOption = None, json: Json = False) -> None:
    """Check that a certificate is as it was written, and show what it says. Exit code 0 only for READY."""
    found = _load(which, stage)
    census = found.census
    lines = [
        *(f"lacking: {each}" for each in found.lacking),
        *(f"before cutover: {each}" for each in found.lacking_review),
        f"Stage {found.stage}, {found.made_at}. {verdict_line(found.verdict, found.cutover)}",
        found.meaning,
        *(f"assumed: {each}" for each in found.assumptions),
        *found.columns.ignored_lines,
        f"{len(found.partitions):,} partitions, {found.rows:,} rows; "
        + (f"census of {census.source_rows:,} rows and {census.target_items:,} items" if census else "no census"),
    ]
    finish(Output(json), Finding(0 if found.cutover is Cutover.READY else 1, asdict(found), lines))


@app.command(epilog="Example: imgmig certificate diff previous latest --stage staging")
def diff(before: Which = "previous", after: Which = "latest", stage: StageOption = None, json: Json = False) -> None:
    """Tell what changed between two certificates. Exit code 0 if nothing did, 1 otherwise."""
    changes = compare(_load(before, stage), _load(after, stage))
    lines = [f"{each.where}: {each.what}: {_shown(each.before)} -> {_shown(each.after)}" for each in changes]
    document = {"changes": [asdict(each) for each in changes]}
    finish(Output(json), Finding(1 if changes else 0, document, lines or ["Nothing changed."]))


def _load(which: str, stage: str | None) -> Certificate:
    if which not in _KEPT:
        with refusals_as(CertificateRefused, which, "name another file, or latest, or previous", reads=True):
            content = Path(which).read_bytes()
        return parse(which, content)
    settings = load_settings(chosen(stage))
    return parse(*kept_certificate(open_state(settings.state_url, settings.stage.value, settings.aws()), which))


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)
