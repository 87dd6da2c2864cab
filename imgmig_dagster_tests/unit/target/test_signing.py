"""Every signature is the one that botocore's own signer gives for the same request at the same instant."""

from datetime import datetime, timedelta, timezone

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from imgmig_dagster.target.request_signing import RequestSigner
from imgmig_dagster_tests.arrange import FakeClock

REGION = "eu-central-1"
URL = "https://dynamodb.eu-central-1.amazonaws.com/"
BODIES = [b"{}", b"", '{"TableName":"löwen"}'.encode(), b"x" * 100_000]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The signer's clock, and botocore's, which is no parameter: two seconds before midnight of a leap day."""
    clock = FakeClock()
    start, begun = datetime(2024, 2, 29, 23, 59, 58, tzinfo=timezone.utc), clock()
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: start + timedelta(seconds=clock() - begun))
    return clock


def by_botocore(credentials: Credentials, operation: str, body: bytes, url: str = URL) -> dict[str, str]:
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    request = AWSRequest("POST", url, headers, body)
    SigV4Auth(credentials, "dynamodb", REGION).add_auth(request)
    return dict(request.headers.items())


@pytest.mark.parametrize("token", [None, "a session's token=="], ids=["no token", "token"])
@pytest.mark.parametrize("url", [URL, "http://127.0.0.1:8000/behind%20a/proxy/"])
def test_headers_are_those_of_botocores_signer_for_every_body_and_operation(
    clock: FakeClock, url: str, token: str | None
) -> None:
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token)
    signer = RequestSigner(credentials, REGION, url, clock)

    for operation in ("PutItem", "BatchWriteItem", "PutItem"):
        for body in BODIES:
            assert signer.headers(operation, body) == by_botocore(credentials, operation, body, url)


def test_time_and_the_key_of_the_day_follow_the_clock(clock: FakeClock) -> None:
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG")
    signer = RequestSigner(credentials, REGION, URL, clock)
    signed_at = set()

    for _second in range(4):
        found = signer.headers("PutItem", b"{}")
        assert found == by_botocore(credentials, "PutItem", b"{}")
        signed_at.add(found["X-Amz-Date"])
        clock.now += 1

    assert signed_at == {"20240229T235958Z", "20240229T235959Z", "20240301T000000Z", "20240301T000001Z"}


def test_credentials_that_were_renewed_sign_within_a_second(clock: FakeClock) -> None:
    credentials = Credentials("AKIDOLD", "old", "old token")
    signer = RequestSigner(credentials, REGION, URL, clock)
    signer.headers("PutItem", b"{}")

    credentials.access_key, credentials.secret_key, credentials.token = "AKIDNEW", "new", "new token"
    clock.now += 1

    found = signer.headers("PutItem", b"{}")
    assert found == by_botocore(Credentials("AKIDNEW", "new", "new token"), "PutItem", b"{}")
    assert found["X-Amz-Security-Token"] == "new token"


@pytest.mark.parametrize("step", [timedelta(minutes=20), -timedelta(minutes=20)], ids=["suspended", "set back"])
def test_a_signature_is_not_used_again_after_a_step_of_the_wall_clock(
    monkeypatch: pytest.MonkeyPatch, step: timedelta
) -> None:
    now = datetime(2024, 2, 29, 12, tzinfo=timezone.utc)
    signer = RequestSigner(Credentials("AKIDEXAMPLE", "s"), REGION, URL, clock=lambda: 5.0)  # it stands still
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: now)
    signer.headers("PutItem", b"{}")

    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: now + step)

    assert signer.headers("PutItem", b"{}")["X-Amz-Date"] == (now + step).strftime("%Y%m%dT%H%M%SZ")
