"""Stages and their settings: the only module that reads the environment."""

import os
import re
from datetime import date, datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from imgmig_dagster.aws import AwsAccess
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.source_secret import read_source_url
from imgmig_dagster.transport import PlainTraffic, is_source_url, source_is_allowed

Grain: TypeAlias = Literal["daily", "weekly", "monthly"]

# What makes a stage point at services of its own. With none of them set, dev attaches to the sandbox.
_LOCATIONS: Final = ("IMGMIG_SOURCE_URL", "IMGMIG_SOURCE_SECRET", "IMGMIG_TARGET_TABLE", "IMGMIG_STATE_URL")
_AWS_SERVICES: Final = ("dynamodb", "s3", "sts", "secretsmanager")

_HOST: Final = r"(?:\[[^\]\s]*\]|[^@/?#:,\s]*)(?::[0-9]*)?"
_SOURCE_URL: Final = re.compile(
    rf"postgres(?:ql)?://(?:[^@/?#\s]*@)?{_HOST}(?:,{_HOST})*(?:/[^@/?#\s]*)?(?:\?[^#\s]*)?"
)
_NOT_ENCODED: Final = re.compile("%(?![0-9A-Fa-f]{2})")

_SHOWN: Final = (
    "target_table",
    "state_url",
    "reports_url",
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


class Stage(str, Enum):
    """Where the platform runs."""

    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"

    @property
    def env_file(self) -> str:
        """The file, in the current directory, that may hold this stage's variables."""
        return f".env.{self.value}"


class WriteMode(str, Enum):
    """How items that may already stand in the target are treated."""

    CONDITIONAL = "conditional"
    """PutItem with `attribute_not_exists`: safe while the application writes to both sides."""
    BATCH = "batch"
    """BatchWriteItem, which replaces whole items: only for a source that nobody else writes to."""


class PictureMode(str, Enum):
    """How the spot check's page shows pictures."""

    EMBEDDED = "embedded"
    """In the page itself, which can be read without a network for as long as it is kept."""
    LINK = "link"
    """As links to S3, presigned for an hour."""


class Partitioning(BaseSettings):
    """How `created_at` is cut into partitions; needed, and loadable, without any service."""

    model_config = SettingsConfigDict(
        env_prefix="IMGMIG_", env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True
    )

    partition_grain: Grain = Field("monthly", description="length of a partition's time window, in UTC")
    partition_start: date = Field(date(2020, 1, 1), description="a day in the first partition")

    @field_validator("partition_start")
    @classmethod
    def _is_past(cls, value: date) -> date:
        if value > datetime.now(tz=timezone.utc).date():
            raise ValueError("the first partition begins in the future")
        return value


class AwsSettings(BaseSettings):
    """How one stage reaches AWS."""

    model_config = SettingsConfigDict(
        env_prefix="IMGMIG_", env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True
    )

    stage: Stage
    allow_insecure: 'Literal["loopback"] | None' = Field(None, description="loopback: no TLS needed there, but in prod")
    aws_region: "str | None" = Field(None, validation_alias="AWS_REGION")
    aws_default_region: "str | None" = Field(None, validation_alias="AWS_DEFAULT_REGION")
    aws_profile: "str | None" = Field(None, validation_alias="AWS_PROFILE")
    aws_access_key_id: "str | None" = Field(None, validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: "SecretStr | None" = Field(None, validation_alias="AWS_SECRET_ACCESS_KEY")
    aws_session_token: "SecretStr | None" = Field(None, validation_alias="AWS_SESSION_TOKEN")
    aws_endpoint_url: "str | None" = Field(None, validation_alias="AWS_ENDPOINT_URL")
    aws_endpoint_url_dynamodb: "str | None" = Field(None, validation_alias="AWS_ENDPOINT_URL_DYNAMODB")
    aws_endpoint_url_s3: "str | None" = Field(None, validation_alias="AWS_ENDPOINT_URL_S3")
    aws_endpoint_url_sts: "str | None" = Field(None, validation_alias="AWS_ENDPOINT_URL_STS")
    aws_endpoint_url_secretsmanager: "str | None" = Field(None, validation_alias="AWS_ENDPOINT_URL_SECRETS_MANAGER")

    @property
    def plain_traffic(self) -> PlainTraffic:
        """To which hosts connections may go without TLS."""
        return "anywhere" if self.stage is Stage.DEV else self.allow_insecure or "never"

    def aws(self) -> AwsAccess:
        """How to reach AWS; what is not set here is left to botocore's own chain."""
        endpoint_urls = {
            service: getattr(self, f"aws_endpoint_url_{service}") or self.aws_endpoint_url for service in _AWS_SERVICES
        }
        return AwsAccess(
            region=self.aws_region or self.aws_default_region,
            profile=self.aws_profile,
            access_key_id=self.aws_access_key_id,
            secret_access_key=_reveal(self.aws_secret_access_key),
            session_token=_reveal(self.aws_session_token),
            endpoint_urls=tuple((service, url) for service, url in endpoint_urls.items() if url),
            plain=self.plain_traffic,
        )

    @model_validator(mode="after")
    def _prod_is_secure(self) -> "AwsSettings":
        if self.stage is Stage.PROD and self.allow_insecure:
            raise ValueError("IMGMIG_ALLOW_INSECURE is refused in prod: every connection is encrypted there")
        return self


class Settings(Partitioning, AwsSettings):
    """Everything that one stage needs, from IMGMIG_* and AWS's own variables or from ``.env.<stage>``."""

    source_url: SecretStr = Field(description="libpq URL of the PostgreSQL primary")
    source_schema: str = Field("public", description="schema of the source table")
    source_table: str = Field("images", description="name of the source table")
    target_table: str = Field(min_length=3, description="name of the DynamoDB table")
    state_url: str = Field(description="where checkpoints, ledgers, evidence and reports live: file:///... or s3://...")
    dual_write: bool = Field(description="whether the application writes to both sides meanwhile")
    write_mode: WriteMode = Field(description="conditional where dual_write is on, else batch")
    force_batch: "str | None" = Field(None, description="name of the target table: batch despite dual_write")
    page_size: int = Field(1_000, ge=1, le=1_000, description="rows of a page; checkpoints lie on page ends")
    requests_in_flight: int = Field(10, ge=1, le=200, description="concurrent requests to DynamoDB of one run")
    write_rate: "float | None" = Field(
        None, gt=0, description="ceiling in capacity units per second of all runs together"
    )
    settle_seconds: float = Field(ge=0, le=60, description="wait before a difference is judged again")
    show_values: bool = Field(False, description="values in failure ledgers, reports and the audit record")
    spot_check_pictures: PictureMode = Field(PictureMode.EMBEDDED, description="embedded, or link")
    alert_webhook: "SecretStr | None" = Field(None, description="URL that takes Slack's JSON, for the alerts")
    ui_url: str = Field("http://127.0.0.1:3000", description="where people open Dagster's UI, for links in alerts")
    reports_url: str | None = Field(None, description="where reports are published besides: s3://bucket/prefix")
    aws_account: "str | None" = Field(None, pattern=r"^\d{12}$", description="account of the table; needed in prod")
    confirm_writes: "str | None" = Field(None, description="name of the target table: writes in prod are confirmed")

    @field_validator("source_url")
    @classmethod
    def _is_url(cls, value: SecretStr) -> SecretStr:
        # libpq's error would quote what it cannot read, and a part of the password with it.
        url = value.get_secret_value()
        if not _SOURCE_URL.fullmatch(url) or _NOT_ENCODED.search(url) or not is_source_url(url):
            raise ValueError(
                "not a URL such as postgresql://user:password@host:5432/database; in a password, characters such as "
                "% @ / ? # & and the space are written as %25 %40 %2F %3F %23 %26 %20"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_stage(cls, values: "dict[str, Any]") -> "dict[str, Any]":
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
                "IMGMIG_WRITE_MODE=batch replaces whole items, which can undo what the application wrote while "
                "IMGMIG_DUAL_WRITE is on; use conditional, or force it with IMGMIG_FORCE_BATCH=<target table>"
            )
        return self

    @model_validator(mode="after")
    def _source_by_tls(self) -> "Settings":
        if not source_is_allowed(self.source_url.get_secret_value(), self.plain_traffic):
            raise ValueError(
                "IMGMIG_SOURCE_URL must end in ?sslmode=verify-full, so that the server proves who it is (its "
                "authority's certificate: sslrootcert=, or PGSSLROOTCERT); outside of prod "
                "IMGMIG_ALLOW_INSECURE=loopback allows less on loopback"
            )
        return self

    def shown(self) -> dict[str, str]:
        """The settings as reports show them: no secret, and of the source's URL only host and database."""
        source = urlsplit(self.source_url.get_secret_value())
        return {
            "source": f"{source.hostname or 'local socket'}{source.path}, {self.source_schema}.{self.source_table}",
            **{
                name: str(value.value if isinstance(value, Enum) else value)
                for name in _SHOWN
                if (value := getattr(self, name)) is not None
            },
        }


def parse_stage(name: str) -> Stage:
    """The stage of that name; `SettingsError` names the choices."""
    try:
        return Stage(name)
    except ValueError:
        choices = ", ".join(stage.value for stage in Stage)
        raise SettingsError(f"STAGE is {name!r}; choose one of {choices}") from None


def stage_from_env() -> Stage:
    """The stage that STAGE names; dev where it is not set."""
    return parse_stage(os.environ.get("STAGE", Stage.DEV.value))


def sandbox_root() -> Path:
    """Where the sandbox lives: IMGMIG_SANDBOX_DIR, or ``.imgmig`` in the current directory."""
    return Path(os.environ.get("IMGMIG_SANDBOX_DIR") or ".imgmig").absolute()


def uses_sandbox(stage: Stage) -> bool:
    """Whether the stage attaches to the sandbox: dev, with no location of its own set."""
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


def child_environment(stage: Stage) -> dict[str, str]:
    """The environment for a Dagster process of this stage."""
    return {**os.environ, "STAGE": stage.value, "DAGSTER_HOME": str(dagster_home(stage)), "PYTHONWARNINGS": "ignore"}


def load_partitioning(stage: Stage) -> Partitioning:
    """How the stage is partitioned. Reads files and the environment only: definitions load offline."""
    recorded: dict[str, str] = {}
    if uses_sandbox(stage):
        from imgmig_dagster.sandbox import Sandbox

        recorded = Sandbox(sandbox_root()).partitioning() or {}
    return _validated(Partitioning, stage, recorded)


def load_settings(stage: Stage) -> Settings:
    """The stage's settings; in dev with no location set the sandbox's, which is started if it does not run.

    `SettingsError` names every variable that is missing or wrong.
    """
    found: dict[str, str] = {}
    if uses_sandbox(stage):
        from imgmig_dagster.sandbox import Sandbox

        sandbox = Sandbox(sandbox_root())
        sandbox.start()
        found = sandbox.environment()
    elif secret := _variable(stage, "IMGMIG_SOURCE_SECRET"):
        if _variable(stage, "IMGMIG_SOURCE_URL"):
            raise SettingsError("set IMGMIG_SOURCE_URL or IMGMIG_SOURCE_SECRET, not both")
        found = {"IMGMIG_SOURCE_URL": read_source_url(_validated(AwsSettings, stage, {}).aws(), secret)}
    return _validated(Settings, stage, found)


_SettingsT = TypeVar("_SettingsT", bound=BaseSettings)


def _validated(kind: "type[_SettingsT]", stage: Stage, sandbox: "dict[str, str]") -> "_SettingsT":
    # What a person sets wins over the sandbox, but for AWS: real credentials never go to an emulator.
    values: dict[str, Any] = {"stage": stage} | {
        name.removeprefix("IMGMIG_").lower(): value
        for name, value in sandbox.items()
        if name.startswith("AWS_") or not _variable(stage, name)
    }
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
    return f"{variable}: {fault['msg'].removeprefix('Value error, ')}" if name else str(fault["msg"])


def _variable(stage: Stage, name: str) -> "str | None":
    return os.environ.get(name) or dotenv_values(stage.env_file).get(name) or None


def _reveal(secret: "SecretStr | None") -> "str | None":
    return secret.get_secret_value() if secret is not None else None
