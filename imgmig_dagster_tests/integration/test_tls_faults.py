"""Certificates that are refused: items and botocore's calls trust the same, and say what is wrong with it."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.errors import SettingsError, TlsRefused
from imgmig_dagster.target.target_table import describe
from imgmig_dagster_tests.arrange import FakeClock, Target, access, item_of
from imgmig_dagster_tests.certificates import Authority
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.tls_front import tls_front
from imgmig_dagster_tests.unit.target.opened import opened

pytestmark = pytest.mark.usefixtures("clean_environment")

LOOPBACK = "IP:127.0.0.1"


def put(target: Target, url: str) -> list[float]:
    """Write an item; returns what was waited before retries."""
    clock = FakeClock()

    async def run() -> None:
        async with opened(target, url, clock) as table:
            await table.put_new(item_of(1))

    asyncio.run(run())
    return clock.slept


def by_botocore(target: Target, url: str) -> None:
    describe(access(url), target.name, IMAGE)


def as_items(target: Target, url: str) -> None:
    put(target, url)


WAYS: list[Callable[[Target, str], None]] = [as_items, by_botocore]


@pytest.fixture
def port(services: Services) -> int:
    return urlsplit(services.dynamodb_url).port or 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("names", "days", "trusted", "said"),
    [
        (LOOPBACK, -1, True, "certificate has expired; have it renewed, and check this machine's clock"),
        ("DNS:another.example", 2, True, "check AWS_ENDPOINT_URL"),
        (
            LOOPBACK,
            2,
            False,
            "unable to get local issuer certificate; name its authority's certificate by AWS_CA_BUNDLE",
        ),
    ],
    ids=["expired", "another host", "unknown authority"],
)
def test_a_certificate_is_refused_by_its_fault_and_not_tried_again(
    target: Target,
    port: int,
    tmp_path: Path,
    clean_environment: pytest.MonkeyPatch,
    way: Any,
    names: str,
    days: int,
    trusted: bool,
    said: str,
) -> None:
    authority = Authority(tmp_path / "ca")
    if trusted:
        clean_environment.setenv("AWS_CA_BUNDLE", str(authority.file))
    with tls_front(port, authority.issue(names, days)) as front, pytest.raises(TlsRefused, match=said) as caught:
        way(target, f"https://127.0.0.1:{front}")

    assert caught.value.exit_code == 3
    assert f"TLS to https://127.0.0.1:{front}" in str(caught.value)
    assert "ConnectionFailed" not in str(caught.value)


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_speaks_no_tls_is_told_as_such(target: Target, port: int, way: Any) -> None:
    with pytest.raises(TlsRefused, match=f"TLS to https://127.0.0.1:{port}/? is not agreed on"):
        way(target, f"https://127.0.0.1:{port}")


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "profile"])
def test_items_trust_what_botocore_trusts(
    target: Target, port: int, tmp_path: Path, clean_environment: pytest.MonkeyPatch, variable: str
) -> None:
    authority = Authority(tmp_path / "ca")
    if variable == "profile":
        (tmp_path / "aws-config").write_text(f"[default]\nca_bundle = {authority.file}\n")
        clean_environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    else:
        clean_environment.setenv(variable, str(authority.file))

    with tls_front(port, authority.issue(LOOPBACK)) as front:
        by_botocore(target, f"https://127.0.0.1:{front}")
        assert put(target, f"https://127.0.0.1:{front}") == []

    assert target.item(1) == item_of(1)


def test_a_home_made_authority_is_trusted_under_pythons_strict_rules_too(
    target: Target, port: int, tmp_path: Path, clean_environment: pytest.MonkeyPatch
) -> None:
    # What Python 3.13 does of itself.
    lenient = ssl.create_default_context

    def strict(*arguments: Any, **named: Any) -> ssl.SSLContext:
        context = lenient(*arguments, **named)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    clean_environment.setattr(ssl, "create_default_context", strict)
    authority = Authority(tmp_path / "ca", strict=False)
    clean_environment.setenv("AWS_CA_BUNDLE", str(authority.file))

    with tls_front(port, authority.issue(LOOPBACK)) as front:
        by_botocore(target, f"https://127.0.0.1:{front}")
        assert put(target, f"https://127.0.0.1:{front}") == []


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_authorities_that_cannot_be_read_is_named(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "bundle.pem"
    if content is not None:
        file.write_text(content)
    clean_environment.setenv("AWS_CA_BUNDLE", str(file))

    with pytest.raises(SettingsError, match=r"certificate authorities .*bundle\.pem cannot be read .*AWS_CA_BUNDLE"):
        AwsAccess(region="us-east-1", access_key_id="a", secret_access_key="s").client("dynamodb")
