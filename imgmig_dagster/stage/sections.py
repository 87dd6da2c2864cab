"""The settings of a stage: each is a key of a section of `stages/<stage>.toml`, and is described here.

`stage_file` reads the file, `deprecated_variables` what the environment says instead, and `config` puts both together.
`python -m imgmig_dagster.stage.settings_page` makes docs/settings.md from the descriptions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from imgmig_dagster.stage.stages import PictureMode


class Section(BaseModel):
    """A section of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SourceSection(Section):
    """The PostgreSQL database that is read."""

    url: SecretStr | None = Field(
        None,
        description="libpq URL of the primary, without a password: "
        "`postgresql://imgmig_reader@db.example.com/images?sslmode=verify-full`. Required, unless `secret` holds it",
    )
    secret: str | None = Field(
        None,
        min_length=1,
        description="name or ARN of a secret in AWS Secrets Manager: the URL, RDS's JSON, or user and password alone "
        "beside a `url` without them. Default: none",
    )
    time_zone: str = Field(
        "UTC", min_length=1, description="IANA zone of `timestamp` columns, such as `Europe/Berlin`. Default: `UTC`"
    )


class TablesSection(Section):
    """Which tables are migrated, and how a backfill is cut into runs."""

    mappings: Path | None = Field(
        None,
        description="folder with the tables' declarations, or of a Dagster project whose `defs.yaml` files hold them. "
        "Default: `mappings` of the working directory if it exists, else the package's `images`",
    )
    partitions_per_run: int = Field(
        100, ge=1, le=10_000, description="partitions of one run of a backfill, at most. Default: 100"
    )


class TargetSection(Section):
    """The DynamoDB table that is written to."""

    table: str = Field(min_length=3, description="name of the table. Required")
    aws_account: str | None = Field(
        None,
        pattern=r"^\d{12}$",
        description="AWS account of the table, 12 digits in quotes. prod writes to no other. Required in prod",
    )
    application_writes: bool | None = Field(
        None,
        description="whether the application writes to both sides during the migration. `true`: an item is inserted "
        "only where none exists, and a difference is judged again 2 s later. `false`: items are written in batches "
        "without a condition, and a difference is judged once. Default: `true`, in dev `false`",
    )
    batch_by_force: str | None = Field(
        None,
        description="name of the table: write in batches although the application writes too. An item that the "
        "application writes between look and write is overwritten. Default: none",
    )
    write_units_per_s: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="ceiling of reads and writes in capacity units per second, of all runs together. Default: none",
    )
    export_url: str | None = Field(
        None,
        description="`s3://bucket/prefix`: the census reads an export of the table that DynamoDB writes there. "
        "Default: the census scans the table",
    )


class StateSection(Section):
    """Where progress and evidence are kept."""

    url: str = Field(
        description="checkpoints, ledgers, evidence and reports: `file:///var/lib/imgmig` or `s3://bucket/prefix`. "
        "Required"
    )


class ReportsSection(Section):
    """What reports show, and where they are published."""

    url: str | None = Field(
        None, description="`s3://bucket/prefix`: reports are published there too. Default: not published"
    )
    signing_key: str | None = Field(
        None, description="key of AWS KMS that signs certificates: ARN, id or `alias/NAME`. Default: not signed"
    )
    keep_values: bool = Field(
        False,
        description="whether failure ledgers, audit records and reports hold rows' values, which may be personal "
        "data. Default: `false`",
    )
    spot_check_pictures: PictureMode = Field(
        PictureMode.EMBEDDED,
        description="`embedded` in the spot check's page, or a `link` presigned for an hour. Default: `embedded`",
    )


class AlertsSection(Section):
    """What alerts say. The webhook itself is a secret: `IMGMIG_ALERT_WEBHOOK`."""

    ui_url: str = Field(
        "http://127.0.0.1:3000",
        description="address of Dagster's UI, for the links in alerts. Default: `http://127.0.0.1:3000`",
    )


class ConnectionsSection(Section):
    """How connections are secured. In staging and prod PostgreSQL is reached by `sslmode=verify-full`, AWS by HTTPS."""

    allow_insecure: 'Literal["loopback"] | None' = Field(
        None, description="`loopback`: connections to this machine need no TLS. Refused in prod. Default: none"
    )


SECTIONS: Final[Mapping[str, type[Section]]] = {
    "source": SourceSection,
    "tables": TablesSection,
    "target": TargetSection,
    "state": StateSection,
    "reports": ReportsSection,
    "alerts": AlertsSection,
    "connections": ConnectionsSection,
}

SECRETS: Final[Mapping[str, str]] = {
    "PGPASSWORD": "the source's password; `PGPASSFILE` names a file that holds it instead",
    "IMGMIG_ALERT_WEBHOOK": "URL that takes alerts as Slack's JSON. Default: no alerts",
}
"""Variables that hold secrets: from the environment or from `.env.<stage>`, never from the stage's file."""

OTHER_VARIABLES: Final[Mapping[str, str]] = {
    "STAGE": "`dev`, `staging` or `prod`. Default: `dev`. `--stage` wins",
    "IMGMIG_STAGES": "folder of the stages' files. Default: `stages` of the working directory",
    "DAGSTER_HOME": "folder with Dagster's `dagster.yaml`, which `imgmig init --stage staging` makes. Default in "
    "dev: the sandbox's",
    "IMGMIG_CONFIRM_WRITES": "name of the target table: confirms writes in prod for runs that carry no `--confirm`",
    "IMGMIG_SANDBOX_DIR": "folder of the sandbox. Default: `.imgmig`",
}
"""Variables that say where a process finds things, or what it may do now."""


def keys_of(section: str) -> Mapping[str, Any]:
    """The keys of a section, each with its declaration."""
    return SECTIONS[section].model_fields
