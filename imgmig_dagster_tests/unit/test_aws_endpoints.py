"""Which endpoints the guard takes for DynamoDB's own: botocore's of every partition, and no other."""

from dataclasses import replace
from typing import Any

import pytest

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.aws.endpoints import is_own_endpoint
from imgmig_dagster.doctor.aws_checks import check_recovery
from imgmig_dagster.errors import SettingsError, TargetUnavailable
from imgmig_dagster.stage.aws_settings import AwsSettings
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.write_guard import caller, endpoint_fault
from imgmig_dagster.target.client import DynamoDBClient
from imgmig_dagster.target.target_table import describe
from imgmig_dagster_tests.arrange import access as emulated
from imgmig_dagster_tests.aws_gate import Answer, aws_gate
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.images import IMAGE

ACCOUNT = "123456789012"
THROTTLED = b"<ErrorResponse><Error><Code>Throttling</Code><Message>slowly</Message></Error></ErrorResponse>"

pytestmark = pytest.mark.usefixtures("clean_environment")


def access(region: str, url: str | None = None) -> AwsAccess:
    urls = (("dynamodb", url),) if url else ()
    return AwsAccess(region=region, access_key_id="a", secret_access_key="s", endpoint_urls=urls, plain="never")


@pytest.mark.parametrize(
    "region", ["us-east-1", "eusc-de-east-1", "cn-north-1", "us-iso-east-1", "us-isob-east-1", "us-gov-west-1"]
)
@pytest.mark.parametrize("variable", ["", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_what_botocore_finds_for_a_region_is_its_own(
    clean_environment: pytest.MonkeyPatch, region: str, variable: str
) -> None:
    if variable:
        clean_environment.setenv(variable, "true")

    assert endpoint_fault(access(region)) is None


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("dynamodb.us-east-1.amazonaws.com", "us-east-1"),
        ("dynamodb-fips.us-east-1.amazonaws.com", "us-east-1"),
        ("dynamodb.us-east-1.api.aws", "us-east-1"),
        (f"{ACCOUNT}.ddb.us-east-1.amazonaws.com", "us-east-1"),
        ("vpce-0123abcd-5efg.dynamodb.us-east-1.vpce.amazonaws.com", "us-east-1"),
        ("vpce-0123abcd-5efg-us-east-1a.dynamodb.us-east-1.vpce.amazonaws.com", "us-east-1"),
        ("dynamodb.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("vpce-0123abcd-5efg.dynamodb.cn-north-1.vpce.amazonaws.com.cn", "cn-north-1"),
    ],
)
def test_a_configured_name_of_aws_is_taken(host: str, region: str) -> None:
    assert endpoint_fault(access(region, f"https://{host}"), ACCOUNT) is None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "amazonaws.com.example.com",
        "dynamodb.us-east-1.amazonaws.com.example.com",
        "emulator-1234.us-east-1.elb.amazonaws.com",
        "abc123.execute-api.us-east-1.amazonaws.com",
        "s3.us-east-1.amazonaws.com",
        "vpce-0123abcd-5efg.execute-api.us-east-1.vpce.amazonaws.com",
        "a.vpce-1.dynamodb.us-east-1.vpce.amazonaws.com",
        "dynamodb.us-east-1.amazonaws.eu",
        "999999999999.ddb.us-east-1.amazonaws.com",
    ],
)
def test_no_other_is(host: str) -> None:
    fault = endpoint_fault(access("us-east-1", f"https://{host}"), ACCOUNT)

    assert fault is not None
    assert "is not AWS's own" in fault


@pytest.mark.parametrize("host", ["dynamodb.eu-west-1.amazonaws.com", "dynamodb.cn-north-1.amazonaws.com.cn"])
def test_another_regions_is_told_as_such(host: str) -> None:
    fault = endpoint_fault(access("us-east-1", f"https://{host}"))

    assert fault == f"the endpoint https://{host} is not of AWS_REGION=us-east-1"


def test_a_word_that_looks_like_a_region_is_none() -> None:
    assert not is_own_endpoint("dynamodb.not-a-region-1.amazonaws.com.evil.example", "not-a-region-1", None)


