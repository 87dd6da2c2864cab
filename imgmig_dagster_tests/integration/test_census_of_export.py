"""A census that reads the target from an export to S3: consistent as of its moment, whole, and paid once."""

import base64
import gzip
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from imgmig_dagster.clock import Clock
from imgmig_dagster.errors import TargetRefused, TargetUnavailable
from imgmig_dagster.reporting.certificate import certify
from imgmig_dagster.reporting.model import RunFacts, SummaryReport, build_report
from imgmig_dagster.reporting.partition_summary import Verdict
from imgmig_dagster.steps.census import take_census
from imgmig_dagster.steps.certify import certify as certify_rows
from imgmig_dagster.target.exports import ExportDamaged
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster_tests.arrange import MARCH, Migration, image, item_of, no_wait, row_id
from imgmig_dagster_tests.aws_gate import Answer, Asked, aws_gate
from imgmig_dagster_tests.exports import ExportService
from imgmig_dagster_tests.fault_proxy import FaultProxy, error

NOW = "2024-06-01T00:00:00.000Z"


@pytest.fixture
def service(migration: Migration, proxy: FaultProxy) -> ExportService:
    migration.source.insert(image(number) for number in range(40))
    for number in range(40):
        migration.target.put(item_of(number))
    return ExportService(migration.target, proxy)


def census(migration: Migration, service: ExportService, run_id: str = "census-1") -> CensusResult:
    run = replace(migration.run(service.proxy.url, run_id=run_id), clock=Clock(sleep=no_wait))
    with run.source:
        return run.look(lambda work: take_census(work, [MARCH], exports=service.exports))


def test_what_holds_the_same_passes_without_a_scan(migration: Migration, service: ExportService) -> None:
    found = census(migration, service)

    assert (found.passed, found.source_rows, found.target_items, found.agreed_on_recheck) == (True, 40, 40, 0)
    assert service.proxy.of("Scan") == []
    assert len(service.proxy.of("DescribeExport")) == 2
    assert found.export.endswith("/export/01700000000000-a1b2c3d4")
    assert found.started_at[:16] <= found.target_as_of[:16] <= found.finished_at[:16]
    assert "read from an export to S3, as of 20" in found.target_read
    assert "scanned from" in migration.census().target_read


def test_missing_orphan_and_differing_keys_are_named(migration: Migration, service: ExportService) -> None:
    migration.target.delete(3)
    migration.source.delete(5)
    migration.target.put(item_of(6, width={"N": "1"}))
    migration.target.put({"PK": {"S": "USER#1"}, "SK": {"S": "METADATA"}})

    found = census(migration, service)

    assert found.samples == {"missing": [row_id(3)], "orphans": [row_id(5)], "differing": [row_id(6)]}
    assert (found.target_items, found.other_entities, found.unclaimed) == (39, 1, 1)


def test_what_was_written_after_its_moment_is_no_fault(migration: Migration, service: ExportService) -> None:
    def write_both_sides() -> None:
        migration.source.insert([image(50)])
        migration.target.put(item_of(50))
        migration.source.update(7, width=9)
        migration.target.put(item_of(7, width={"N": "9"}, updatedAt={"S": NOW}))
        migration.source.delete(8)
        migration.target.delete(8)

    service.after_the_request = write_both_sides

    found = census(migration, service)

    assert (found.passed, found.samples, found.agreed_on_recheck) == (True, {}, 3)


def without_its_last_item(service: ExportService) -> None:
    lines = gzip.decompress(service.content("file1.json.gz")).splitlines(keepends=True)
    service.change("file1.json.gz", gzip.compress(b"".join(lines[:-1])))


def with_another_item(service: ExportService) -> None:
    lines = gzip.decompress(service.content("file1.json.gz")).splitlines(keepends=True)
    service.change("file1.json.gz", gzip.compress(b"".join([*lines[:-1], lines[0]])))


def not_listed(service: ExportService) -> None:
    listed = service.content("manifest-files.json").splitlines(keepends=True)
    service.change("manifest-files.json", b"".join(listed[1:]))


def of_another_export(service: ExportService) -> None:
    summary = json.loads(service.content("manifest-summary.json"))
    service.change("manifest-summary.json", json.dumps({**summary, "exportArn": "arn:of:another"}).encode())


