"""Repair and certificates from the command line, and repair as a job."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from imgmig_dagster.state.records import load_record, save_record
from imgmig_dagster.verification.verification_result import VerificationResult
from imgmig_dagster_tests.arrange import item_of, row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy
from imgmig_dagster_tests.orchestration.arrange import APRIL, MARCH, Platform, checks_of, images_of, metadata_of
from imgmig_dagster_tests.orchestration.commands import CommandServer, Imgmig


@pytest.fixture
def damaged(platform: Platform) -> Platform:
    """Two months, migrated; one item of March changed, one of April lost, and an orphan."""
    platform.source.insert([*images_of(3, range(5)), *images_of(4, range(10, 15))])
    for partition in (MARCH, APRIL):
        platform.succeed("migrate", partition)
    platform.change_item(2, "width", {"N": "1"})
    platform.target.delete(11)
    platform.target.put(item_of(77))
    return platform


def test_a_repair_is_told_then_applied_and_the_certificates_say_what_it_changed(
    damaged: Platform, imgmig: Imgmig, proxy: FaultProxy
) -> None:
    assert imgmig("verify").exit_code == 1
    direct = damaged.environment["AWS_ENDPOINT_URL_DYNAMODB"]
    damaged.through(proxy.url)
    told = imgmig("repair", "--delete-orphans")
    assert told.exit_code == 1
    assert f"{MARCH}: {row_id(2)}: would be updated" in told.stdout
    assert f"{APRIL}: {row_id(11)}: would be inserted" in told.stdout
    assert f"orphan: {row_id(77)}: would be deleted" in told.stdout
    assert "Nothing was written: --apply writes." in told.stdout
    assert proxy.writes == []
    damaged.through(direct)

    applied = imgmig("repair", "--apply", "--json")
    assert applied.exit_code == 1, "the orphan is still there"
    found = applied.document
    assert [each["outcomes"] for each in found["partitions"]] == [{row_id(2): "updated"}, {row_id(11): "inserted"}]
    assert found["verification"]["verdicts"] == {"match": 10, "mismatch": 0, "missing": 0, "unverified": 0}
    assert found["orphans"] == [row_id(77)]
    assert damaged.target.item(77) is not None

    deleted = imgmig("repair", "--apply", "--delete-orphans", "--json")
    assert deleted.exit_code == 0
    assert deleted.document["orphan_repair"]["outcomes"] == {row_id(77): "deleted"}
    assert len(damaged.target.items()) == 10
    changed = imgmig("certificate", "diff", "--json")
    assert changed.exit_code == 1
    assert {"where": "census", "what": "orphans", "before": 1, "after": 0} in changed.document["changes"]
    shown = imgmig("certificate", "show")
    assert shown.exit_code == 1, "no person has reviewed a spot check"
    assert "before cutover: There is no spot check" in shown.stdout
    kept = sorted((Path(damaged.state.locate("certificates"))).iterdir())
    unchanged = imgmig("certificate", "diff", str(kept[-1]), "latest")
    assert (unchanged.exit_code, unchanged.stdout) == (0, "Nothing changed.\n")
    kept[-1].write_bytes(kept[-1].read_bytes().replace(b'"NOT READY"', b'"READY"'))
    refused = imgmig("certificate", "show", str(kept[-1]))
    assert refused.exit_code == 2
    assert "was altered since it was written" in refused.stderr
    assert imgmig("report").exit_code == 0, "the census was taken again"
    assert imgmig("repair").stdout == "Nothing to repair.\n"


def test_the_job_repairs_and_verifies_those_keys_again(damaged: Platform) -> None:
    assert not damaged.run("verify", MARCH).success
    told = metadata_of(damaged.succeed("plan_repair", MARCH), "repair_report")
    assert (told["applied"], told["each_key"]) == (False, [{"key": row_id(2), "outcome": "would be updated"}])
    assert damaged.target.item(2) != item_of(2)

    result = damaged.succeed("repair", MARCH)

    assert metadata_of(result, "repair_report")["applied"] is True
    verified = metadata_of(result, "verification_report")
    assert verified["match"] == 5
    assert "rate_rows_per_s" not in verified, "only one row was looked at"
    found = {check.check_name: (check.passed, check.blocking, check.partition) for check in checks_of(result).values()}
    assert found == {
        "every_fault_is_repaired": (True, False, MARCH),
        "zero_mismatches": (True, True, MARCH),
        "coverage_is_complete": (True, True, MARCH),
        "timestamps_are_exact": (True, False, MARCH),
    }


def test_a_dry_repair_and_one_that_repaired_nothing_are_not_plain_green(damaged: Platform) -> None:
    damaged.change_item(2, "updatedAt", {"S": "2031-01-01T00:00:00.000Z"})
    damaged.change_item(3, "width", {"N": "1"})
    assert not damaged.run("verify", MARCH).success
    newer = "1 newer in the target, left alone; --source-wins (in run config: source_wins) overwrites it"

    told = checks_of(damaged.succeed("plan_repair", MARCH))["every_fault_is_repaired"]
    repaired = checks_of(damaged.run("repair", MARCH))["every_fault_is_repaired"]

    assert [(each.passed, each.severity) for each in (told, repaired)] == [(False, dg.AssetCheckSeverity.WARN)] * 2
    assert str(told.description).startswith(
        f"Nothing was written: this was a dry run. 2 of 2 keys left: {newer}; 1 would be updated. Next: `imgmig repair "
    )
    assert str(repaired.description).startswith(f"1 of 2 keys left: {newer}. Next: `imgmig repair ")
    assert "--source-wins" in str(repaired.description)


def test_orphans_are_deleted_from_the_ui_only_by_their_number(damaged: Platform) -> None:
    def delete(**config: object) -> dg.ExecuteInProcessResult:
        return damaged.run("delete_orphans", config={"orphan_report": config})

    damaged.succeed("census")
    told = metadata_of(delete(apply=False), "orphan_report")
    assert told["each_key"] == [{"key": row_id(77), "outcome": "would be deleted"}]

    for config in (dict[str, str](), {"census": "another one"}):
        assert not delete(apply=True, **config).success, "one click deletes nothing"
        assert damaged.target.item(77) is not None
    left = checks_of(delete(apply=True, confirm_deletes=2))
    assert not left["every_orphan_is_deleted"].passed
    assert damaged.target.item(77) is not None

    done = delete(apply=True, confirm_deletes=1)
    assert checks_of(done)["every_orphan_is_deleted"].passed
    assert damaged.target.item(77) is None


def test_faults_beyond_the_end_of_an_earlier_versions_list_are_said(damaged: Platform, imgmig: Imgmig) -> None:
    assert not damaged.run("verify", MARCH).success
    evidence = load_record(damaged.state, f"{MARCH}/evidence.json", VerificationResult)
    assert evidence
    save_record(damaged.state, f"{MARCH}/evidence.json", replace(evidence, mismatches_found=12_000, segments=""))

    told = imgmig("repair", "--partition", MARCH)

    assert f"{MARCH}: {row_id(2)}: would be updated" in told.stdout
    assert f"{MARCH}: 11,999 more were found than are listed: verify, and repair again" in told.stdout


def test_the_report_is_opened_in_a_browser(damaged: Platform, commands: CommandServer, tmp_path: Path) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}\n')
    browser.chmod(0o755)

    finished = commands.run(
        "report", "--open", environment={**damaged.environment, "BROWSER": f"{browser} %s"}, folder=tmp_path
    )

    assert finished.exit_code == 1, "nothing is verified"
    assert "No browser" not in finished.stdout + finished.stderr, finished.stdout + finished.stderr
    assert opened.read_text() == Path(damaged.state.locate("reports/summary.html")).as_uri()


def test_orphans_belong_to_no_partition(platform: Platform, imgmig: Imgmig) -> None:
    platform.source.insert(images_of(3, [1]))
    refused = imgmig("repair", "--delete-orphans", "--partition", MARCH)
    assert refused.exit_code == 2
    assert "leave out --partition" in refused.stderr


def test_verify_looks_again_only_at_what_failed(damaged: Platform, imgmig: Imgmig, proxy: FaultProxy) -> None:
    assert imgmig("verify", "--partition", MARCH).exit_code == 1
    damaged.through(proxy.url)
    assert imgmig("verify", "--partition", MARCH, "--only-failed").exit_code == 1
    assert {identifier for call in proxy.of("BatchGetItem") for identifier in call.ids} == {row_id(2)}
