"""The requirements' own tests: each is named after a story of the specification, and documented as its criterion."""

import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import orjson
import pytest

from imgmig_dagster.sandbox.seed import ImageRow, synthetic_rows
from imgmig_dagster_tests.e2e.conftest import DevStage
from imgmig_dagster_tests.fault_proxy import FaultProxy, error, unprocessed
from imgmig_dagster_tests.orchestration.commands import Finished, wait_until

REAL_ROWS = Path(__file__).parents[3] / "shared" / "data" / "images.csv"
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[(DEBUG|INFO|WARNING|ERROR)\] .+")


def hundred_images(count: int = 100) -> Iterator[ImageRow]:
    """Images of one month, a second and some microseconds apart, with every nasty name and NULL of the seeder."""
    start = datetime(2024, 3, 1, tzinfo=timezone.utc)
    for index, row in enumerate(synthetic_rows(count)):
        yield row._replace(created_at=start + timedelta(seconds=index, microseconds=7_919 * index % 1_000_000))


def javascript_time(moment: datetime) -> str:
    """As `toISOString()` writes it: milliseconds, cut."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def expected_item(row: dict[str, Any]) -> dict[str, Any]:
    """The item of a row, written down from the specification and without any code of the product."""

    def number(value: int | None) -> dict[str, Any]:
        return {"NULL": True} if value is None else {"N": str(value)}

    thumbnail = row["thumbnail_s3_key"]
    return {
        "PK": {"S": f"IMAGE#{row['id']}"},
        "SK": {"S": "METADATA"},
        "userId": {"S": str(row["user_id"])},
        "createdAt": {"S": javascript_time(row["created_at"])},
        "updatedAt": {"S": javascript_time(row["updated_at"])},
        "originalFilename": {"S": row["original_filename"]},
        "s3Key": {"S": row["s3_key"]},
        "s3Bucket": {"S": row["s3_bucket"]},
        "thumbnailS3Key": {"NULL": True} if thumbnail is None else {"S": thumbnail},
        "mimeType": {"S": row["mime_type"]},
        "sizeBytes": number(row["size_bytes"]),
        "width": number(row["width"]),
        "height": number(row["height"]),
        "version": {"N": "1"},
    }


def assert_target_is_the_source(dev: DevStage) -> None:
    """Every field of every row, compared by code of this file alone; and nothing else in the table."""
    expected = {f"IMAGE#{row['id']}": expected_item(row) for row in dev.rows()}
    assert dev.items() == expected


@dataclass(frozen=True)
class HundredMigrated:
    """What migrating and verifying the 100 images printed, and the log of it."""

    migrated: Finished
    verified: Finished
    log: str
    items: dict[str, dict[str, Any]]
    expected: dict[str, dict[str, Any]]
    reports: dict[str, int]


@pytest.fixture(scope="module")
def hundred(dev: DevStage) -> HundredMigrated:
    """100 images, migrated and verified in the sandbox."""
    dev.seed(hundred_images(), date(2024, 3, 1))
    migrated, verified = dev.imgmig("migrate", "--json"), dev.imgmig("verify", "--json")
    return HundredMigrated(
        migrated,
        verified,
        dev.log(),
        dev.items(),
        {f"IMAGE#{row['id']}": expected_item(row) for row in dev.rows()},
        {path.name: path.stat().st_size for path in (dev.state / "reports").glob("[!.]*")},
    )


def test_story_4_2_dry_run_executed_successfully_no_writes_logs_only(dev: DevStage, proxy: FaultProxy) -> None:
    """4.2, criterion 2: dry-run executed successfully (no writes, logs only)."""
    dev.seed(hundred_images(), date(2024, 3, 1))
    planned = dev.imgmig("migrate", "--dry-run", "--json", by_way_of=proxy.url)
    assert (planned.exit_code, planned.document["rows"], planned.document["would_write"]) == (0, 100, 100)
    assert proxy.calls
    assert proxy.writes == []
    assert dev.items() == {}
    assert "2024-03-01: Planned 100/100 images (100.0%)" in dev.log()


def test_story_4_2_all_100_images_are_migrated(hundred: HundredMigrated) -> None:
    """4.2, criteria 1, 3 and 4: a run with 100 images migrates all 100 of them."""
    found = hundred.migrated.document
    assert hundred.migrated.exit_code == 0
    assert (found["total"], found["migrated"], found["skipped"], found["failed"]) == (100, 100, 0, 0)
    assert len(hundred.items) == 100


def test_story_4_2_field_by_field_comparison_shows_0_mismatches(hundred: HundredMigrated) -> None:
    """4.2, criterion 5: by the product's verification, and by a comparison that shares no code with it."""
    found = hundred.verified.document
    assert hundred.verified.exit_code == 0
    assert found["verdicts"] == {"match": 100, "mismatch": 0, "missing": 0, "unverified": 0}
    assert found["mismatches"] == []
    assert hundred.items == hundred.expected


