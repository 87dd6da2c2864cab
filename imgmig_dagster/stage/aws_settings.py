"""Which stage, and how it reaches AWS: by AWS's own variables, from the environment or the stage's file."""

from typing import Final, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.transport import PlainTraffic

_SERVICES: Final = ("dynamodb", "s3", "sts", "secretsmanager", "lambda", "kms")


class AwsSettings(BaseSettings):
    """How one stage reaches AWS."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True)

    stage: Stage
    allow_insecure: 'Literal["loopback"] | None' = None
    aws_region: str | None = Field(None, validation_alias="AWS_REGION")
    aws_default_region: str | None = Field(None, validation_alias="AWS_DEFAULT_REGION")
    aws_profile: str | None = Field(None, validation_alias="AWS_PROFILE")
    aws_access_key_id: str | None = Field(None, validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr | None = Field(None, validation_alias="AWS_SECRET_ACCESS_KEY")
    aws_session_token: SecretStr | None = Field(None, validation_alias="AWS_SESSION_TOKEN")
    aws_account_id: str | None = Field(None, validation_alias="AWS_ACCOUNT_ID")
    aws_endpoint_url: str | None = Field(None, validation_alias="AWS_ENDPOINT_URL")
    aws_endpoint_url_dynamodb: str | None = Field(None, validation_alias="AWS_ENDPOINT_URL_DYNAMODB")
    aws_endpoint_url_s3: str | None = Field(None, validation_alias="AWS_ENDPOINT_URL_S3")
    aws_endpoint_url_sts: str | None = Field(None, validation_alias="AWS_ENDPOINT_URL_STS")
    aws_endpoint_url_secretsmanager: str | None = Field(None, validation_alias="AWS_ENDPOINT_URL_SECRETS_MANAGER")
    aws_endpoint_url_lambda: str | None = Field(None, validation_alias="AWS_ENDPOINT_URL_LAMBDA")
    aws_endpoint_url_kms: str | None = Field(None, validation_alias="AWS_ENDPOINT_URL_KMS")

    @property
    def plain_traffic(self) -> PlainTraffic:
        """To which hosts connections may go without TLS."""
        return "anywhere" if self.stage is Stage.DEV else self.allow_insecure or "never"

    def aws(self) -> AwsAccess:
        """How to reach AWS; what is not set here is left to botocore's own chain."""
        endpoint_urls = {
            service: getattr(self, f"aws_endpoint_url_{service}") or self.aws_endpoint_url for service in _SERVICES
        }
        return AwsAccess(
            region=self.aws_region or self.aws_default_region,
            profile=self.aws_profile,
            access_key_id=self.aws_access_key_id,
            secret_access_key=_reveal(self.aws_secret_access_key),
            session_token=_reveal(self.aws_session_token),
            account_id=self.aws_account_id,
            endpoint_urls=tuple((service, url) for service, url in endpoint_urls.items() if url),
            plain=self.plain_traffic,
        )

    @model_validator(mode="after")
    def _prod_is_secure(self) -> "AwsSettings":
        if self.stage is Stage.PROD and self.allow_insecure:
            raise ValueError("allow_insecure in [connections] is refused in prod: every connection is encrypted there")
        return self


def _reveal(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
