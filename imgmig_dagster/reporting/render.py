"""Writes the report and the page of a spot check from `model`: templates are in `templates/`, charts in `charts`."""

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final, NamedTuple

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from imgmig_dagster.figures import SECONDS, SHARE, figures_of
from imgmig_dagster.remedies import options
from imgmig_dagster.reporting import charts, escaping
from imgmig_dagster.reporting.certificate import certify
from imgmig_dagster.reporting.certificate_file import keep_certificate
from imgmig_dagster.reporting.csv_tables import csv_tables
from imgmig_dagster.reporting.equality import equality
from imgmig_dagster.reporting.model import SummaryReport, Totals
from imgmig_dagster.reporting.partition_summary import count
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.state import names
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.migration_result import NOT_WRITTEN, MigrationResult
from imgmig_dagster.verification.pictures import ShownPictures
from imgmig_dagster.verification.spot_check_results import SpotCheckResult
from imgmig_dagster.verification.verification_result import VerificationResult

LISTED_IN_HTML: Final = 200
LISTED_IN_MARKDOWN: Final = 20


def render_json(report: SummaryReport) -> bytes:
    """The whole report; its fields are those of `SummaryReport`, which can be read back from it."""
    return orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2)


def render_markdown(report: SummaryReport) -> str:
    """The report for Dagster's metadata; lists are cut after `LISTED_IN_MARKDOWN` lines."""
    return _MARKDOWN.get_template("summary.md.j2").render(report=report, listed=LISTED_IN_MARKDOWN)


def render_html(report: SummaryReport) -> str:
    """The report as one self-contained page; lists are cut after `LISTED_IN_HTML` lines."""
    script, script_hash = _script("sort.js")
    return _HTML.get_template("summary.html.j2").render(
        report=report,
        listed=LISTED_IN_HTML,
        charts=_charts(report),
        script=script,
        script_hash=script_hash,
    )


def _charts(report: SummaryReport) -> dict[str, Markup]:
    """The charts of the page, by name, for which there is something to draw."""
    totals, partitions = report.totals, report.filled
    found: dict[str, Markup] = {}
    if partitions:
        found["rows_and_rate"] = charts.rows_and_rate(partitions)
    if totals.outcomes:
        not_written = [outcome.value for outcome in NOT_WRITTEN]
        found["outcomes"] = charts.counts("Outcomes of the passes, in rows", totals.outcomes, not_written)
    if by_attribute := totals.mismatches_by_attribute:
        found["mismatches"] = charts.counts("Mismatches by field", by_attribute, list(by_attribute))
    if totals.latency:
        found["latency"] = charts.latency(partitions)
    if totals.traffic.throttled:
        found["throttling"] = charts.throttling(totals.traffic)
    return found


def render_spot_check(result: SpotCheckResult, stage: str, shown: ShownPictures, table: str | None = None) -> str:
    """The page on which a person reviews a spot check; it saves the file that `verification.review` reads.

    It shows full values and pictures, so write it to a file that only its owner can read. `table` is what commands need
    as `--table`; None where the stage has one table.
    """
    script, script_hash = _script("review.js")
    return _HTML.get_template("spot_check.html.j2").render(
        result=result, stage=stage, options=options(stage, table), shown=shown, script=script, script_hash=script_hash
    )


def publish(store: StateStore, report: SummaryReport) -> dict[str, str]:
    """Write the report in every form, with its certificate, and return the place of each file, by its name."""
    files = {
        names.CERTIFICATE: keep_certificate(store, certify(report)),
        names.SUMMARY_JSON: render_json(report),
        names.SUMMARY_MARKDOWN: render_markdown(report).encode(),
        names.SUMMARY_HTML: render_html(report).encode(),
        **csv_tables(report),
    }
    for name, content in files.items():
        store.write(names.report(name), content)
    return {name: store.locate(names.report(name)) for name in files}


class ShownFigure(NamedTuple):
    """A figure as a page or a table shows it; `value` is the sort key, None where there is none."""

    label: str
    meaning: str
    text: str
    value: float | None


def _shown(kind: Any, attributes: Sequence[str], result: object | None) -> Sequence[ShownFigure]:
    """These figures of a result; without a result only their heads."""
    declared = figures_of(kind)
    values = {name: None if result is None else getattr(result, name) for name in attributes}
    return [
        ShownFigure(declared[name].label, declared[name].meaning, _text(declared[name].unit, value), value)
        for name, value in values.items()
    ]


def _text(unit: str, value: float | None) -> str:
    return "–" if value is None else _FORMATS.get(unit, _number)(value)


def _number(value: float) -> Markup:
    return Markup(f"{value:,.0f}")  # noqa: S704


def _latency(milliseconds: float) -> Markup:
    return Markup(f"{milliseconds:,g} ms")  # noqa: S704


def _percent(share: float) -> Markup:
    # Cut, not rounded: 999,999 of 1,000,000 is not 100 %.
    return Markup(f"{math.floor(share * 10_000) / 100:.2f} %")  # noqa: S704


def _duration(seconds: float) -> Markup:
    if seconds < 60:
        return Markup(f"{seconds:.1f} s")  # noqa: S704
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return Markup(f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s")  # noqa: S704


def _moment(text: str) -> str:
    """An ISO 8601 time in UTC, to the second."""
    return f"{text[:19].replace('T', ' ')} UTC"


_FORMATS: Final = {SECONDS: _duration, SHARE: _percent}
_TILES: Final = (
    *("rows", "in_target", "migrated", "skipped", "failed"),
    *("success_rate", "rate", "in_ledger", "verified", "mismatches_found"),
)
_FURTHER: Final = (
    *("duration_s", "retries", "throttles", "write_units", "agreed_on_recheck"),
    *("inexact_timestamps", "undeclared_found"),
)
# The figures that each table shows, in the page and in Markdown.
_TABLES: Final = {
    "tiles": partial(_shown, Totals, _TILES),
    "further": partial(_shown, Totals, _FURTHER),
    "of_pass": partial(_shown, MigrationResult, ("migrated", "skipped", "failed", "duration_s", "rate")),
    "of_evidence": partial(_shown, VerificationResult, [verdict.value for verdict in RowVerdict]),
}


def _environment(**options: Any) -> Environment:
    environment = Environment(  # noqa: S701 - each caller says how it escapes
        loader=PackageLoader("imgmig_dagster.reporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    environment.filters.update(number=_number, count=count, latency=_latency, duration=_duration, moment=_moment)
    environment.filters.update(_TABLES)
    return environment


def _script(name: str) -> tuple[Markup, str]:
    """A script of this package, and the hash by which a page's policy allows it and no other."""
    source, _path, _is_fresh = PackageLoader("imgmig_dagster.reporting").get_source(_HTML, name)
    return Markup(source), base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()  # noqa: S704


_HTML: Final = _environment(autoescape=True)
_HTML.filters.update(visible=escaping.visible_html, value=escaping.shown_value, equality=equality)
# Markdown has no autoescape of its own: every expression passes through here.
_MARKDOWN: Final = _environment(finalize=escaping.markdown_text)
_MARKDOWN.filters.update(code=escaping.markdown_code)
