"""The host names of DynamoDB in a region, as botocore knows them: every partition of AWS, every variant."""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Final
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from imgmig_dagster.aws.route import resolved_endpoint

_ACCOUNT: Final = "000000000000"
_NOBODY: Final = "nobody"  # signs what is never sent
_VPC_ENDPOINT: Final = re.compile(r"vpce-[0-9a-z-]+")


def is_own_endpoint(host: str, region: str, account: str | None) -> bool:
    """Whether a host name is one of AWS's own for DynamoDB in that region: FIPS, dual-stack, an account's, a VPC's.

    An account's own name counts if it is of that `account`.
    """
    for own in _own_hosts(region):
        if host == own.replace(_ACCOUNT, account or _ACCOUNT):
            return True
        # vpce-1a2b-3c4d.dynamodb.us-east-1.vpce.amazonaws.com
        service, found, suffix = own.partition(f".{region}.")
        first, _, rest = host.partition(".")
        if found and rest == f"{service}.{region}.vpce.{suffix}" and _VPC_ENDPOINT.fullmatch(first):
            return True
    return False


def _own_hosts(region: str) -> Iterator[str]:
    session = botocore.session.Session()
    session.set_config_variable("ignore_configured_endpoint_urls", True)
    for fips, dual_stack in product((False, True), repeat=2):
        config = Config(use_fips_endpoint=fips, use_dualstack_endpoint=dual_stack)
        # Not every partition has every variant, and not every word with a hyphen is a region.
        with suppress(BotoCoreError, ValueError):
            client = session.create_client(
                "dynamodb",
                region_name=region,
                aws_access_key_id=_NOBODY,
                aws_secret_access_key=_NOBODY,
                aws_account_id=_ACCOUNT,
                config=config,
            )
            yield from (urlsplit(url).hostname or "" for url in (client.meta.endpoint_url, resolved_endpoint(client)))
