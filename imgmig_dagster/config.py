"""Stages and their settings: the only module that reads the environment. Reading them starts nothing.

The words that settings choose from are in `stage`; `sandbox.attaching` starts what the stage dev uses by default.
"""

import os
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings

from imgmig_dagster.aws_settings import AwsSettings
from imgmig_dagster.errors import ImgmigError, SandboxNotRunning, SettingsError
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.metrics_settings import MetricsSettings
from imgmig_dagster.places import Places
from imgmig_dagster.source_secret import SourceSecret
from imgmig_dagster.stage import PictureMode, Stage, WriteMode, parse_stage
from imgmig_dagster.table_settings import TableSettings
from imgmig_dagster.transport import (
    LOOPBACK_NAMES,
    endpoint_is_allowed,
    foreign_parameters,
    source_is_allowed,
    source_url_fault,
)

SANDBOX_VARIABLES: Final = "sandbox.env"
"""The file of variables that a sandbox writes into its folder."""

# What makes a stage point at services of its own. With none of them set, dev attaches to the sandbox.
_LOCATIONS: Final = ("IMGMIG_SOURCE_URL", "IMGMIG_SOURCE_SECRET", "IMGMIG_TARGET_TABLE", "IMGMIG_STATE_URL")

_SHOWN: Final = (
    "source_time_zone",
    "target_table",
    "state_url",
    "reports_url",
    "export_url",
    "signing_key",
    "dual_write",
    "write_mode",
    "force_batch",
    "partition_grain",
    "partition_start",
    "page_size",
    "requests_in_flight",
    "write_rate",
    "settle_seconds",
    "show_values",
    "spot_check_pictures",
    "allow_insecure",
    "aws_account",
    "aws_region",
    "aws_endpoint_url",
    "aws_endpoint_url_dynamodb",
)


