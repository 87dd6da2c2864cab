"""Whether evidence still counts after our own writes: by their number, and not by the machines' clocks."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from imgmig_dagster.clock import Clock
from imgmig_dagster.defs.metadata import of_retry
from imgmig_dagster.reporting.model import RunFacts, SummaryReport, build_report
from imgmig_dagster.reporting.partition_summary import Verdict
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record, save_record
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster.verification.verification_result import VerificationResult
from imgmig_dagster.window import now
from imgmig_dagster_tests.arrange import Migration, image, item_of
from imgmig_dagster_tests.fault_proxy import FaultProxy, error
from imgmig_dagster_tests.runs import Run

HOUR = 3600.0
CLOCKS = pytest.mark.parametrize("ahead_s", [-HOUR, 0.0, HOUR], ids=["an hour behind", "the same", "an hour ahead"])


def on_a_clock(run: Run, ahead_s: float) -> Run:
    """The run on a machine whose clock is so many seconds ahead of this one."""

    def shifted() -> str:
        return (datetime.fromisoformat(now()) + timedelta(seconds=ahead_s)).isoformat(timespec="milliseconds")

    return replace(run, clock=Clock(now=shifted))


def migrate(migration: Migration, ahead_s: float = 0.0, url: str | None = None) -> None:
    run = on_a_clock(migration.run(url), ahead_s)
    with run.source:
        run.migrate()


def prove(migration: Migration) -> None:
    """Verification and census."""
    assert migration.verify().passed
    save_record(migration.state, names.CENSUS, migration.census())


def report(migration: Migration) -> SummaryReport:
    with migration.source.reader() as reader:
        rows = reader.rows_per_window([migration.window])
        facts = RunFacts("report", now(), now(), migration.today(reader).identity, {}, {})
        digests = {migration.window.partition: reader.inventory(migration.window).digest}
    return build_report(migration.state, "dev", [migration.window], rows, facts, digests)


def verdict(migration: Migration) -> Verdict:
    return report(migration).verdict


def spoil_an_item(migration: Migration) -> None:
    """Give a pass something to write, after which all is as the evidence has it."""
    migration.target.put(item_of(1, width={"N": "1"}))


@CLOCKS
def test_evidence_of_after_a_pass_counts_for_any_clock_of_the_pass(migration: Migration, ahead_s: float) -> None:
    migration.source.insert(image(number) for number in range(10))
    migrate(migration, ahead_s)
    prove(migration)

    assert verdict(migration) is Verdict.PASS


@CLOCKS
def test_evidence_of_before_a_pass_no_longer_counts_for_any_clock_of_the_pass(
    migration: Migration, ahead_s: float
) -> None:
    migration.source.insert(image(number) for number in range(10))
    migrate(migration)
    prove(migration)
    spoil_an_item(migration)
    migrate(migration, ahead_s)

    found = report(migration)
    assert found.verdict is Verdict.NOT_VERIFIED
    assert [each.what for each in found.blockers] == [
        "Partition 2024-03-01: the verification no longer counts, because a migration wrote after it began",
        "The census no longer counts: partition 2024-03-01 may have been written to since it began",
    ]


def test_a_pass_that_wrote_nothing_invalidates_nothing(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(10))
    migrate(migration)
    prove(migration)
    evidence, census = (
        load_record(migration.state, names.evidence("2024-03-01"), VerificationResult),
        load_record(migration.state, names.CENSUS, CensusResult),
    )

    for _pass in range(2):
        migrate(migration, url=proxy.url)

    assert proxy.writes == []
    assert verdict(migration) is Verdict.PASS
    assert load_record(migration.state, names.evidence("2024-03-01"), VerificationResult) == evidence
    assert load_record(migration.state, names.CENSUS, CensusResult) == census
    assert migration.verify(only_failed=True).matches_from


def test_a_write_that_was_sent_counts_with_any_result(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(10))
    migrate(migration)
    prove(migration)
    spoil_an_item(migration)
    proxy.inject(error("ConditionalCheckFailedException"), "UpdateItem", times=100)
    migrate(migration, url=proxy.url)
    migration.target.put(item_of(1))

    assert verdict(migration) is Verdict.FAIL, "its row is in the ledger"
    assert "because a migration wrote after it began" in report(migration).blockers[1].what


def test_a_pass_that_broke_off_before_its_first_write_is_open_until_it_is_resumed(
    migration: Migration, proxy: FaultProxy
) -> None:
    migration.source.insert(image(number) for number in range(10))
    migrate(migration)
    prove(migration)
    proxy.inject(error("AccessDeniedException"), "BatchGetItem", times=100)
    with pytest.raises(Exception, match="AccessDenied"):
        migrate(migration, url=proxy.url)
    assert "a migration pass was begun and has not finished" in report(migration).blockers[0].what

    migrate(migration)
    assert verdict(migration) is Verdict.NOT_VERIFIED, "nobody knows what the run before had sent"
    prove(migration)
    assert verdict(migration) is Verdict.PASS


def test_units_of_reads_are_no_units_of_writes(migration: Migration) -> None:
    migration.source.insert(image(number) for number in range(10))
    first, second = migration.migrate(), migration.migrate()
    assert (first.write_units, first.read_units) == (10, 0)
    assert second.write_units == 0
    assert second.read_units > 0
    spoil_an_item(migration)
    assert 0 < migration.migrate().write_units <= 1  # moto counts half a unit


def test_a_retry_leaves_the_figures_of_the_pass_and_has_its_own_beside_them(migration: Migration) -> None:
    migration.source.insert(image(number) for number in range(10))
    last = migration.migrate()
    facts = of_retry(last, migration.retry_failures())
    assert (facts["dagster/row_count"], facts["rows"], facts["retry_rows"]) == (10, 10, 0)
    assert (facts["migrated"], facts["retry_migrated"]) == (10, 0)
