"""A column of the source is migrated, or ignored for a reason that everybody can read: never dropped in silence."""

import json
from pathlib import Path

import pytest

from imgmig_dagster.reporting.certificate_file import parse
from imgmig_dagster.state import names
from imgmig_dagster_tests.orchestration.arrange import (
    MARCH,
    Platform,
    checks_of,
    facts_of,
    images_of,
    metadata_of,
    saved_review,
    verdicts_of,
)
from imgmig_dagster_tests.orchestration.commands import Imgmig

IGNORED = "IMGMIG_IGNORED_COLUMNS"
FAULT = "2 columns of the source are neither mapped nor ignored: caption, deleted_at"


@pytest.fixture
def extended(platform: Platform) -> Platform:
    """Five rows with two columns that no item carries."""
    platform.source.execute("ALTER TABLE {t} ADD caption text, ADD deleted_at timestamptz")
    platform.source.insert(images_of(3, range(5)))
    platform.source.execute("UPDATE {t} SET caption = 'Anna on the beach', deleted_at = '2024-05-01Z'")
    return platform


def ignore(platform: Platform, **reasons: str) -> None:
    platform.set(**{IGNORED: json.dumps(reasons)})


def test_columns_that_nobody_declared_turn_the_verdict_to_fail_until_each_has_a_reason(
    extended: Platform, imgmig: Imgmig
) -> None:
    assert imgmig("migrate").exit_code == 0
    verified = imgmig("verify", "--json")
    assert (verified.exit_code, verified.document["verdict"]) == (1, "FAIL")
    shown = imgmig("report")
    assert shown.exit_code == 1
    assert f"blocked by: {FAULT}" in shown.stdout
    assert 'ignored: {"caption": "<why>", "deleted_at": "<why>"}' in shown.stdout

    ignore(extended, caption="never shown", deleted_at="the trash is emptied first")

    # Evidence is of what is compared: naming a column costs no other look.
    assert imgmig("report").exit_code == 0
    ignore(extended, caption="never shown")
    assert "1 column of the source is neither mapped nor ignored: deleted_at" in imgmig("report").stdout


def test_a_certificate_fails_over_a_column_that_was_added_since_the_last_one(
    platform: Platform, imgmig: Imgmig
) -> None:
    platform.source.insert(images_of(3, range(5)))
    assert imgmig("migrate").exit_code == 0
    assert imgmig("verify").exit_code == 0
    assert imgmig("spot-check", "--count", "5").exit_code == 0
    review = Path(platform.state.locate("review"))
    review.write_text(json.dumps(saved_review(platform.state, "dev")))
    assert imgmig("spot-check", "--review", str(review)).exit_code == 0
    assert verdicts_of(platform.run("report"))["ready_for_cutover"]
    assert imgmig("certificate", "show").exit_code == 0

    # In this process the definitions were loaded before: the look at the table is of each certificate.
    platform.source.execute("ALTER TABLE {t} ADD alt_text text")

    result = platform.run("report")
    assert not verdicts_of(result)["ready_for_cutover"]
    assert "1 column of the source is neither mapped nor ignored: alt_text" in (
        checks_of(result)["ready_for_cutover"].description or ""
    )
    assert facts_of(result, "ready_for_cutover")["columns_not_migrated"] == [
        {"column": "alt_text", "treatment": "neither mapped nor ignored", "reason": ""}
    ]
    assert metadata_of(result, "migration_report")["verdict"] == "FAIL"
    shown = imgmig("certificate", "show")
    assert shown.exit_code == 1
    assert "alt_text" in shown.stdout
    assert "columns not migrated" in imgmig("certificate", "diff").stdout


@pytest.mark.parametrize("command", ["dry-run", "migrate", "verify", "report"])
def test_every_command_lists_what_is_left_behind(extended: Platform, imgmig: Imgmig, command: str) -> None:
    ignore(extended, caption="never shown, dropped in 2023")

    finished = imgmig(command)

    assert "ignored column caption: never shown, dropped in 2023" in finished.stdout
    assert "1 column of the source is neither mapped nor ignored: deleted_at" in finished.stdout


