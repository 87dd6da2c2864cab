"""How AWS is reached: credentials, endpoint, region, TLS and signing are botocore's."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.transport import PlainTraffic, endpoint_is_allowed


@dataclass(frozen=True)
class AwsAccess:
    """What was configured of AWS; whatever is None comes from botocore's own chain.

    `endpoint_urls` pairs a service's name with the URL of an emulator or a VPC endpoint; `plain` is to which hosts
    requests may go without TLS.
    """

    region: str | None = None
    profile: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    endpoint_urls: tuple[tuple[str, str], ...] = ()
    plain: PlainTraffic = "anywhere"

    def session(self) -> "botocore.session.Session":
        """A botocore session with these credentials."""
        session = botocore.session.Session(profile=self.profile)
        if self.region:
            session.set_config_variable("region", self.region)
        if self.access_key_id and self.secret_access_key:
            session.set_credentials(self.access_key_id, self.secret_access_key, self.session_token)
        return session

    def client(self, service: str) -> Any:
        """A botocore client for what is called rarely: describing tables, objects of S3.

        Raises:
            BotoCoreError: no region, or an unknown profile.
            SettingsError: the endpoint is one of plain HTTP, wherever it was configured, and may not be.
        """
        return _client(self, service)


@lru_cache(maxsize=8)
def _client(access: AwsAccess, service: str) -> Any:
    # Making a client reads botocore's model of the service, a tenth of a second: once per process, not per run.
    config = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})
    endpoint_url = dict(access.endpoint_urls).get(service)
    client = access.session().create_client(service, endpoint_url=endpoint_url, config=config)
    found: str = client.meta.endpoint_url
    if not endpoint_is_allowed(found, access.plain):
        raise SettingsError(
            f"the endpoint of {service} is {found}: this stage speaks HTTPS only. Mend AWS_ENDPOINT_URL or the "
            "profile; outside of prod IMGMIG_ALLOW_INSECURE=loopback allows plain HTTP on loopback"
        )
    return client


__all__ = ["AwsAccess", "BotoCoreError", "ClientError"]
