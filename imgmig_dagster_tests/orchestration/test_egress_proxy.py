"""Commands behind a company's proxy: items go the way that botocore's calls go, and nothing on loopback is proxied."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from imgmig_dagster_tests.arrange import image
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.forward_proxy import ForwardProxy, forward_proxy
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform
from imgmig_dagster_tests.orchestration.commands import Imgmig
from imgmig_dagster_tests.tls_front import self_signed, tls_front

NOTHING_LISTENS = "http://127.0.0.1:9"
DYNAMODB = "dynamodb.us-east-1.amazonaws.com"


@pytest.fixture(autouse=True)
def rows(platform: Platform) -> None:
    platform.source.insert([image(number) for number in range(5)])


def port_of(services: Services) -> int:
    return urlsplit(services.dynamodb_url).port or 0


def all_three(imgmig: Imgmig) -> None:
    looked = imgmig("doctor", "--json")
    assert looked.exit_code == 0, looked.stdout
    planned = imgmig("dry-run", "--partition", MARCH)
    assert planned.exit_code == 0, planned.stdout + planned.stderr
    written = imgmig("migrate", "--partition", MARCH)
    assert written.exit_code == 0, written.stdout + written.stderr


def operations(proxy: ForwardProxy) -> set[str]:
    return {operation for _method, _host, operation in proxy.asked}


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
def test_doctor_dry_run_and_migrate_go_through_a_proxy_that_asks_for_a_password(
    imgmig: Imgmig, platform: Platform, services: Services, name: str
) -> None:
    with forward_proxy({"aws.internal.test": port_of(services)}, password=True) as proxy:
        platform.set(
            **{name: proxy.url_with_password},
            AWS_ENDPOINT_URL="http://aws.internal.test",
            AWS_ENDPOINT_URL_DYNAMODB="http://aws.internal.test",
        )
        all_three(imgmig)

        assert operations(proxy) >= {"DescribeTable", "BatchGetItem", "BatchWriteItem"}
        assert proxy.refused == 0
    assert len(platform.target.items()) == 5


def test_the_same_by_https_through_a_tunnel(
    imgmig: Imgmig, platform: Platform, services: Services, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path, f"DNS:{DYNAMODB},DNS:*.amazonaws.com,DNS:*.us-east-1.amazonaws.com")
    with (
        tls_front(port_of(services), certificate) as front,
        forward_proxy({DYNAMODB: front, "sts.us-east-1.amazonaws.com": front}, password=True) as proxy,
    ):
        platform.set(
            HTTPS_PROXY=proxy.url_with_password,
            AWS_CA_BUNDLE=str(certificate.file),
            AWS_ENDPOINT_URL_DYNAMODB=f"https://{DYNAMODB}",
        )
        all_three(imgmig)

        assert ("CONNECT", f"{DYNAMODB}:443", "") in proxy.asked
        assert proxy.refused == 0
    assert len(platform.target.items()) == 5


def test_a_proxy_that_refuses_its_password_is_named_at_once_by_both_ways(
    imgmig: Imgmig, platform: Platform, services: Services
) -> None:
    with forward_proxy({"aws.internal.test": port_of(services)}, password=True) as proxy:
        platform.set(
            HTTP_PROXY=f"http://egress:wrong@127.0.0.1:{proxy.server_port}",
            AWS_ENDPOINT_URL_DYNAMODB="http://aws.internal.test",
        )
        for command in (("doctor",), ("migrate", "--partition", MARCH)):
            finished = imgmig(*command)

            assert finished.exit_code == 3
            shown = " ".join((finished.stdout + finished.stderr).split())
            assert "answered 407" in shown
            assert "wrong" not in shown


def test_hosts_of_no_proxy_and_everything_on_loopback_are_reached_directly(
    imgmig: Imgmig, platform: Platform, services: Services
) -> None:
    platform.set(AWS_ENDPOINT_URL=services.dynamodb_url)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        platform.set(**{name: NOTHING_LISTENS})

    all_three(imgmig)

    platform.set(NO_PROXY="internal.test", AWS_ENDPOINT_URL_DYNAMODB="http://aws.internal.test:1")
    away = imgmig("migrate", "--partition", MARCH)
    assert away.exit_code == 3
    assert "Proxy" not in away.stdout + away.stderr
