"""The private parts of botocore that we use; no other module uses any, which a test checks.

Public are its sessions, configs, credentials and exceptions, and its clients' operations. Each new version of botocore
is tested against this module: with a real proxy, real certificates and real signatures.
"""

# ruff: noqa: SLF001

import ssl
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import botocore.auth
from botocore.auth import EMPTY_SHA256_HASH as EMPTY_SHA256_HASH
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest as AWSRequest
from botocore.httpsession import create_urllib3_context, get_cert_path


def proxy_of(client: Any, url: str) -> str | None:
    """The proxy that a client uses for a URL, with its credentials."""
    found: str | None = client._endpoint.http_session._proxy_config.proxy_url_for(url)
    return found


def proxy_headers_of(client: Any, proxy: str) -> Mapping[str, str]:
    """The headers that hold the proxy's credentials."""
    headers: Mapping[str, str] = client._endpoint.http_session._proxy_config.proxy_headers_for(proxy)
    return headers


def authorities_of(client: Any) -> str | None:
    """The file of the certificate authorities that a client trusts."""
    path: str | None = get_cert_path(client._endpoint.http_session._verify)
    return path


def tls_context() -> ssl.SSLContext:
    """A TLS context as a client makes its own; it trusts nobody yet."""
    context: ssl.SSLContext = create_urllib3_context()
    return context


def signing_time() -> datetime:
    """The time that signatures hold."""
    return botocore.auth.get_current_datetime()  # type: ignore[attr-defined,no-any-return]


class KeyKeepingAuth(SigV4Auth):
    """Signs as botocore does, and derives the key of the day once.

    Four of a signature's five HMACs derive it, and come out the same every time.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._sign = lru_cache(maxsize=8)(super()._sign)  # type: ignore[misc]