class Settings(TableSettings, AwsSettings):
    """Everything that one stage needs, from IMGMIG_* and AWS's own variables or from ``.env.<stage>``."""

    source_url: SecretStr = Field(description="libpq URL of the PostgreSQL primary")
    source_secret: str | None = Field(None, description="secret of AWS Secrets Manager with user and password")
    source_time_zone: str = Field("UTC", description="IANA zone of timestamps without one in the source")
    target_table: str = Field(min_length=3, description="name of the DynamoDB table")
    state_url: str = Field(description="where checkpoints, ledgers, evidence and reports live: file:///... or s3://...")
    dual_write: bool = Field(description="whether the application writes to both sides meanwhile")
    write_mode: WriteMode = Field(description="conditional where dual_write is on, else batch")
    force_batch: str | None = Field(None, description="name of the target table: batch despite dual_write")
    page_size: int = Field(1_000, ge=1, le=1_000, description="rows of a page; checkpoints lie on page ends")
    requests_in_flight: int = Field(64, ge=1, le=200, description="ceiling of a run's concurrent requests to DynamoDB")
    write_rate: float | None = Field(
        None, gt=0, description="ceiling in capacity units per second of all runs together"
    )
    settle_seconds: float = Field(ge=0, le=60, description="wait before a difference is judged again")
    show_values: bool = Field(False, description="values in failure ledgers, reports and the audit record")
    spot_check_pictures: PictureMode = Field(PictureMode.EMBEDDED, description="embedded, or link")
    alert_webhook: SecretStr | None = Field(None, description="URL that takes Slack's JSON, for the alerts")
    ui_url: str = Field("http://127.0.0.1:3000", description="where people open Dagster's UI, for links in alerts")
    reports_url: str | None = Field(None, description="where reports are published besides: s3://bucket/prefix")
    export_url: str | None = Field(
        None, description="where DynamoDB exports the table for the census: s3://bucket/prefix"
    )
    signing_key: str | None = Field(None, description="key of AWS KMS that signs certificates: ARN, id or alias/NAME")
    aws_account: str | None = Field(None, pattern=r"^\d{12}$", description="account of the table; needed in prod")
    confirm_writes: str | None = Field(None, description="name of the target table: writes in prod are confirmed")

    @field_validator("source_url")
    @classmethod
    def _is_url(cls, value: SecretStr) -> SecretStr:
        if fault := source_url_fault(value.get_secret_value()):
            raise ValueError(fault)
        return value

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_stage(cls, values: dict[str, Any]) -> dict[str, Any]:
        dual_write = values.setdefault("dual_write", values.get("stage") is not Stage.DEV)
        quiet = str(dual_write).lower() in ("false", "0", "no", "off")
        values.setdefault("write_mode", WriteMode.BATCH if quiet else WriteMode.CONDITIONAL)
        # Nothing moves where nobody else writes: there is nothing to wait for.
        values.setdefault("settle_seconds", 0.0 if quiet else 2.0)
        return values

    @model_validator(mode="after")
    def _batch_only_without_dual_write(self) -> "Settings":
        if self.write_mode is WriteMode.BATCH and self.dual_write and self.force_batch != self.target_table:
            raise ValueError(
                "IMGMIG_WRITE_MODE=batch replaces items that appear between look and write, which can undo what the "
                "application wrote while IMGMIG_DUAL_WRITE is on; use conditional, or force it with "
                "IMGMIG_FORCE_BATCH=<target table>"
            )
        return self

    @model_validator(mode="after")
    def _webhook_by_tls(self) -> "Settings":
        if self.alert_webhook and not endpoint_is_allowed(self.alert_webhook.get_secret_value(), self.plain_traffic):
            raise ValueError(
                "IMGMIG_ALERT_WEBHOOK must be an https:// URL: it is a secret itself, and alerts name keys; outside of "
                "prod IMGMIG_ALLOW_INSECURE=loopback allows plain HTTP on loopback"
            )
        return self

    @model_validator(mode="after")
    def _source_by_tls(self) -> "Settings":
        url = self.source_url.get_secret_value()
        if not source_is_allowed(url, self.plain_traffic):
            raise ValueError(
                "IMGMIG_SOURCE_URL must end in ?sslmode=verify-full, so that the server proves who it is (its "
                "authority's certificate: sslrootcert=, or PGSSLROOTCERT); outside of prod "
                "IMGMIG_ALLOW_INSECURE=loopback allows less on loopback, where neither PGHOSTADDR nor a service leads "
                f"elsewhere{foreign_parameters(url)}"
            )
        return self

    def current_source_url(self) -> str:
        """The source's URL for a new connection: a secret is read again, since it may have been rotated.

        Where it cannot be read now, or is none that would be taken at the start, what was read last may still do.
        """
        if self.source_secret is not None:
            place = _variable(self.stage, "IMGMIG_SOURCE_URL")
            with suppress(ImgmigError):
                url = SourceSecret(self.aws(), self.source_secret, place).url()
                if source_url_fault(url) is None and source_is_allowed(url, self.plain_traffic):
                    return url
        return self.source_url.get_secret_value()

    def shown(self, mapping: TableMapping) -> dict[str, str]:
        """The settings of a table as reports show them: no secret, and of the source's URL only host and database."""
        placed = self.applied_to(mapping)
        source = urlsplit(self.source_url.get_secret_value())
        return {
            "source": f"{source.hostname or 'local socket'}{source.path}, {placed.schema}.{placed.table}",
            **{
                name: str(value.value if isinstance(value, Enum) else value)
                for name in _SHOWN
                if (value := getattr(self, name)) is not None
            },
        }


def stage_from_env() -> Stage:
    """The stage that STAGE names; dev where it is not set."""
    return parse_stage(os.environ.get("STAGE", Stage.DEV.value))


def sandbox_root() -> Path:
    """Where the sandbox lives: IMGMIG_SANDBOX_DIR, or ``.imgmig`` in the current directory."""
    return Path(os.environ.get("IMGMIG_SANDBOX_DIR") or ".imgmig").absolute()


def uses_sandbox(stage: Stage) -> bool:
    """Whether the stage is of the sandbox: dev, with no location of its own set."""
    return stage is Stage.DEV and not any(_variable(stage, name) for name in _LOCATIONS)


def dagster_home(stage: Stage) -> Path:
    """The folder of the Dagster instance: DAGSTER_HOME, or the sandbox's in dev."""
    if uses_sandbox(stage):
        return sandbox_root() / "dagster_home"
    home = _variable(stage, "DAGSTER_HOME")
    if not home:
        raise SettingsError(
            f"DAGSTER_HOME is not set for stage {stage.value}: make a folder, cp deploy/local/dagster.yaml (or "
            f"deploy/dagster.yaml) into it, and name it in the environment or in {stage.env_file}"
        )
    return Path(home).absolute()