def test_story_4_2_injected_throttling_and_errors_are_retried(dev: DevStage, proxy: FaultProxy) -> None:
    """4.2, criterion 6: DynamoDB errors are simulated, and the retries bring every image in."""
    dev.seed(hundred_images(), date(2024, 3, 1))
    proxy.inject(error("ProvisionedThroughputExceededException"), "BatchWriteItem", times=2)
    proxy.inject(unprocessed(10), "BatchWriteItem")
    proxy.inject(error("InternalServerError", 500), "BatchWriteItem")
    migrated = dev.imgmig("migrate", "--json", by_way_of=proxy.url)
    assert (migrated.exit_code, migrated.document["migrated"], migrated.document["failed"]) == (0, 100, 0)
    (finished,) = migrated.document["partitions"]
    # Two refused requests and ten items handed back are throttling, which uses up no retry.
    assert (finished["throttles"], finished["retries"]) == (3, 1)
    assert len(proxy.of("BatchWriteItem")) == 4 + 4, "four batches, and each fault once more"
    assert_target_is_the_source(dev)


def test_story_4_2_killed_at_half_and_resumed_to_an_exact_result(dev: DevStage, proxy: FaultProxy) -> None:
    """4.2, criterion 7: the process is killed (SIGKILL) after 50 of 100 images; the same command resumes."""
    dev.seed(hundred_images(), date(2024, 3, 1))
    killed = threading.Event()
    proxy.before(lambda: killed.wait(300), "BatchWriteItem", when=lambda _call: len(proxy.of("BatchWriteItem")) > 2)
    running = dev.start("migrate", by_way_of=proxy.url, IMGMIG_REQUESTS_IN_FLIGHT="1")
    wait_until(lambda: len(proxy.of("BatchWriteItem")) > 2)
    running.send(signal.SIGKILL)
    assert running.wait().exit_code == -signal.SIGKILL
    assert len(dev.items()) == 50
    killed.set()

    (shown,) = dev.imgmig("status", "--json").document["partitions"]
    assert (shown["interrupted"], shown["migrated"]) == (True, None)
    resumed = dev.imgmig("migrate", "--json")
    assert (resumed.exit_code, resumed.document["total"], resumed.document["failed"]) == (0, 100, 0)
    assert [each["resumes"] for each in resumed.document["partitions"]] == [1]
    assert_target_is_the_source(dev)
    assert dev.imgmig("verify", "--json").document["verdicts"]["match"] == 100


def test_story_4_2_more_than_50_images_per_second(hundred: HundredMigrated) -> None:
    """4.2, criterion 8: the pass itself migrates more than 50 images a second."""
    found = hundred.migrated.document
    assert found["total"] / sum(each["duration_s"] for each in found["partitions"]) > 50


def test_story_4_2_progress_is_logged_every_100_images_with_time_and_level(dev: DevStage) -> None:
    """4.2, criterion 9: progress lines every 100 images in migration.log."""
    dev.seed(hundred_images(250), date(2024, 3, 1))
    assert dev.imgmig("migrate").exit_code == 0
    lines = dev.log().splitlines()
    assert lines
    assert all(LOG_LINE.fullmatch(line) for line in lines)
    assert [line.partition("[INFO] ")[2] for line in lines if "Migrated" in line] == [
        "2024-03-01: Migrated 100/250 images (40.0%)",
        "2024-03-01: Migrated 200/250 images (80.0%)",
        "2024-03-01: Migrated 250/250 images (100.0%)",
    ]


