"""How AWS is reached: credentials, endpoint, region, proxy, TLS and signing are botocore's."""

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from imgmig_dagster.aws.aws_faults import renews_credentials
from imgmig_dagster.aws.credentials import SharedCredentials
from imgmig_dagster.aws.route import Route, route_of
from imgmig_dagster.aws.session import AwsSession
from imgmig_dagster.transport import PlainTraffic


@dataclass(frozen=True)
class AwsAccess:
    """The configured access to AWS; a value of None comes from botocore's own chain.

    `account_id` is the keys' account, for endpoints whose name holds it. `endpoint_urls` maps a service's name to the
    URL of an emulator or a VPC endpoint; `plain` says to which hosts requests may go without TLS.
    """

    region: str | None = None
    profile: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    account_id: str | None = None
    endpoint_urls: tuple[tuple[str, str], ...] = ()
    plain: PlainTraffic = "anywhere"

    def credentials(self) -> SharedCredentials:
        """The credentials that sign every request of this process with this access. Asks for nothing yet."""
        return _shared(self).credentials

    def client(self, service: str) -> Any:
        """A botocore client for rare calls: describing tables, objects of S3. Safe for threads.

        If AWS refuses the credentials, the client looks for others and sends the request once more.

        Raises:
            SettingsError: the configuration gives no client: see `AwsSession.create_client`.
        """
        return _shared(self).client(service)

    def endpoint_url(self, service: str) -> str:
        """Where a service's requests go: as configured, or else as botocore says. Asks for no account's own endpoint.

        Raises:
            SettingsError: as for `client`.
        """
        url: str = self.client(service).meta.endpoint_url
        return url

    def route_to_dynamodb(self) -> Route:
        """How botocore's requests go to DynamoDB, for senders that do not use botocore.

        Asks for credentials, since an endpoint can be an account's own.

        Raises:
            SettingsError: as for `client`.
            BotoCoreError: the endpoint is an account's own, and the account is not known.
            AwsUnusable: no credentials were found.
        """
        return route_of(self.client("dynamodb"))


class _Shared:
    """One set of credentials and its clients, for a whole process: a person has to log in only once."""

    def __init__(self, access: AwsAccess) -> None:
        # Each chain begins in a new session: a session never reads a file twice.
        self.credentials = SharedCredentials(lambda: AwsSession(access).get_credentials())
        self._session = AwsSession(access, self.credentials)
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        with self._session.making:
            if service not in self._clients:
                # Making a client reads botocore's model of the service, a tenth of a second.
                client = self._session.create_client(service)
                renews_credentials(client, self.credentials)
                self._clients[service] = client
            return self._clients[service]


_shared_of = lru_cache(maxsize=8)(_Shared)
_finding = threading.Lock()


def _shared(access: AwsAccess) -> _Shared:
    # Otherwise threads that come at the same time would each make one, and each would ask for a login.
    with _finding:
        return _shared_of(access)


__all__ = ["AwsAccess", "BotoCoreError", "ClientError", "Route"]
