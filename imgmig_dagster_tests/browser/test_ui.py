"""An operator's morning in Dagster's UI: migrate, verify, meet a corruption, repair it. `make test-e2e`."""

import csv
import json
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen
from uuid import UUID

import pytest
from playwright.sync_api import Browser, expect

from imgmig_dagster_tests.browser.operator import Operator

MONTHS = 12
AT_ONCE = 4
ROWS_OF_A_MONTH = 15
HEADER = (
    "id,user_id,created_at,updated_at,original_filename,s3_key,s3_bucket,thumbnail_s3_key,mime_type,size_bytes,width,"
    "height"
)
CORRUPTED = str(UUID(int=3))


def first_of_months() -> list[datetime]:
    """The starts of the last months, the current one included: these are all the partitions there are."""
    found = [datetime.now(tz=timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0)]
    while len(found) < MONTHS:
        found.insert(0, (found[0] - timedelta(days=1)).replace(day=1))
    return found


def write_images(path: Path) -> None:
    """Rows on the first seconds of each month; the row `CORRUPTED` is of the first month."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER.split(","))
        for number, month in enumerate(first_of_months()):
            for second in range(ROWS_OF_A_MONTH):
                identifier = UUID(int=number * ROWS_OF_A_MONTH + second)
                moment = (month + timedelta(seconds=second)).isoformat()
                row = (identifier, UUID(int=1), moment, moment, f"{second}.png", f"uploads/{identifier}.png")
                writer.writerow([*row, "images-dev", "", "image/png", 1_000 + second, 640, 480])


@dataclass(frozen=True)
class Platform:
    """The sandbox, with images of four months, and Dagster's UI over it, as `make ui` starts them."""

    url: str
    dynamodb: str
    state: Path
    imgmig: Callable[..., str]

    def corrupt_width(self, row_id: str, width: int) -> None:
        """Change an item past all of our code."""
        key = {"PK": {"S": f"IMAGE#{row_id}"}, "SK": {"S": "METADATA"}}
        self.call(
            "UpdateItem",
            Key=key,
            UpdateExpression="SET width = :width",
            ConditionExpression="attribute_exists(PK)",
            ExpressionAttributeValues={":width": {"N": str(width)}},
        )

    def delete(self, row_id: str) -> None:
        """Delete an item past all of our code."""
        self.call("DeleteItem", Key={"PK": {"S": f"IMAGE#{row_id}"}, "SK": {"S": "METADATA"}})

    def call(self, operation: str, **parameters: object) -> None:
        request = Request(  # noqa: S310  # our own http
            self.dynamodb,
            json.dumps({"TableName": "images-dev", **parameters}).encode(),
            headers={
                "X-Amz-Target": f"DynamoDB_20120810.{operation}",
                "Content-Type": "application/x-amz-json-1.0",
                "Authorization": "AWS4-HMAC-SHA256 Credential=test/20250101/us-east-1/dynamodb/aws4_request",
            },
        )
        with urlopen(request, timeout=120):  # noqa: S310
            pass