@pytest.mark.parametrize("command", ["dry-run", "migrate", "verify"])
def test_a_choice_of_partitions_lists_them_too_for_people_and_machines(
    extended: Platform, imgmig: Imgmig, command: str
) -> None:
    ignore(extended, caption="never shown")
    assert imgmig("migrate").exit_code == 0

    finished = imgmig(command, "--partition", MARCH)

    # A verification that would pass does not, where a column would be lost.
    assert finished.exit_code == (1 if command == "verify" else 0)
    assert "1 column of the source is neither mapped nor ignored: deleted_at" in finished.stdout
    assert imgmig(command, "--partition", MARCH, "--json").document["columns"] == {
        "unmapped": ["deleted_at"],
        "ignored": {"caption": "never shown"},
        "absent": [],
    }


def test_every_form_of_the_report_and_the_certificate_name_each_column_and_its_reason(
    extended: Platform, imgmig: Imgmig
) -> None:
    extended.source.execute('ALTER TABLE {t} ADD "<b>=1" text')
    ignore(extended, caption="never shown | <i>dropped</i>")
    assert imgmig("report").exit_code == 1

    def content(name: str) -> str:
        found = extended.state.read(names.report(name))
        assert found
        return found.content.decode()

    assert json.loads(content(names.SUMMARY_JSON))["facts"]["columns"] == {
        "unmapped": ["deleted_at", "<b>=1"],
        "ignored": {"caption": "never shown | <i>dropped</i>"},
        "absent": [],
    }
    assert content(names.COLUMNS_TABLE).splitlines() == [
        "column,treatment,reason",
        "deleted_at,unmapped,",
        "<b>=1,unmapped,",
        "caption,ignored,never shown | <i>dropped</i>",
    ]
    for name in (names.SUMMARY_HTML, names.SUMMARY_MARKDOWN):
        assert "<b>" not in content(name)
        assert "<i>" not in content(name)
        assert "deleted_at" in content(name).replace("\\_", "_")
        assert "never shown" in content(name)
    certificate = parse("certificate", content(names.CERTIFICATE).encode()).certificate
    assert certificate.verdict == "FAIL"
    assert certificate.columns.unmapped == ("deleted_at", "<b>=1")
    assert certificate.columns.ignored == {"caption": "never shown | <i>dropped</i>"}
    assert "ignored column caption: never shown" in imgmig("certificate", "show").stdout


def test_dagster_says_it_of_the_source_and_migrates_all_the_same(extended: Platform) -> None:
    ignore(extended, caption="never shown")

    result = extended.succeed("migrate", MARCH)

    assert not verdicts_of(result)["columns_are_declared"]
    assert "deleted_at" in (checks_of(result)["columns_are_declared"].description or "")
    assert facts_of(result, "columns_are_declared")["columns_not_migrated"] == [
        {"column": "deleted_at", "treatment": "neither mapped nor ignored", "reason": ""},
        {"column": "caption", "treatment": "ignored", "reason": "never shown"},
    ]
    ignore(extended, caption="never shown", deleted_at="emptied")
    assert verdicts_of(extended.succeed("migrate", MARCH))["columns_are_declared"]


def test_the_doctor_names_them_and_names_that_no_table_has(extended: Platform, imgmig: Imgmig) -> None:
    ignore(extended, Caption="never shown")

    found = imgmig("doctor").stdout

    assert f"FAIL  PostgreSQL, columns: {FAULT}" in found
    ignore(extended, caption="never shown", deleted_at="emptied", Caption="a slip")
    found = imgmig("doctor").stdout
    assert "WARN  PostgreSQL, columns: ignored: caption (never shown); deleted_at (emptied)" in found
    assert 'ignored, and not in the source: "Caption"' in found
    ignore(extended, caption="never shown", deleted_at="emptied")
    assert "OK    PostgreSQL, columns: ignored: caption (never shown); deleted_at (emptied)" in imgmig("doctor").stdout


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ('{"width": "computed"}', "`ignored` in the declaration names width, which the mapping carries"),
        ('{"id": "a number"}', "`ignored` in the declaration names id, which the mapping carries"),
        ('{"caption": " "}', "it gives no reason for caption"),
        ('{"caption": "<why>"}', "it gives no reason for caption"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_one_line(
    extended: Platform, imgmig: Imgmig, setting: str, fault: str
) -> None:
    extended.set(**{IGNORED: setting})

    finished = imgmig("migrate")

    assert finished.exit_code == 2
    assert fault in finished.stderr
    assert extended.target.items() == {}
