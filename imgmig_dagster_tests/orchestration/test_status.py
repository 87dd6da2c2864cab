"""What `imgmig status` says of evidence: the truth of this moment, by the rule of the report."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imgmig_dagster_tests.conftest import create_table
from imgmig_dagster_tests.orchestration.arrange import APRIL, MARCH, Platform, images_of
from imgmig_dagster_tests.orchestration.commands import Imgmig


@pytest.fixture
def verified(platform: Platform, imgmig: Imgmig) -> Platform:
    """Two partitions, migrated and verified, and a census of them."""
    platform.source.insert([*images_of(3, range(5)), *images_of(4, range(10, 15))])
    assert imgmig("migrate").exit_code == 0
    assert imgmig("verify").exit_code == 0
    return platform


def verdicts(imgmig: Imgmig) -> list[str]:
    """The verdict of each partition, and last of all of them."""
    found = imgmig("status", "--json")
    assert found.exit_code == 0
    return [*(each["verdict"] for each in found.document["partitions"]), found.document["verdict"]]


def migrate_a_changed_row(platform: Platform, imgmig: Imgmig) -> None:
    platform.source.update(1, width=1, updated_at="2024-12-01T00:00:00Z")
    assert imgmig("migrate", "--partition", MARCH).exit_code == 0


def interrupt_a_pass(platform: Platform, _imgmig: Imgmig) -> None:
    platform.state.write(f"{MARCH}/migration-progress.json", b"{torn")


def add_a_row(platform: Platform, _imgmig: Imgmig) -> None:
    platform.source.insert(images_of(3, [7]))


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (migrate_a_changed_row, "a migration wrote after it began"),
        (interrupt_a_pass, "a migration pass was begun and has not finished"),
        (add_a_row, "the window had 5 rows, and has 6 now"),
    ],
)
def test_a_partition_whose_evidence_no_longer_counts_is_no_pass(
    verified: Platform, imgmig: Imgmig, happens: Callable[[Platform, Imgmig], None], why: str
) -> None:
    assert verdicts(imgmig) == ["PASS", "PASS", "PASS"]
    happens(verified, imgmig)
    assert verdicts(imgmig) == ["NOT VERIFIED", "PASS", "NOT VERIFIED"]
    told = " ".join(imgmig("status").stdout.split())
    assert why in told
    assert f"imgmig verify --partition {MARCH} --stage dev" in told
    assert "Verdict: NOT VERIFIED. Cutover: NOT READY" in told


def test_a_new_table_under_the_old_name_has_no_evidence(verified: Platform, imgmig: Imgmig) -> None:
    verified.target.client.delete_table(TableName=verified.target.name)
    create_table(verified.target.client, verified.target.name)
    assert verdicts(imgmig) == ["NOT VERIFIED", "NOT VERIFIED", "NOT VERIFIED"]


def test_it_says_as_of_when_it_speaks_and_of_what_it_was_not_told(verified: Platform, imgmig: Imgmig) -> None:
    told = " ".join(imgmig("status").stdout.split())
    assert "Verdict: PASS. Cutover: NOT READY. As of 20" in told
    assert "rows counted, the target asked" in told
    assert "before cutover: There is no spot check" in told

    verified.through("http://127.0.0.1:9")
    away = imgmig("status", "--json")
    assert away.exit_code == 3
    assert (away.document["verdict"], away.document["target_asked"]) == ("NOT VERIFIED", False)
    assert [each["verdict"] for each in away.document["partitions"]] == ["PASS", "PASS"], "as of their verification"
    told = " ".join(imgmig("status").stdout.split())
    assert "the target was not asked, so that each verdict is of when it was verified" in told
    assert "error: " in told


def test_a_fault_that_was_found_is_fail_and_an_unverified_partition_is_named(
    verified: Platform, imgmig: Imgmig
) -> None:
    verified.change_item(1, "width", {"N": "1"})
    assert imgmig("verify", "--partition", MARCH).exit_code == 1
    verified.source.insert(images_of(5, [20]))
    assert verdicts(imgmig) == ["FAIL", "PASS", "NOT VERIFIED", "FAIL"]
    found = imgmig("status", "--json").document
    assert [each["partition"] for each in found["partitions"]] == [MARCH, APRIL, "2024-05-01"]
    assert found["partitions"][2]["blockers"][0].startswith("Partition 2024-05-01 was not migrated (1 rows): imgmig")


def test_partitions_can_be_chosen_and_each_says_whether_it_was_ever_verified(
    verified: Platform, imgmig: Imgmig
) -> None:
    migrate_a_changed_row(verified, imgmig)
    verified.source.insert(images_of(5, [20]))
    found = imgmig("status", "--partition", "2024-03-31", "--partition", "2024-05-01", "--json").document
    assert [(each["partition"], each["state"]) for each in found["partitions"]] == [
        (MARCH, "STALE"),
        ("2024-05-01", "NONE"),
    ]
    assert found["next"] == "imgmig migrate --partition 2024-05-01 --stage dev"
    told = imgmig("status", "--from", MARCH, "--to", APRIL).stdout.splitlines()
    assert [line.split()[-1] for line in told[1:3]] == ["STALE", "PASS"]
    assert told[-1] == f"next: {found['next']}"


def test_it_neither_imports_dagster_nor_needs_its_storage(verified: Platform, tmp_path: Path) -> None:
    """Dagster takes longer to import than a status takes, and its storage may be away when a person looks."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("storage: {postgres: {postgres_url: 'postgresql://x@127.0.0.1:1/dagster'}}\n")
    verified.set(DAGSTER_HOME=str(home))
    command = [sys.executable, "-X", "importtime", "-c", "from imgmig_dagster.cli import main; main()", "status"]

    found = subprocess.run(command, env=verified.environment, cwd=tmp_path, check=False, capture_output=True, text=True)

    assert "Verdict: PASS" in found.stdout
    imported = [line.rpartition("|")[2].strip() for line in found.stderr.splitlines()]
    assert "imgmig_dagster.cli.status" in imported
    assert [name for name in imported if name.partition(".")[0] == "dagster"] == []