DAMAGES: dict[str, tuple[Callable[[ExportService], None], str]] = {
    "a file is gone": (lambda service: service.change("file1.json.gz", None), r"file1\.json\.gz is gone"),
    "a file is torn": (
        lambda service: service.change("file1.json.gz", service.content("file1.json.gz")[:-20]),
        "is torn, or was altered",
    ),
    "a file is empty": (lambda service: service.change("file1.json.gz", b""), "another MD5"),
    "a file is no gzip file": (lambda service: service.change("file1.json.gz", b"x" * 100), "is torn, or was altered"),
    "an item is lost": (without_its_last_item, "another MD5"),
    "an item is another": (with_another_item, "another MD5"),
    "a file is not listed": (not_listed, "a file is not listed"),
    "the manifest is of another export": (of_another_export, "is of arn:of:another"),
    "the manifest is gone": (lambda service: service.change("manifest-files.json", None), "is gone"),
    "the manifest is none": (lambda service: service.change("manifest-files.json", b"{}\n"), "is not the manifest"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_export_that_is_not_whole_gives_no_census_and_is_not_read_again(
    migration: Migration, service: ExportService, damage: str
) -> None:
    spoil, said = DAMAGES[damage]
    service.after_completion = lambda: spoil(service)

    with pytest.raises(ExportDamaged, match=said):
        census(migration, service)

    service.after_completion = lambda: None
    assert census(migration, service, "census-2").passed
    assert len(service.asked) == 2


def test_a_count_that_is_not_the_manifests_is_an_error(migration: Migration, service: ExportService) -> None:
    def one_more_here_and_one_less_there() -> None:
        listed = [json.loads(line) for line in service.content("manifest-files.json").splitlines()]
        listed[0]["itemCount"] += 1
        listed[1]["itemCount"] -= 1
        service.change("manifest-files.json", "\n".join(map(json.dumps, listed)).encode())

    service.after_completion = one_more_here_and_one_less_there

    with pytest.raises(ExportDamaged, match="items, and the manifest says"):
        census(migration, service)


def test_an_interrupted_census_finds_its_export_again(migration: Migration, service: ExportService) -> None:
    service.refusals["DescribeExport"] = error("InternalServerError", 500)
    with pytest.raises(TargetUnavailable):
        census(migration, service)

    service.refusals.clear()
    assert census(migration, service, "census-2").passed
    assert len(service.asked) == 1, "paid once"

    assert census(migration, service, "census-3").passed
    assert len(service.asked) == 2, "a census of its own"


def test_an_export_of_before_our_own_write_is_not_taken_up(migration: Migration, service: ExportService) -> None:
    service.refusals["DescribeExport"] = error("InternalServerError", 500)
    with pytest.raises(TargetUnavailable):
        census(migration, service)
    service.refusals.clear()
    migration.source.insert([image(60)])
    migration.migrate()

    assert census(migration, service, "census-2").passed
    assert len(service.asked) == 2


def test_a_failed_export_says_why_and_the_next_census_asks_again(migration: Migration, service: ExportService) -> None:
    service.failure = {"FailureCode": "S3NoSuchBucket", "FailureMessage": "no such bucket"}
    with pytest.raises(TargetRefused, match="S3NoSuchBucket: no such bucket"):
        census(migration, service)

    service.failure = {}
    assert census(migration, service, "census-2").passed
    assert len(service.asked) == 2


def test_a_table_without_point_in_time_recovery_says_what_to_do(migration: Migration, service: ExportService) -> None:
    service.refusals["ExportTableToPointInTime"] = error("PointInTimeRecoveryUnavailableException", 400)

    with pytest.raises(TargetRefused, match=r"point-in-time recovery is off.*export_url from \[target\]"):
        census(migration, service)


def report(migration: Migration) -> SummaryReport:
    run = migration.run(run_id="report-1")
    with run.source:
        found = run.look(lambda work: certify_rows(work, [MARCH], lambda _line: None))
    facts = RunFacts("report", found.as_of, found.as_of, found.identity, {}, {}, left=found.left)
    return build_report(migration.state, "dev", [MARCH], found.rows, facts, found.digests)


def blockers(migration: Migration) -> list[str]:
    return [each.what for each in report(migration).blockers]


LATE_WRITE = f"The census no longer counts: partition {MARCH.partition} may have been written to since it began"


def test_an_orphan_of_after_its_moment_is_not_said_to_be_absent(migration: Migration, service: ExportService) -> None:
    migration.verify()
    service.after_the_request = lambda: migration.target.put(item_of(99))

    found = census(migration, service)
    certificate = certify(report(migration))

    assert found.passed, "it is in no export"
    assert certificate.verdict is Verdict.PASS
    assert f"the table was read from an export to S3, as of {found.target_as_of}" in certificate.meaning
    assert f"others put there after {found.target_as_of} is not covered" in certificate.meaning
    assert found.finished_at not in certificate.meaning
    assert census(migration, service, "census-2").samples == {"orphans": [row_id(99)]}


def test_our_own_write_between_its_moment_and_the_end_invalidates_it(
    migration: Migration, service: ExportService
) -> None:
    def migrate_one_more() -> None:
        migration.source.insert([image(60)])
        migration.migrate()

    service.after_completion = migrate_one_more

    assert census(migration, service).passed
    migration.verify()
    assert blockers(migration) == [LATE_WRITE]


def test_an_export_of_before_the_request_counts_from_its_moment(migration: Migration, service: ExportService) -> None:
    service.lag_s = 300.0
    migration.verify()

    found = census(migration, service)

    assert found.started_at == found.target_as_of
    assert blockers(migration) == []


def test_our_own_write_between_its_moment_and_the_request_invalidates_it(
    migration: Migration, service: ExportService
) -> None:
    service.lag_s = 300.0
    migration.source.insert([image(60)])
    migration.migrate()
    migration.verify()

    assert census(migration, service).passed
    assert blockers(migration) == [LATE_WRITE]
    service.lag_s = 0.0
    census(migration, service, "census-2")
    assert blockers(migration) == []


def test_a_connection_that_breaks_within_a_file_goes_on_where_it_broke(
    migration: Migration, service: ExportService
) -> None:
    chance = random.Random(3)
    for number in range(40):  # files of several megabytes
        note = base64.b64encode(chance.getrandbits(8 * 285_000).to_bytes(285_000, "big")).decode()
        migration.target.put(item_of(number, note={"S": note}))
    broken: Counter[str] = Counter()

    def cut(asked: Asked) -> Answer | None:
        if asked.operation != "GET" or not asked.path.endswith(".json.gz"):
            return None
        broken[asked.path] += 1
        return Answer(cut=True) if broken[asked.path] == 1 else None

    with aws_gate(migration.target.url) as gate:
        gate.rule = cut
        service.s3_url = gate.url
        found = census(migration, service)

    assert (found.passed, found.target_items) == (True, 40)
    ranges = [each.headers["Range"] for each in gate.asked if "Range" in each.headers]
    assert ranges
    assert all(int(each.removeprefix("bytes=").removesuffix("-")) >= 2**20 for each in ranges)
    assert len(service.asked) == 1
