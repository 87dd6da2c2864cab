"""Prod is written to only where a person named the table, and only in the configured account and region."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from imgmig_dagster.errors import SettingsError, WritesRefused
from imgmig_dagster.stage.config import load_settings
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.write_guard import allow_writes
from imgmig_dagster.target.open_target import TargetSettings, WritableTarget
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.integration.aws_behind_proxy import sts_of_aws

Made = Callable[..., Settings]


@pytest.fixture
def prod(clean_environment: pytest.MonkeyPatch) -> Made:
    """Makes settings of a stage whose variables are those of a well-kept prod, but for the changes."""

    def make(stage: Stage = Stage.PROD, **changes: str) -> Settings:
        environment = {
            "IMGMIG_SOURCE_URL": "postgresql://migrator@db.internal/app?sslmode=verify-full",
            "IMGMIG_TARGET_TABLE": "images-prod",
            "IMGMIG_STATE_URL": "file:///var/lib/imgmig",
            "IMGMIG_AWS_ACCOUNT": "123456789012",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": uuid.uuid4().hex,  # a client of an earlier test would go through its proxy
            "AWS_SECRET_ACCESS_KEY": "test",
            **changes,
        }
        for name, value in environment.items():
            clean_environment.setenv(name, value)
        return load_settings(stage)

    return make


def allow(settings: Settings, confirmed: str | None) -> WritableTarget:
    return allow_writes(settings, confirmed, TargetSettings(settings.aws(), settings.target.table, IMAGE))


@pytest.mark.parametrize("confirmed", [None, "", "images-staging", "IMAGES-PROD", "yes"])
def test_writes_that_are_not_confirmed_by_the_tables_name_are_refused(prod: Made, confirmed: str | None) -> None:
    with pytest.raises(WritesRefused, match=r"not confirmed: imgmig \.\.\. --confirm images-prod") as caught:
        allow(prod(), confirmed)

    assert "IMGMIG_CONFIRM_WRITES=images-prod" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("stage", [Stage.DEV, Stage.STAGING])
def test_other_stages_need_no_confirmation(prod: Made, stage: Stage) -> None:
    allow(prod(stage), None)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"AWS_ENDPOINT_URL": "https://127.0.0.1:8000"}, "is not AWS's own"),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "https://dynamodb.example.com"}, "is not AWS's own"),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "https://amazonaws.com.example.com"}, "is not AWS's own"),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "https://dynamodb.eu-west-1.amazonaws.com"}, "is not of AWS_REGION=us-east-1"),
    ],
)
def test_an_emulators_endpoint_and_another_regions_are_refused(prod: Made, changes: dict[str, str], fault: str) -> None:
    with pytest.raises(WritesRefused, match=fault):
        allow(prod(**changes), "images-prod")


def test_plain_http_is_refused_before_anything_is_asked(prod: Made) -> None:
    with pytest.raises(SettingsError, match="this stage speaks HTTPS only"):
        allow(prod(AWS_ENDPOINT_URL="http://127.0.0.1:1"), "images-prod")


@pytest.mark.parametrize(
    ("confirmed", "changes"), [("images-prod", {}), (None, {"IMGMIG_CONFIRM_WRITES": "images-prod"})]
)
def test_confirmed_writes_to_the_configured_account_and_region_are_allowed(
    prod: Made, tmp_path: Path, confirmed: str | None, changes: dict[str, str]
) -> None:
    with sts_of_aws(tmp_path) as proxied:
        allow(prod(**proxied, **changes), confirmed)


@pytest.mark.parametrize(
    ("account", "fault"),
    [
        ("999999999999", r"the credentials are of account 123456789012, and aws_account in \[target\] is 999999999999"),
        ("", r"aws_account in \[target\] is missing"),
    ],
)
def test_another_account_and_an_unnamed_one_are_refused(prod: Made, tmp_path: Path, account: str, fault: str) -> None:
    with sts_of_aws(tmp_path) as proxied, pytest.raises(WritesRefused, match=fault):
        allow(prod(**proxied, IMGMIG_AWS_ACCOUNT=account), "images-prod")
