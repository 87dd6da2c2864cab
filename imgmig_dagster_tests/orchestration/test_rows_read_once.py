"""The inventory, the plan and the items of one run come of one reading of the rows, where one pass can serve them."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record
from imgmig_dagster.steps.inventory import SourceInventory
from imgmig_dagster_tests.arrange import image, row_id
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform

UNMAPPABLE = {"null_in_required_field": 1, "timestamp_out_of_range": 1}


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the rows that pages held, in the order in which they were read."""
    found: list[str] = []
    pages = SourceReader.pages

    def read(*arguments: Any) -> Iterator[Any]:
        for page in pages(*arguments):
            found.extend(row.id for row in page)
            yield page

    monkeypatch.setattr(SourceReader, "pages", read)
    return found


def inventory(platform: Platform) -> SourceInventory:
    found = load_record(platform.state, names.inventory(MARCH), SourceInventory)
    assert found
    return found


@pytest.mark.parametrize("job", ["migrate", "dry_run"])
def test_a_run_reads_each_row_once_and_its_inventory_names_what_cannot_be_mapped(
    platform: Platform, rows_read: list[str], job: str
) -> None:
    platform.source.insert(image(number) for number in range(20))
    platform.source.insert([image(30, mime_type=None), image(31, updated_at="infinity")])

    platform.succeed(job, MARCH)

    assert sorted(rows_read) == sorted(row_id(number) for number in [*range(20), 30, 31])
    found = inventory(platform)
    assert (found.rows, found.rejected_by_code) == (22, UNMAPPABLE)
    assert {(each.row_id, each.field) for each in found.rejections} == {
        (row_id(30), "mime_type"),
        (row_id(31), "updated_at"),
    }


def test_a_pass_that_stops_and_one_that_resumes_leave_the_whole_list(platform: Platform, rows_read: list[str]) -> None:
    platform.set(IMGMIG_PAGE_SIZE="50")
    platform.source.insert(image(number, mime_type=None) for number in range(110))
    platform.source.insert(image(number) for number in range(110, 400))
    platform.source.insert([image(400, updated_at="infinity")])

    assert not platform.run("migrate", MARCH).success
    whole = {"null_in_required_field": 110, "timestamp_out_of_range": 1}
    assert inventory(platform).rejected_by_code == whole

    platform.state.delete(names.inventory(MARCH))
    rows_read.clear()
    platform.succeed("migrate", MARCH)
    assert inventory(platform).rejected_by_code == whole
    assert row_id(400) in rows_read
    assert row_id(0) not in rows_read, "the pass resumed"
    assert len(platform.target.items()) == 290


def test_the_source_is_looked_at_without_any_way_to_the_target(platform: Platform) -> None:
    platform.source.insert([image(1), image(2, mime_type=None)])
    platform.set(AWS_ENDPOINT_URL_DYNAMODB="http://127.0.0.1:9", AWS_EC2_METADATA_DISABLED="true")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        platform.monkeypatch.delenv(variable)
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        platform.set(**{variable: "/nowhere"})

    result = platform.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=[dg.AssetKey("source_images")], partition_key=MARCH, instance=platform.instance
    )

    assert result.success
    assert (inventory(platform).rows, inventory(platform).rejected) == (2, 1)
