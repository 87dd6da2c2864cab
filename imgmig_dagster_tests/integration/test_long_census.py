"""A census that takes hours spoils no evidence: the report looks again at what may have changed since."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from imgmig_dagster.clock import Clock
from imgmig_dagster.reporting.model import RunFacts, SummaryReport, build_report
from imgmig_dagster.reporting.partition_summary import Verdict
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record, save_record
from imgmig_dagster.steps.certify import Certified, certify
from imgmig_dagster.verification.evidence import why_invalid
from imgmig_dagster.verification.verification_result import VerificationResult
from imgmig_dagster.window import Window
from imgmig_dagster_tests.arrange import Migration, image, item_of
from imgmig_dagster_tests.runs import Run

CENSUS_TAKES = timedelta(hours=3)
ROWS = 30


def open_window() -> Window:
    """The month that has not ended."""
    today = datetime.now(timezone.utc)
    start = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Window(f"{start:%Y-%m-%d}", start, (start + timedelta(days=32)).replace(day=1))


def ago(run: Run, before_now: timedelta) -> Run:
    """The run as it was then: its clock is that far behind ours."""
    return replace(
        run, clock=Clock(now=lambda: (datetime.now(timezone.utc) - before_now).isoformat(timespec="milliseconds"))
    )


def created(window: Window) -> dict[str, str]:
    return {"created_at": f"{window.start:%Y-%m-%d}T00:00:01.000000Z"}


def insert(migration: Migration, numbers: range) -> None:
    """Rows and items as the application writes them."""
    instant = created(migration.window)
    migration.source.insert(image(number, **instant) for number in numbers)
    for number in numbers:
        migration.target.put(item_of(number, createdAt={"S": instant["created_at"][:23] + "Z"}))


def evidence_of(migration: Migration) -> VerificationResult:
    found = load_record(migration.state, names.evidence(migration.window.partition), VerificationResult)
    assert found is not None
    return found


@pytest.fixture
def verified_before_it(migration: Migration) -> Migration:
    """A window that is still open, verified just before a census that has taken hours."""
    migration = replace(migration, window=open_window())
    insert(migration, range(ROWS))
    verification = ago(migration.verification(), CENSUS_TAKES + timedelta(minutes=1))
    with verification.source:
        assert verification.verify().passed
    # PostgreSQL's clock, which dates a snapshot, cannot be set back.
    evidence = evidence_of(migration)
    then = datetime.fromisoformat(evidence.as_of) - CENSUS_TAKES
    evidence_file = names.evidence(migration.window.partition)
    save_record(migration.state, evidence_file, replace(evidence, as_of=then.isoformat(timespec="milliseconds")))
    census = ago(migration.verification(), CENSUS_TAKES)
    with census.source:
        found = census.census()
    assert found.passed
    return migration


def report(migration: Migration) -> tuple[Certified, SummaryReport]:
    run = migration.run(run_id="report-1")
    with run.source:
        certified = run.look(lambda work: certify(work, [migration.window], lambda _line: None))
    facts = RunFacts("report", certified.as_of, certified.as_of, certified.identity, {}, {}, left=certified.left)
    rows = {migration.window.partition: certified.rows[migration.window.partition]}
    return certified, build_report(migration.state, "dev", [migration.window], rows, facts, certified.digests)


def test_an_open_window_that_was_verified_before_it_passes(verified_before_it: Migration) -> None:
    migration = verified_before_it
    with migration.source.reader() as reader:
        today = migration.today(reader)
    invalidation = why_invalid(migration.state, migration.window, evidence_of(migration), today, ROWS, None)
    assert invalidation is not None
    assert "more than an hour old" in invalidation.what, "nothing to renew"

    _certified, found = report(migration)

    assert (found.verdict, [each.what for each in found.blockers]) == (Verdict.PASS, [])


def test_what_the_application_wrote_during_it_is_looked_at(verified_before_it: Migration) -> None:
    migration = verified_before_it
    insert(migration, range(ROWS, ROWS + 3))
    migration.source.insert([image(ROWS + 3, **created(migration.window))])

    certified, found = report(migration)

    assert certified.rows == {migration.window.partition: ROWS + 4}
    assert found.verdict is Verdict.FAIL, "a row without an item"
    migration.target.put(item_of(ROWS + 3, createdAt={"S": created(migration.window)["created_at"][:23] + "Z"}))
    assert report(migration)[1].verdict is Verdict.PASS
