"""How botocore's requests go to a service: endpoint, proxy, authorities. Our own senders use the same.

botocore keeps some of this private: `botocore_internals` reads it.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from imgmig_dagster.aws.botocore_internals import authorities_of, proxy_headers_of, proxy_of, tls_context
from imgmig_dagster.errors import SettingsError


@dataclass(frozen=True)
class Route:
    """Where a service's requests go, and through which proxy: `proxy_headers` hold the proxy's credentials."""

    url: str
    region: str
    proxy: str | None
    proxy_headers: Mapping[str, str] = field(repr=False)
    tls: ssl.SSLContext | None

    @property
    def proxy_place(self) -> str:
        """The proxy's host and port."""
        return urlsplit(self.proxy or "").netloc


def route_of(client: Any) -> Route:
    """The route of a client of DynamoDB.

    Raises:
        BotoCoreError: the endpoint is unknown: for example an account's own, without a known account.
        AwsUnusable, SettingsError: there are no credentials, which may name the account; otherwise see `trusting`.
    """
    url = resolved_endpoint(client)
    proxy = proxy_of(client, url)
    # aiohttp would read the credentials in a proxy's URL by other rules.
    place = urlsplit(proxy or "")
    return Route(
        url=url,
        region=client.meta.region_name,
        proxy=place._replace(netloc=place.netloc.rpartition("@")[2]).geturl() or None,
        proxy_headers=proxy_headers_of(client, proxy) if proxy else {},
        tls=trusting(client) if url.startswith("https:") else None,
    )


def resolved_endpoint(client: Any) -> str:
    """The URL to which a client of DynamoDB sends requests: `meta.endpoint_url` is never an account's own."""
    url: str = client.generate_presigned_url("describe_table", Params={"TableName": "any"})
    return url.partition("?")[0]


def proxy_place(client: Any) -> str:
    """Host and port of the proxy that a client uses, without its credentials."""
    return urlsplit(proxy_of(client, client.meta.endpoint_url) or "").netloc.rpartition("@")[2]


def check_proxy(client: Any) -> None:
    """Raise `SettingsError`, without showing the URL, if a client's proxy has no valid URL: it can hold a password."""
    if (proxy := proxy_of(client, client.meta.endpoint_url)) is None:
        return
    try:
        place = urlsplit(proxy)
        if place.hostname and place.port != 0 and place.path in ("", "/") and not place.query and not place.fragment:
            return
    except ValueError:
        pass
    raise SettingsError(
        f"the proxy for {client.meta.endpoint_url} has no valid URL: write HTTPS_PROXY and HTTP_PROXY as "
        "http://user:password@host:port; in a password @ / ? # and % are written as %40 %2F %3F %23 %25; SOCKS is not "
        "spoken"
    )


def trusting(client: Any) -> ssl.SSLContext:
    """A context that trusts the same authorities as a client's requests, by the same rules.

    From 3.13 on Python's own default is stricter about authorities than botocore.

    Raises:
        SettingsError: the file of authorities cannot be read.
    """
    authorities = authorities_of(client)
    context = tls_context()
    context.check_hostname = True
    try:
        context.load_verify_locations(cafile=authorities)
    except OSError as error:
        raise SettingsError(
            f"the file of certificate authorities {authorities} cannot be read ({error.strerror or 'no certificate'}): "
            "fix AWS_CA_BUNDLE, the profile's ca_bundle or REQUESTS_CA_BUNDLE"
        ) from None
    return context
