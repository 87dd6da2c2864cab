"""Signs requests with botocore's SigV4. What does not change between requests is done once a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from botocore.credentials import Credentials

from imgmig_dagster.aws.botocore_internals import EMPTY_SHA256_HASH, AWSRequest, KeyKeepingAuth, signing_time

_CONTENT_TYPE: Final = "application/x-amz-json-1.0"
# The service accepts signatures that are minutes old; botocore is still asked for its credentials this often.
_REUSED_FOR_S: Final = 1.0


class RequestSigner:
    """Signs the requests of one endpoint of DynamoDB.

    In the same second, the signed text of two requests of one operation differs only in the body's hash. So botocore
    signs an empty request of each operation once a second, and each body's hash replaces the empty one.
    """

    def __init__(
        self, credentials: Credentials, region: str, url: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._credentials = credentials
        self._region = region
        self._url = url
        self._clock = clock
        self._signed: dict[str, _Signed] = {}

    def headers(self, operation: str, body: bytes) -> dict[str, str]:
        """The headers to send `body` with: the operation's name, the time and the signature among them."""
        signed = self._signed.get(operation)
        now = self._clock()
        if signed is None or now - signed.at >= _REUSED_FOR_S or _wall_clock_moved(signed.time):
            signed = self._signed[operation] = self._sign_empty(operation, now)
        canonical_request = signed.canonical_request + sha256(body).hexdigest()
        string_to_sign = signed.auth.string_to_sign(signed.request, canonical_request)
        signature = signed.auth.signature(string_to_sign, signed.request)
        return {**signed.headers, "Authorization": signed.authorization + signature}

    def _sign_empty(self, operation: str, now: float) -> "_Signed":
        target = f"DynamoDB_20120810.{operation}"
        request = AWSRequest("POST", self._url, {"Content-Type": _CONTENT_TYPE, "X-Amz-Target": target}, b"")
        auth = KeyKeepingAuth(self._credentials.get_frozen_credentials(), "dynamodb", self._region)
        auth.add_auth(request)
        headers = dict(request.headers.items())
        authorization = headers.pop("Authorization")
        del request.headers["Authorization"]
        return _Signed(
            at=now,
            time=signing_time(),
            auth=auth,
            request=request,
            headers=headers,
            canonical_request=auth.canonical_request(request).removesuffix(EMPTY_SHA256_HASH),
            authorization=authorization[: authorization.index("Signature=") + len("Signature=")],
        )


@dataclass(frozen=True)
class _Signed:
    """An empty request as botocore signed it; `canonical_request` and `authorization` end before the hash."""

    at: float
    time: datetime
    auth: KeyKeepingAuth
    request: AWSRequest
    headers: dict[str, str]
    canonical_request: str
    authorization: str


def _wall_clock_moved(since: datetime) -> bool:
    """Whether the clock that signatures carry moved by more than the time that passed.

    The other clock stops while the machine is suspended, and does not see clock changes.
    """
    return not timedelta(0) <= signing_time() - since < timedelta(seconds=2 * _REUSED_FOR_S)