@pytest.fixture(scope="module")
def platform(imgmig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("ui")

    def run(*arguments: str) -> str:
        finished = subprocess.run([imgmig, *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return finished.stdout

    try:
        run("sandbox", "start")
        write_images(folder / "images.csv")
        run("sandbox", "seed", "--csv", "images.csv")
        variables = dict(word.split("=", 1) for word in shlex.split(run("sandbox", "env")) if "=" in word)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with (folder / "ui.log").open("w") as log:
            server = subprocess.Popen([imgmig, "ui", "--port", str(port)], cwd=folder, stdout=log, stderr=log)
        try:
            _wait_until_ready(url, server, folder / "ui.log")
            state = Path(urlsplit(variables["IMGMIG_STATE_URL"]).path)
            yield Platform(url, variables["AWS_ENDPOINT_URL_DYNAMODB"], state, run)
        finally:
            server.terminate()
            assert server.wait(timeout=300) == 0, (folder / "ui.log").read_text()
    finally:
        run("sandbox", "delete", "--yes")


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 300
    while True:
        try:
            with urlopen(f"{url}/server_info", timeout=30):  # noqa: S310
                return
        except (URLError, OSError):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)


@pytest.fixture(scope="module")
def operator(platform: Platform, browser: Browser, folder: Path) -> Iterator[Operator]:
    context = browser.new_context(viewport={"width": 1_400, "height": 900})
    yield Operator(context.new_page(), platform.url, folder)
    context.close()


def statuses(runs: list[dict[str, object]]) -> list[object]:
    return [run["status"] for run in runs]


class TestAnOperatorsMorning:
    """In this order: each step begins where the one before it ended."""

    FIRST, *_, LAST = (month.date().isoformat() for month in first_of_months())

    def test_one_partition_is_migrated_to_green(self, operator: Operator) -> None:
        assert statuses(operator.launch("migrate", self.FIRST)) == ["SUCCESS"]

        page = operator.open_check("migrated_images", "every_row_is_accounted_for")
        expect(page.get_by_text("Passed", exact=True)).to_be_visible()
        expect(page.get_by_text(self.FIRST).first).to_be_visible()
        page = operator.open(f"assets/migrated_images?view=partitions&partition={self.FIRST}")
        for fact in ("rows 15", "migrated 15", "failed 0", "write_mode batch", "rate_rows_per_s"):
            expect(page.get_by_role("row", name=re.compile(f"^{fact}"))).to_be_visible()
        operator.shoot("one-partition-migrated")

    def test_a_run_terminated_half_way_shows_what_it_did_and_where_it_broke_off(
        self, platform: Platform, operator: Operator
    ) -> None:
        platform.imgmig("throttle", "--rate", "4")
        runs = operator.terminate_half_way("migrate", "migrated_images", lambda: platform.imgmig("throttle", "pause"))
        platform.imgmig("throttle", "resume", "--rate", "0")

        assert statuses(runs) == ["CANCELED"]
        done = operator.partitions("migrated_images")["numMaterialized"]
        not_begun = MONTHS - done - AT_ONCE
        assert done >= 2
        assert not_begun > 0
        operator.expect_partitions("migrated_images", failed=AT_ONCE, materialized=done)
        operator.shoot("terminated-half-way-asset")
        for check in ("every_row_is_accounted_for", "no_failed_items"):
            page = operator.open_check_partitions("migrated_images", check)
            for count in (f"Passed ({done})", f"Skipped ({AT_ONCE})", f"Missing ({not_begun})", "Failed (0)"):
                expect(page.get_by_text(count, exact=True)).to_be_visible()
            operator.shoot(f"terminated-half-way-{check}")

    def test_a_backfill_of_all_partitions_carries_its_run_config(self, operator: Operator) -> None:
        config = "ops: {migrated_images: {config: {confirm: images-dev}}}"
        runs = operator.launch("migrate", "All", config)

        assert statuses(runs) == ["SUCCESS"], "one run of all partitions"
        assert "confirm: images-dev" in runs[0]["runConfigYaml"], "what confirms a backfill of prod"
        page = operator.open("runs")
        # The run of one partition, and the backfill as a whole, on which the page looks again every 15 seconds.
        expect(page.get_by_text("Success", exact=True)).to_have_count(2, timeout=300_000)
        operator.shoot("backfill")

    def test_all_partitions_in_one_run_need_no_backfill_and_each_is_recorded(self, operator: Operator) -> None:
        runs = operator.launch_in_one_run("verify")

        assert statuses(runs) == ["SUCCESS"]
        assert {"key": "dagster/backfill"} not in runs[0]["tags"]
        operator.expect_partitions("verification_report", failed=0, materialized=MONTHS)
        page = operator.open_check_partitions("verification_report", "zero_mismatches")
        expect(page.get_by_text(f"Passed ({MONTHS})", exact=True)).to_be_visible()
        operator.shoot("all-in-one-run-check")

    def test_a_corruption_turns_the_check_red_with_key_and_field(self, platform: Platform, operator: Operator) -> None:
        platform.corrupt_width(CORRUPTED, 641)

        assert statuses(operator.launch("verify", "All")) == ["FAILURE"]

        page = operator.open("assets/verification_report?view=partitions")
        expect(page.get_by_text(f"{MONTHS} partitions").first).to_be_visible()
        operator.expect_partitions("verification_report", failed=1, materialized=MONTHS - 1)
        operator.shoot("range-with-one-red-partition-asset")
        page = operator.open_check_partitions("verification_report", "zero_mismatches")
        for count in ("Failed (1)", f"Passed ({MONTHS - 1})", "Execution Failed (0)", "Missing (0)"):
            expect(page.get_by_text(count, exact=True)).to_be_visible()
        operator.shoot("range-with-one-red-partition-check")
        assert statuses(operator.launch("verify", self.FIRST)) == ["FAILURE"]

        page = operator.open_check("verification_report", "zero_mismatches")
        expect(page.get_by_text("Failed", exact=True).first).to_be_visible()
        expect(page.get_by_text("1 of 15 rows differ and 0 are missing")).to_be_visible()
        expect(page.get_by_role("row", name=f"{CORRUPTED} mismatch width", exact=True)).to_be_visible()
        operator.shoot("check-failed")

    def test_a_repair_turns_it_green_again(self, operator: Operator) -> None:
        assert statuses(operator.launch("repair", self.FIRST)) == ["SUCCESS"]

        page = operator.open_check("verification_report", "zero_mismatches")
        expect(page.get_by_text("Passed", exact=True)).to_be_visible()
        expect(page.get_by_text(self.FIRST).first).to_be_visible()
        operator.expect_partitions("verification_report", failed=0, materialized=MONTHS)
        operator.shoot("repaired")

    def test_a_later_migration_takes_the_green_from_what_was_verified(
        self, platform: Platform, operator: Operator
    ) -> None:
        platform.delete(CORRUPTED)
        assert statuses(operator.launch("migrate", self.FIRST)) == ["SUCCESS"], "it writes the item again"

        operator.expect_partitions("verification_report", failed=1, materialized=MONTHS - 1)
        operator.shoot("evidence-invalidated-asset")
        operator.expect_partitions("migrated_images", failed=0, materialized=MONTHS)

        assert statuses(operator.launch("verify", self.FIRST)) == ["SUCCESS"]
        operator.expect_partitions("verification_report", failed=0, materialized=MONTHS)

    def test_a_partition_that_fails_is_told_apart_from_a_red_one(self, platform: Platform, operator: Operator) -> None:
        checkpoint = platform.state / "dev" / "images" / self.LAST / "migration-progress.json"
        checkpoint.write_text("{torn")
        assert statuses(operator.launch("migrate", "All")) == ["FAILURE"]
        checkpoint.unlink()

        page = operator.open_check_partitions("migrated_images", "every_row_is_accounted_for")
        for count in ("Failed (0)", f"Passed ({MONTHS - 1})", "Execution Failed (1)", "Missing (0)"):
            expect(page.get_by_text(count, exact=True)).to_be_visible()
        operator.shoot("range-with-one-failed-partition")

    def test_schedules_and_sensors_are_listed_with_what_they_do(self, operator: Operator) -> None:
        page = operator.open("automation")
        for name in (
            *("verify_changed", "verify_all", "census_weekly", "spot_check_daily"),
            *("alert_failed_runs", "alert_failed_checks", "alert_failure_ledgers", "alert_stale_evidence"),
        ):
            expect(page.get_by_text(name, exact=True)).to_be_visible()
        operator.shoot("automation")
