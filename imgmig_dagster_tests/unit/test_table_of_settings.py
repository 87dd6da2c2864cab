"""The table in docs/settings.md and the settings are the same."""

import re

from imgmig_dagster.config import Settings
from imgmig_dagster_tests.orchestration.documents import REPOSITORY

OUTSIDE_OF_SETTINGS = {"DAGSTER_HOME", "IMGMIG_SANDBOX_DIR"}


def test_every_setting_is_in_the_document_once_and_nothing_else_is() -> None:
    text = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| (`[A-Z_`, ]+`) \|", text, re.MULTILINE)
    documented = [name for cell in first_cells for name in re.findall(r"`([A-Z_]+)`", cell)]

    names = [name for name in Settings.model_fields if not name.startswith("aws_")]
    settings = ["STAGE" if name == "stage" else f"IMGMIG_{name.upper()}" for name in names]
    assert sorted(documented) == sorted([*settings, "IMGMIG_AWS_ACCOUNT", *OUTSIDE_OF_SETTINGS])
