"""Where a stage's tables, state and reports are, for Dagster to show. No run uses this.

A run uses `settings.Settings`, which requires more and may ask AWS for the source's login.
"""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.stage.stages import Stage


class Places(BaseSettings):
    """Each is None if it is not set or cannot be shown. No property holds a secret."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True)

    stage: Stage
    source_url: SecretStr | None = None
    source_schema: str | None = None
    source_table: str | None = None
    target_table: str | None = None
    state_url: SecretStr | None = None
    reports_url: SecretStr | None = None
    aws_region: str | None = Field(None, validation_alias="AWS_REGION")
    aws_default_region: str | None = Field(None, validation_alias="AWS_DEFAULT_REGION")
    aws_endpoint_url: SecretStr | None = Field(None, validation_alias="AWS_ENDPOINT_URL")
    aws_endpoint_url_dynamodb: SecretStr | None = Field(None, validation_alias="AWS_ENDPOINT_URL_DYNAMODB")

    @property
    def source(self) -> str | None:
        """The database, as a URL without a login."""
        return _shown(self.source_url)

    def source_name(self, mapping: TableMapping) -> str:
        """The table of a mapping with its schema."""
        return f"{self.source_schema or mapping.schema}.{self.source_table or mapping.table}"

    @property
    def region(self) -> str | None:
        """AWS's region, where a variable names it."""
        return self.aws_region or self.aws_default_region

    @property
    def endpoint(self) -> str | None:
        """DynamoDB's endpoint, if it is not AWS's own."""
        return _shown(self.aws_endpoint_url_dynamodb or self.aws_endpoint_url)

    @property
    def target(self) -> str | None:
        """The target table as a URL, by its region."""
        return f"dynamodb://{self.region or 'default'}/{self.target_table}" if self.target_table else None

    @property
    def state(self) -> str | None:
        """The folder or bucket of the state."""
        return _shown(self.state_url)

    @property
    def reports(self) -> str | None:
        """The bucket in which reports are published."""
        return _shown(self.reports_url)


def _shown(url: SecretStr | None) -> str | None:
    """The URL without a login, and without parameters, which may hold one."""
    try:
        parts = urlsplit(url.get_secret_value() if url is not None else "")
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.scheme else None
