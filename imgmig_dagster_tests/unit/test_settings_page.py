"""docs/settings.md holds every setting and every variable, as they are declared."""

import re

import pytest

from imgmig_dagster.stage.deprecated_variables import DEPRECATED
from imgmig_dagster.stage.sections import OTHER_VARIABLES, SECRETS, SECTIONS, keys_of
from imgmig_dagster.stage.settings import Sections
from imgmig_dagster.stage.settings_page import page
from imgmig_dagster_tests.orchestration.documents import REPOSITORY

EVERY = [(section, key) for section in SECTIONS for key in keys_of(section)]


def test_the_page_is_what_the_declarations_make() -> None:
    found = (REPOSITORY / "docs/settings.md").read_text(encoding="utf-8")

    assert found == page(), "run: .venv/bin/python -m imgmig_dagster.stage.settings_page > docs/settings.md"


@pytest.mark.parametrize(("section", "key"), EVERY)
def test_each_setting_says_its_default_or_that_it_is_required(section: str, key: str) -> None:
    declared = keys_of(section)[key]

    assert re.search(r"\bDefault|Required", declared.description)
    assert declared.is_required() <= ("Required" in declared.description)


def test_a_variable_is_deprecated_or_stays() -> None:
    assert DEPRECATED.keys().isdisjoint([*SECRETS, *OTHER_VARIABLES])


def test_what_a_deprecated_variable_sets_is_a_setting_or_is_known_beside_them() -> None:
    fields = {
        (section, key)
        for section, declared in Sections.model_fields.items()
        for key in declared.annotation.model_fields  # type: ignore[union-attr]
    }

    assert {(each.section, each.key) for each in DEPRECATED.values()} <= fields
