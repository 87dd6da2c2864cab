"""Everything that one stage needs: the sections of its file, its secrets, and how it reaches AWS. `config` loads it."""

from contextlib import suppress
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.stage.aws_settings import AwsSettings
from imgmig_dagster.stage.sections import (
    SECTIONS,
    AlertsSection,
    ConnectionsSection,
    ReportsSection,
    SourceSection,
    StateSection,
    TargetSection,
    keys_of,
)
from imgmig_dagster.stage.source_secret import SourceSecret
from imgmig_dagster.stage.stages import Stage, WriteMode
from imgmig_dagster.stage.table_settings import TableSettings
from imgmig_dagster.transport import (
    PlainTraffic,
    endpoint_is_allowed,
    foreign_parameters,
    source_is_allowed,
    source_url_fault,
    without_password,
)

_RECHECK_DELAY_S: Final = 2.0
_AWS_SHOWN: Final = ("aws_region", "aws_endpoint_url", "aws_endpoint_url_dynamodb")


class Source(SourceSection):
    """The section [source], and what a deprecated variable sets."""

    page_size: int = Field(1_000, ge=1, le=1_000, strict=False, description="rows of a page")

    @model_validator(mode="after")
    def _is_somewhere(self) -> "Source":
        if self.url is None and self.secret is None:
            raise ValueError("url in [source] is missing (or secret)")
        return self


class Target(TargetSection):
    """The section [target], and what deprecated variables set in place of `application_writes`."""

    write_mode: WriteMode | None = None
    recheck_delay_s: float | None = Field(None, ge=0, le=60, strict=False)
    requests_in_flight: int = Field(64, ge=1, le=200, strict=False, description="ceiling of a run's requests")


class Sections(BaseModel):
    """The sections of a stage's file, with what variables set in place of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Source
    tables: TableSettings
    target: Target
    state: StateSection
    reports: ReportsSection
    alerts: AlertsSection
    connections: ConnectionsSection


class Settings(Sections):
    """A stage's settings, which go together."""

    stage: Stage
    access: AwsSettings
    source_url: SecretStr
    alert_webhook: SecretStr | None = None
    confirm_writes: str | None = None

    @model_validator(mode="after")
    def _is_url(self) -> "Settings":
        if fault := source_url_fault(self.source_url.get_secret_value()):
            raise ValueError(f"url in [source]: {fault}")
        return self

    @model_validator(mode="after")
    def _batch_only_where_nobody_else_writes(self) -> "Settings":
        named = self.target.batch_by_force == self.target.table
        if self.application_writes and self.write_mode is WriteMode.BATCH and not named:
            raise ValueError(
                "writing in batches can overwrite what the application writes between look and write: set "
                "application_writes = false in [target] once it writes no longer, or force it with batch_by_force = "
                "<the target table's name>"
            )
        return self

    @model_validator(mode="after")
    def _webhook_by_tls(self) -> "Settings":
        if self.alert_webhook and not endpoint_is_allowed(self.alert_webhook.get_secret_value(), self.plain_traffic):
            raise ValueError(
                "IMGMIG_ALERT_WEBHOOK must be an https:// URL: it is a secret itself, and alerts name keys; outside of "
                'prod allow_insecure = "loopback" in [connections] allows plain HTTP on loopback'
            )
        return self

    @model_validator(mode="after")
    def _source_by_tls(self) -> "Settings":
        url = self.source_url.get_secret_value()
        if not source_is_allowed(url, self.plain_traffic):
            raise ValueError(
                "url in [source] must end in ?sslmode=verify-full, so that the server proves who it is (its "
                "authority's certificate: sslrootcert=, or PGSSLROOTCERT); outside of prod allow_insecure = "
                '"loopback" in [connections] allows less on loopback, where neither PGHOSTADDR nor a service leads '
                f"elsewhere{foreign_parameters(url)}"
            )
        return self

    @property
    def plain_traffic(self) -> PlainTraffic:
        """To which hosts connections may go without TLS."""
        return self.access.plain_traffic

    @property
    def application_writes(self) -> bool:
        """Whether the application writes to both sides during the migration."""
        says = self.target.application_writes
        return self.stage is not Stage.DEV if says is None else says

    @property
    def write_mode(self) -> WriteMode:
        """How items are written: in batches where nobody else writes, or by force."""
        if self.target.write_mode is not None:
            return self.target.write_mode
        batch = self.target.batch_by_force is not None or not self.application_writes
        return WriteMode.BATCH if batch else WriteMode.CONDITIONAL

    @property
    def recheck_delay_s(self) -> float:
        """How long a difference waits until it is judged again: nothing changes where nobody else writes."""
        if self.target.recheck_delay_s is not None:
            return self.target.recheck_delay_s
        return _RECHECK_DELAY_S if self.application_writes else 0.0

    def aws(self) -> AwsAccess:
        """How to reach AWS."""
        return self.access.aws()

    def applied_to(self, mapping: TableMapping) -> TableMapping:
        """The mapping of a table with what the settings say of it instead; see `TableSettings.applied_to`."""
        return self.tables.applied_to(mapping)

    def current_source_url(self) -> str:
        """The source's URL for a new connection: a secret is read again, since it may have been rotated.

        Where it cannot be read now, or is none that would be taken at the start, what was read last may still do.
        """
        if self.source.secret is not None:
            place = self.source.url.get_secret_value() if self.source.url else None
            with suppress(ImgmigError):
                url = SourceSecret(self.aws(), self.source.secret, place).url()
                if source_url_fault(url) is None and source_is_allowed(url, self.plain_traffic):
                    return url
        return self.source_url.get_secret_value()

    def shown(self, mapping: TableMapping) -> dict[str, str]:
        """The settings of a table as reports show them: no secret, and of the source's URL only host and database."""
        placed = self.applied_to(mapping)
        source = urlsplit(self.source_url.get_secret_value())
        values: dict[str, Any] = {
            f"{section}.{key}": getattr(getattr(self, section), key)
            for section in SECTIONS
            for key in keys_of(section)
            if (section, key) != ("source", "url")
        }
        values["target.application_writes"] = str(self.application_writes).lower()
        values |= {name: getattr(self.access, name) for name in _AWS_SHOWN}
        return {
            "source": f"{source.hostname or 'local socket'}{source.path}, {placed.schema}.{placed.table}",
            "write mode": self.write_mode.value,
            "recheck delay, s": f"{self.recheck_delay_s:g}",
            **{name: _plain(value) for name, value in values.items() if value is not None},
        }


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value.value if isinstance(value, Enum) else value)
    return without_password(text) if "://" in text else text
