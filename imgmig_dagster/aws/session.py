"""botocore's session as this package needs it: the same endpoints, proxies and rules for every client.

That includes the clients of STS and SSO that botocore makes for itself to find credentials.
"""

import logging
import threading
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError

from imgmig_dagster.aws.aws_faults import tells_faults
from imgmig_dagster.aws.replies import refuses_pages
from imgmig_dagster.aws.route import check_proxy, trusting
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.transport import endpoint_is_allowed, is_loopback

if TYPE_CHECKING:
    from imgmig_dagster.aws.access import AwsAccess

_RARE_CALLS: Final = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})
# A private subnet may not reach these services. STS is asked first, so a command should fail at once if it cannot be
# reached. Lambda's answer is optional.
_MAYBE_AWAY: Final = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
# A lease of the state survives two lost replies in a row. The state's files are read in parallel.
_IN_TIME: Final = Config(
    connect_timeout=3,
    read_timeout=8,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=32,
)
_BY_SERVICE: Final = {"s3": _IN_TIME, "sts": _MAYBE_AWAY, "lambda": _MAYBE_AWAY}

# Our own error reports credentials that cannot be renewed; botocore would add a stack trace with the answer.
logging.getLogger("botocore.credentials").setLevel(logging.ERROR)


class AwsSession(botocore.session.Session):
    """A session of one access. `shared` signs for its clients; without it botocore's chain finds credentials."""

    def __init__(self, access: "AwsAccess", shared: Credentials | None = None) -> None:
        super().__init__(profile=access.profile)
        self.making = threading.RLock()
        self._access = access
        self._shared = shared
        if access.region:
            self.set_config_variable("region", access.region)
        if access.access_key_id and access.secret_access_key:
            keys = (access.access_key_id, access.secret_access_key, access.session_token)
            self.set_credentials(*keys, account_id=access.account_id)

    def get_credentials(self) -> Any:
        """botocore's name."""
        return self._shared or super().get_credentials()

    def create_client(self, service_name: str, **arguments: Any) -> Any:  # type: ignore[override]
        """botocore's name: it calls this for its own clients too.

        Raises:
            SettingsError: the region, the profile, the endpoint's or the proxy's URL is wrong; the endpoint is plain
            HTTP where that is refused; or the file of authorities cannot be read.
        """
        endpoint_url = arguments.pop("endpoint_url", None) or dict(self._access.endpoint_urls).get(service_name)
        config = _BY_SERVICE.get(service_name, _RARE_CALLS)
        if arguments.get("config") is not None:
            config = config.merge(arguments.pop("config"))
        arguments["endpoint_url"] = endpoint_url
        # Making clients of one session in several threads is not safe.
        with self.making:
            client = self._make(service_name, config, arguments)
            found: str = client.meta.endpoint_url
            if is_loopback(urlsplit(found).hostname or "") and getproxies():
                # A company's proxy would look for the emulator on its own host.
                client = self._make(service_name, config.merge(Config(proxies={})), arguments)
        if not endpoint_is_allowed(found, self._access.plain):
            raise SettingsError(
                f"the endpoint of {service_name} is {found}: this stage speaks HTTPS only. Fix AWS_ENDPOINT_URL or "
                "the profile; outside of prod allow_insecure = 'loopback' in [connections] allows HTTP on loopback"
            )
        if found.startswith("https:"):
            trusting(client)
        check_proxy(client)
        tells_faults(client)
        refuses_pages(client)
        return client

    def _make(self, service_name: str, config: Config, arguments: dict[str, Any]) -> Any:
        try:
            return super().create_client(service_name, config=config, **arguments)
        except (BotoCoreError, ValueError) as error:  # nothing was sent yet: the configuration is wrong
            raise SettingsError(
                f"no client of AWS's {service_name} can be made: {str(error).rstrip('.')}. Check AWS_REGION, "
                "AWS_PROFILE and its file in ~/.aws, AWS_ENDPOINT_URL*"
            ) from None