def hand_on_dagster_variables(stage: Stage) -> None:
    """Put Dagster's own variables of the stage's file, such as DAGSTER_POSTGRES_URL, where dagster.yaml reads them.

    Its ``env:`` knows the environment of the process alone. What is set there already stays.
    """
    os.environ.update(_variables_of(stage, "DAGSTER_"))


def _variables_of(stage: Stage, prefix: str) -> dict[str, str]:
    """Those of the stage's file that the environment does not set."""
    found = dotenv_values(stage.env_file).items()
    return {name: value for name, value in found if name.startswith(prefix) and value and name not in os.environ}


def child_environment(stage: Stage) -> dict[str, str]:
    """The environment for a Dagster process of this stage. Its parts talk to each other past any proxy."""
    unproxied = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), *LOOPBACK_NAMES)))
    return {
        **_variables_of(stage, "DAGSTER_"),
        **os.environ,
        "STAGE": stage.value,
        "DAGSTER_HOME": str(dagster_home(stage)),
        "PYTHONWARNINGS": "ignore",
        "NO_PROXY": unproxied,
        "no_proxy": unproxied,
    }


def load_table_settings(stage: Stage, of_sandbox: bool = True) -> TableSettings:
    """What the stage's variables say of its tables. Reads files and the environment only: definitions load offline.

    With `of_sandbox` the sandbox's say it where no person does.
    """
    return _validated(TableSettings, stage, _sandbox_variables() if of_sandbox and uses_sandbox(stage) else {})


def load_places(stage: Stage) -> Places:
    """Where the stage's tables, state and reports are. Reads files and the environment only, and validates nothing."""
    return _validated(Places, stage, _sandbox_variables() if uses_sandbox(stage) else {})


def load_settings(stage: Stage) -> Settings:
    """The stage's settings; in dev with no location set those that the sandbox wrote when it was last started.

    `SettingsError` names every variable that is missing or wrong; `SandboxNotRunning` says that no sandbox was started.
    """
    if uses_sandbox(stage):
        if found := _sandbox_variables():
            return _validated(Settings, stage, found)
        raise SandboxNotRunning(f"there is no sandbox in {sandbox_root()}: run `imgmig sandbox start` first")
    if secret := _variable(stage, "IMGMIG_SOURCE_SECRET"):
        access = _validated(AwsSettings, stage, {}).aws()
        url = SourceSecret(access, secret, _variable(stage, "IMGMIG_SOURCE_URL")).url()
        return _validated(Settings, stage, {}, source_url=url)
    return _validated(Settings, stage, {})


def metrics_collector(stage: Stage) -> str | None:
    """Where metrics are posted to, by OpenTelemetry's variables; None where they are off.

    Those of the stage's file are put where OpenTelemetry reads them. What is set in the environment already stays.
    """
    os.environ.update(_variables_of(stage, "OTEL_"))
    return _validated(MetricsSettings, stage, {}).collector


def _sandbox_variables() -> dict[str, str]:
    found = dotenv_values(sandbox_root() / SANDBOX_VARIABLES)
    return {name: value for name, value in found.items() if value}


_SettingsT = TypeVar("_SettingsT", bound=BaseSettings)


def _validated(kind: type[_SettingsT], stage: Stage, sandbox: dict[str, str], **settled: str) -> _SettingsT:
    # What a person sets wins over the sandbox, but for AWS: real credentials never go to an emulator.
    values: dict[str, Any] = {"stage": stage} | {
        name.removeprefix("IMGMIG_").lower(): value
        for name, value in sandbox.items()
        if name.startswith("AWS_") or not _variable(stage, name)
    }
    values |= settled
    try:
        return kind(_env_file=stage.env_file, **values)
    except ValidationError as error:
        faults = [_describe(fault) for fault in error.errors()]
        raise SettingsError(
            f"settings of stage {stage.value}: {'; '.join(faults)}. Set them in the environment or in {stage.env_file}"
        ) from None


def _describe(fault: Any) -> str:
    name = str(fault["loc"][0]) if fault["loc"] else ""
    variable = name if name.isupper() else f"IMGMIG_{name.upper()}"
    if fault["type"] == "missing":
        return f"{variable} is missing" + (" (or IMGMIG_SOURCE_SECRET)" if name == "source_url" else "")
    # The value itself is not shown: it may be a secret.
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{variable}: {message}" if name else message


def _variable(stage: Stage, name: str) -> str | None:
    return os.environ.get(name) or dotenv_values(stage.env_file).get(name) or None