def test_an_sts_that_is_away_is_told_by_name_with_what_a_private_subnet_needs() -> None:
    away = AwsAccess(
        region="us-east-1",
        access_key_id="a",
        secret_access_key="s",
        endpoint_urls=(("sts", "https://127.0.0.1:9"),),
    )

    with pytest.raises(TargetUnavailable, match=r"STS cannot be reached at https://127\.0\.0\.1:9.*REGION\.sts"):
        caller(away)


def test_few_and_short_tries_are_made_of_sts() -> None:
    config = access("us-east-1").client("sts").meta.config

    assert config.connect_timeout * config.retries["total_max_attempts"] <= 6


def test_items_go_to_an_accounts_own_endpoint_where_botocores_calls_do(clean_environment: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_ACCOUNT_ID": ACCOUNT,
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "required",
    }.items():
        clean_environment.setenv(name, value)

    made = AwsSettings(stage=Stage.PROD).aws()

    assert made.route_to_dynamodb().url == f"https://{ACCOUNT}.ddb.us-east-1.amazonaws.com/"


def test_an_account_that_is_not_known_is_said_where_the_endpoint_needs_it(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    clean_environment.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", "required")

    with pytest.raises(SettingsError, match="no AccountID was provided"):
        DynamoDBClient(access("us-east-1"), 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"region": None}, "You must specify a region. Check AWS_REGION"),
        ({"region": "us_east 1"}, "'us_east 1' doesn't match a supported format. Check AWS_REGION"),
        ({"profile": "nobody"}, r"profile \(nobody\) could not be found. Check AWS_REGION, AWS_PROFILE"),
        ({"endpoint_urls": (("dynamodb", "https//typo"),)}, "Invalid endpoint: https//typo. .*AWS_ENDPOINT_URL"),
    ],
    ids=["no region", "a region that is none", "no such profile", "a URL that is none"],
)
def test_what_no_client_can_be_made_of_is_a_fault_of_the_settings(changes: Any, said: str) -> None:
    wrong = replace(access("us-east-1"), **changes)

    for ask in (
        lambda: describe(wrong, "images", IMAGE),
        lambda: endpoint_fault(wrong),
        lambda: check_recovery(wrong, "t"),
    ):
        with pytest.raises(SettingsError, match=said):
            ask()


@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:hun/ter2@proxy.internal:3128",
        "http://user:hun#ter2@proxy.internal:3128",
        "http://user:hunter2@proxy.internal:port",
        "socks5://user:hunter2@proxy.internal:1080",
        "http://",
    ],
)
def test_a_proxy_that_is_none_is_named_before_anything_is_sent_and_its_password_is_not_shown(
    clean_environment: pytest.MonkeyPatch, proxy: str
) -> None:
    clean_environment.setenv("HTTPS_PROXY", proxy)

    for ask in (lambda: describe(access("us-east-1"), "images", IMAGE), lambda: caller(access("us-east-1"))):
        with pytest.raises(SettingsError, match="write HTTPS_PROXY and HTTP_PROXY as http://user:password@") as caught:
            ask()
        assert "hun" not in str(caught.value)


@pytest.mark.parametrize("answer", [Answer(503, b""), Answer(400, THROTTLED)], ids=["fails", "throttles"])
def test_sts_that_fails_is_no_fault_of_the_credentials(services: Services, answer: Answer) -> None:
    with aws_gate(services.dynamodb_url) as gate:
        gate.rule = lambda _asked: answer
        with pytest.raises(TargetUnavailable, match=r"AWS STS answered .*: give the same command again later"):
            caller(emulated(gate.url))


@pytest.mark.parametrize(
    ("not_proxied", "proxy"),
    [
        ("", "http://proxy.internal.test:3128"),
        ("internal.test,s3.us-east-1.amazonaws.com", "http://proxy.internal.test:3128"),
        (".amazonaws.com", None),
        ("dynamodb.us-east-1.amazonaws.com", None),
    ],
)
def test_items_go_by_the_proxy_unless_no_proxy_names_their_host(
    clean_environment: pytest.MonkeyPatch, not_proxied: str, proxy: str | None
) -> None:
    for name in ("https_proxy", "no_proxy"):
        clean_environment.delenv(name, raising=False)
    clean_environment.setenv("HTTPS_PROXY", "http://egress:secret@proxy.internal.test:3128")
    clean_environment.setenv("NO_PROXY", not_proxied)

    assert access("us-east-1").route_to_dynamodb().proxy == proxy