def test_story_4_2_results_are_documented(hundred: HundredMigrated) -> None:
    """4.2, criterion 10: the report is there, and the log states totals, duration and success rate."""
    assert {"summary.json", "summary.md", "summary.html"} <= set(hundred.reports)
    assert all(hundred.reports.values())
    assert hundred.verified.document["verdict"] == "PASS"
    assert re.search(
        r"migration complete in \d+\.\d s: total 100, migrated 100, skipped 0, failed 0, \d+ images/s, "
        r"success rate 100\.00%",
        hundred.log,
    )


def test_stories_4_3_and_4_4_the_dev_run_of_15432_images(dev: DevStage) -> None:
    """4.3: dual-write off, 15,432 images, dry run, full migration, zero failures, summary report.
    4.4: verification of every partition with zero mismatches, equal counts, 50 spot-checked images.
    """
    dev.clear()
    assert dev.imgmig("sandbox", "seed", "--images", "15432").exit_code == 0

    planned = dev.imgmig("dry-run", "--json")
    assert planned.exit_code == 0
    assert (planned.document["rows"], planned.document["would_write"]) == (15_432, 15_432)
    assert len(planned.document["partitions"]) == 24
    assert dev.services.dynamodb.scan(TableName="images-dev", Select="COUNT", Limit=1)["Count"] == 0

    migrated = dev.imgmig("migrate", "--json")
    assert migrated.exit_code == 0
    found = migrated.document
    assert (found["total"], found["migrated"], found["skipped"], found["failed"]) == (15_432, 15_432, 0, 0)
    assert found["success_rate"] == 1.0
    assert {each["write_mode"] for each in found["partitions"]} == {"batch"}, "dual-write is off in dev"
    assert found["total"] / sum(each["duration_s"] for each in found["partitions"]) > 50
    log = dev.log().splitlines()
    assert all(LOG_LINE.fullmatch(line) for line in log)
    assert not [line for line in log if "[INFO]" not in line], "no errors"
    assert sum(" Migrated " in line for line in log) >= 15_432 // 100 - 24

    # A choice of partitions leaves the census out, which takes moto half a minute here; smaller tests take it.
    verified = dev.imgmig("verify", "--from", "2023-01-01", "--to", "2024-12-31", "--json")
    assert verified.exit_code == 0
    assert verified.document["verdicts"] == {"match": 15_432, "mismatch": 0, "missing": 0, "unverified": 0}
    assert verified.document["mismatches"] == []
    assert dev.services.dynamodb.describe_table(TableName="images-dev")["Table"]["ItemCount"] == 15_432

    drawn = dev.imgmig("spot-check", "--count", "50", "--json")
    assert (drawn.exit_code, drawn.document["images"], drawn.document["differing"]) == (0, 50, [])

    totals = orjson.loads((dev.state / "reports" / "summary.json").read_bytes())["totals"]
    assert (totals["rows"], totals["migrated"], totals["verified"], totals["in_ledger"]) == (15_432,) * 3 + (0,)
    assert "15,432" in (dev.state / "reports" / "summary.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not REAL_ROWS.is_file(), reason=f"the real rows are not at {REAL_ROWS}")
def test_the_real_rows_are_migrated_without_a_failure(dev: DevStage) -> None:
    """13,196 rows made from real image files, 6,900 of them with one `created_at`."""
    dev.clear()
    seeded = dev.imgmig("sandbox", "seed", "--csv", str(REAL_ROWS))
    assert (seeded.exit_code, seeded.stdout) == (0, "The source holds 13,196 images; partitions begin at 2020-07-01.\n")
    migrated = dev.imgmig("migrate", "--json")
    assert migrated.exit_code == 0
    found = migrated.document
    assert (found["total"], found["migrated"], found["failed"]) == (13_196, 13_196, 0)
    assert [each["partition"] for each in found["partitions"]] == ["2020-07-01", "2023-02-01"]
    assert dev.services.dynamodb.describe_table(TableName="images-dev")["Table"]["ItemCount"] == 13_196
    # Moto reads some 900 items a second: a sample here, every row by `imgmig verify`.
    drawn = dev.imgmig("spot-check", "--count", "1000", "--json")
    assert (drawn.exit_code, drawn.document["images"], drawn.document["differing"]) == (0, 1_000, [])
