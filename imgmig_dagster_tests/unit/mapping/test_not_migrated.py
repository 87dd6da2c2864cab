"""What is declared of a source's columns: mapped, ignored with a reason, or neither."""

import pytest

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.mapping.described import markdown_table
from imgmig_dagster.mapping.ignored_columns import listed, parse_ignored
from imgmig_dagster.mapping.not_migrated import NotMigrated
from imgmig_dagster_tests.images import IMAGE


def test_ignoring_a_column_changes_no_comparison() -> None:
    assert IMAGE.ignoring({"caption": "never shown"}).fingerprint() == IMAGE.fingerprint() == "e995c0c05bb1debb"


def test_further_columns_add_to_those_of_the_declaration() -> None:
    found = IMAGE.ignoring({"caption": "never shown"}).ignoring({"alt": "empty"}).not_migrated(["id", "alt", "x"])

    assert found == NotMigrated(("x",), {"alt": "empty"}, ("caption",))


def test_a_mapped_column_cannot_be_ignored() -> None:
    with pytest.raises(SettingsError, match="`ignored` in the declaration names width, id, which the mapping carries"):
        IMAGE.ignoring({"width": "computed", "caption": "never shown", "id": "a number"})


def test_the_documented_table_names_the_ignored_ones() -> None:
    assert "| `caption` | ignored: never shown |" in markdown_table(IMAGE.ignoring({"caption": "never shown"}))
    assert "ignored" not in markdown_table(IMAGE)


def test_names_that_are_not_plain_are_quoted_and_stay_on_one_line() -> None:
    assert listed(["caption", "Width", "a\nb", 'say "x"', "größe"]) == (
        'caption, "Width", "a\\nb", "say \\"x\\"", "größe"'
    )


def test_the_remedy_is_what_the_setting_takes_once_the_reasons_are_filled_in() -> None:
    found = NotMigrated(unmapped=('say "x"', "caption"))
    _, setting, value = found.remedy.partition(" ignored: ")

    assert setting
    with pytest.raises(ValueError, match="it gives no reason for"):
        parse_ignored(value)
    assert parse_ignored(value.replace("<why>", "empty")) == {'say "x"': "empty", "caption": "empty"}


def test_a_reason_stays_on_one_line() -> None:
    assert parse_ignored('{"caption": " never\\n shown "}') == {"caption": "never shown"}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("caption", "no JSON from character 1 on"),
        ('{"caption": "never shown"', "no JSON from character 26 on"),
        ('["caption"]', "must be a JSON object"),
        ('[["caption", "never shown"]]', "must be a JSON object"),
        ('{"caption": null}', "must be a JSON object"),
        ('{"caption": {"why": "never shown"}}', "must be a JSON object"),
        ('{"caption": ""}', "no reason for caption"),
        ('{"caption": "  "}', "no reason for caption"),
        ('{"": "never shown"}', 'no reason for ""'),
        ('{"caption": "one", "caption": "other"}', "names caption twice"),
    ],
)
def test_a_setting_that_cannot_be_is_told_from_the_others(value: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_ignored(value)
