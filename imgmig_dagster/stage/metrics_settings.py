"""Where a stage's metrics go: those of OpenTelemetry's variables that we read. The SDK reads the others itself."""

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.transport import endpoint_is_allowed


class MetricsSettings(BaseSettings):
    """Off unless an endpoint is named. The variables are described by OpenTelemetry's specification."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True)

    stage: Stage
    disabled: bool = Field(False, validation_alias="OTEL_SDK_DISABLED")
    exporter: str = Field("otlp", validation_alias="OTEL_METRICS_EXPORTER")
    endpoint: str | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    metrics_endpoint: str | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
    protocol: str = Field("http/protobuf", validation_alias="OTEL_EXPORTER_OTLP_PROTOCOL")
    metrics_protocol: str | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_METRICS_PROTOCOL")

    @field_validator("disabled", mode="before")
    @classmethod
    def _as_the_sdk_reads_it(cls, value: object) -> bool:
        # By the specification only "true" is true.
        return str(value).strip().lower() == "true"

    @property
    def collector(self) -> str | None:
        """The URL that metrics are posted to; None where they are off."""
        if self.disabled or self.exporter != "otlp":
            return None
        if self.metrics_endpoint:
            return self.metrics_endpoint
        return f"{self.endpoint.rstrip('/')}/v1/metrics" if self.endpoint else None

    @model_validator(mode="after")
    def _can_be_reached(self) -> "MetricsSettings":
        if self.collector is None:
            return self
        if (self.metrics_protocol or self.protocol) != "http/protobuf":
            raise ValueError("OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf (port 4318)")
        # Metrics hold numbers only, and what stays on this machine needs no TLS: a collector is often a sidecar.
        if not endpoint_is_allowed(self.collector, "anywhere" if self.stage is Stage.DEV else "loopback"):
            raise ValueError("OTEL_EXPORTER_OTLP_ENDPOINT must be an https:// URL, or of a collector on loopback")
        return self
