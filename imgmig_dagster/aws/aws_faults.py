"""Errors that every request to AWS would meet: lost credentials, TLS, a proxy, a wrong clock. Each is reported once.

botocore's clients raise these in place of their own errors; `target.client` raises them for items.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError
from urllib3.util.ssl_match_hostname import CertificateError

from imgmig_dagster.aws.route import proxy_place
from imgmig_dagster.errors import ClockWrong, CredentialsUnavailable, ProxyRefused, TlsRefused

if TYPE_CHECKING:
    from imgmig_dagster.aws.credentials import SharedCredentials

REFUSED_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "UnrecognizedClientException",
    }
)
"""Codes by which AWS's services say that a key is unknown or invalid: after a rotation there may be another one."""

_CLOCK: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
_SIGNATURES: Final = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch"})
_AGE: Final = re.compile("signature (?:expired|not yet current)", re.IGNORECASE)
# AWS accepts signatures that are up to five minutes old; S3 up to fifteen.
_TOLERATED_S: Final = 5 * 60.0

# By OpenSSL's numbers (x509_vfy.h).
_REMEDIES: Final[Mapping[int, str]] = {
    9: "check this machine's clock",
    10: "have it renewed, and check this machine's clock",
    **dict.fromkeys(
        (2, 18, 19, 20, 21),
        "name its authority's certificate by AWS_CA_BUNDLE, or by ca_bundle in the profile",
    ),
    **dict.fromkeys((62, 64), "it is of another host: check AWS_ENDPOINT_URL* and the proxy"),
}
# What urllib3 makes of a proxy's answer to CONNECT.
_TUNNEL_REFUSED: Final = re.compile(r"Tunnel connection failed: (4\d\d)")
_CUT_OFF: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def may_pass(error: ClientError) -> bool:
    """Whether a service that answered with this error may recover: it is overloaded, or fails."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or status == 429 or "Throttl" in error.response["Error"]["Code"]


def is_of_the_clock(code: str, message: str, date: str | None) -> bool:
    """Whether a refusal is about the time in a signature. Never pass the message on: it can hold keys."""
    if code in _CLOCK:
        return True
    return code in _SIGNATURES and (bool(_AGE.search(message)) or abs(_behind(date) or 0.0) > _TOLERATED_S)


def clock_wrong(service: str, code: str, date: str | None) -> ClockWrong:
    """The error for a wrong clock; `date` is the header of the reply, which says how wrong it is."""
    behind = _behind(date)
    by = ""
    if behind is not None and abs(behind) > 60:
        by = f", which is {abs(behind) / 60:,.0f} min {'behind' if behind > 0 else 'ahead of'} AWS's"
    return ClockWrong(
        f"{service} answered {code}: a signature holds the time by this machine's clock{by}. Set the clock (NTP), and "
        "give the same command: it resumes"
    )


def credentials_refused(service: str, code: str) -> CredentialsUnavailable:
    """The error for credentials that AWS refuses, where no others were found."""
    return CredentialsUnavailable(
        f"{service} answered {code}, and no other credentials were found: log in again, and give the same command: it "
        "resumes"
    )


def tls_refused(service: str, error: BaseException | None) -> TlsRefused | None:
    """The error for TLS that failed, anywhere in a chain of causes; None for any other cause."""
    for cause in _causes(error):
        # aiohttp's errors inherit from ssl's, but only their cause describes the fault.
        if isinstance(cause, ssl.SSLCertVerificationError) and hasattr(cause, "verify_code"):
            remedy = _REMEDIES.get(cause.verify_code, "have its authority issue one that holds to X.509")
            return TlsRefused(f"TLS to {service}: the certificate is refused: {cause.verify_message}; {remedy}")
        if isinstance(cause, CertificateError):
            return TlsRefused(f"TLS to {service}: the certificate is refused: {cause}; {_REMEDIES[62]}")
        reason = getattr(cause, "reason", None) if isinstance(cause, ssl.SSLError) else None
        if reason and not isinstance(cause, _CUT_OFF):
            return TlsRefused(f"TLS to {service} is not agreed on: {reason}; check AWS_ENDPOINT_URL* and HTTPS_PROXY")
    return None


def proxy_refused(place: str, status: int) -> ProxyRefused:
    """The error for a proxy, by host and port, that lets nothing through."""
    cause = "it asks for other credentials" if status == 407 else "it does not let this host through"
    return ProxyRefused(
        f"the proxy {place or 'before AWS'} answered {status}: {cause}. Fix HTTPS_PROXY or HTTP_PROXY, or name the "
        "host in NO_PROXY"
    )


def tells_faults(client: Any) -> None:
    """Make a botocore client end at once where TLS or the clock is wrong. Signs a request that is too old once more."""
    service = client.meta.service_model.service_name

    def judge(
        response: tuple[Any, dict[str, Any]] | None,
        caught_exception: BaseException | None,
        request_dict: dict[str, Any],
        **_others: Any,
    ) -> float | None:
        host = client.meta.endpoint_url
        if caught_exception is not None:
            if fault := tls_refused(host, caught_exception):
                raise fault
            if found := _TUNNEL_REFUSED.search(str(caught_exception)):
                raise proxy_refused(proxy_place(client), int(found[1]))
            return None
        code, message, date = _refusal(response)
        if not is_of_the_clock(code, message, date):
            return None
        if request_dict["context"].setdefault("imgmig_signed_again", False):
            raise clock_wrong(service, code, date)
        request_dict["context"]["imgmig_signed_again"] = True
        return 0.0

    client.meta.events.register_first("needs-retry", judge)


def renews_credentials(client: Any, credentials: "SharedCredentials") -> None:
    """Make a botocore client look for other credentials when AWS refuses those that it signed with."""
    service = client.meta.service_model.service_name

    def note(request: Any, **_others: Any) -> None:
        request.context["imgmig_access_key"] = access_key_of(request.headers.get("Authorization", ""))

    def judge(
        response: tuple[Any, dict[str, Any]] | None, request_dict: dict[str, Any], **_others: Any
    ) -> float | None:
        code, _message, _date = _refusal(response)
        if code not in REFUSED_CREDENTIALS:
            return None
        context = request_dict["context"]
        if context.get("imgmig_renewed") or not credentials.replace(context["imgmig_access_key"]):
            raise credentials_refused(service, code)
        context["imgmig_renewed"] = True
        return 0.0

    client.meta.events.register_last("request-created", note)
    client.meta.events.register_first("needs-retry", judge)


def access_key_of(authorization: str) -> str:
    """The access key that an Authorization header names."""
    return str(authorization).partition("Credential=")[2].partition("/")[0]


def _refusal(response: tuple[Any, dict[str, Any]] | None) -> tuple[str, str, str | None]:
    if response is None:
        return "", "", None
    http, parsed = response
    error = parsed.get("Error", {})
    return str(error.get("Code", "")), str(error.get("Message", "")), http.headers.get("Date")


def _behind(date: str | None) -> float | None:
    """Seconds by which this machine's clock is behind a reply's Date header."""
    try:
        return (parsedate_to_datetime(date or "") - datetime.now(tz=timezone.utc)).total_seconds()
    except (TypeError, ValueError):
        return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and everything that it wraps: each library keeps the cause in another place."""
    left, seen = [error], set()
    while left:
        each = left.pop()
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        left += [each.__cause__, each.__context__, *each.args, getattr(each, "kwargs", {}).get("error")]
        left += [getattr(each, "certificate_error", None), getattr(each, "os_error", None)]
