"""Pages of proxies, portals and gateways in the place of AWS's replies: no service takes one for an answer."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import botocore.endpoint
import pytest

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.doctor.aws_checks import check_recovery
from imgmig_dagster.doctor.hazards import check_time_to_live
from imgmig_dagster.errors import ImgmigError, ProxyRefused, StateUnavailable
from imgmig_dagster.stage.source_secret import SourceSecret
from imgmig_dagster.stage.write_guard import caller
from imgmig_dagster.state.s3 import S3StateStore
from imgmig_dagster.target.target_table import describe
from imgmig_dagster_tests.arrange import access
from imgmig_dagster_tests.aws_gate import Answer, AwsGate, aws_gate
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.images import IMAGE

HTML = {"Content-Type": "text/html; charset=utf-8"}
LOGIN = Answer(200, b"<!DOCTYPE html><title>Welcome to our network</title>", HTML)
SQUID = b'<!DOCTYPE html PUBLIC "-//W3C//DTD HTML 4.01//EN"><html><meta charset="utf-8"><p>it is away'

Ask = Callable[[AwsAccess], object]


def state(access: AwsAccess) -> S3StateStore:
    return S3StateStore(access.client("s3"), "pages", "dev", sleep=lambda _seconds: None)


ASKING: dict[str, Ask] = {
    "table": lambda access: describe(access, "images", IMAGE),
    "backups": lambda access: check_recovery(access, "images"),
    "time to live": lambda access: check_time_to_live(access, "images", IMAGE),
    "identity": caller,
    "secret": lambda access: SourceSecret(access, "imgmig").url(),
    "read": lambda access: state(access).read("p/a.json"),
    "write": lambda access: state(access).write("p/a.json", b"one"),
    "list": lambda access: state(access).list("p"),
    "delete": lambda access: state(access).delete("p/a.json"),
}


@pytest.fixture(autouse=True)
def _botocore_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _seconds: None))


@pytest.fixture(scope="module")
def shared_gate(services: Services) -> Iterator[AwsGate]:
    with aws_gate(services.dynamodb_url) as gate:
        yield gate  # one address, and so one client of each service


@pytest.fixture
def gate(shared_gate: AwsGate) -> AwsGate:
    shared_gate.asked.clear()
    return shared_gate


@pytest.mark.parametrize(
    "page",
    [
        LOGIN,
        Answer(302, b"", {"Location": "http://127.0.0.1:9/login"}),
        Answer(403, b"<html>not from here</html>", HTML),
        Answer(404, b"<html>what?</html>", HTML),
    ],
    ids=lambda page: str(page.status),
)
@pytest.mark.parametrize("asking", ASKING)
def test_a_page_is_no_answer_of_any_service(gate: AwsGate, asking: str, page: Answer) -> None:
    gate.rule = lambda _asked: page

    # An object of S3 may be a page of somebody's: that it has no version tells it.
    is_an_object = asking == "read" and page is LOGIN
    with pytest.raises(StateUnavailable if is_an_object else ProxyRefused) as caught:
        ASKING[asking](access(gate.url))

    assert caught.value.exit_code == 3
    assert ("not S3's" if is_an_object else f"answered HTTP {page.status} with a page") in str(caught.value)


@pytest.mark.parametrize("asking", ["table", "backups", "identity", "secret", "list", "write", "read"])
def test_nor_is_nothing(gate: AwsGate, asking: str) -> None:
    gate.rule = lambda _asked: Answer(200)

    with pytest.raises(ImgmigError) as caught:
        ASKING[asking](access(gate.url))

    assert caught.value.exit_code == 3


@pytest.mark.parametrize("asking", ASKING)
def test_a_page_about_an_outage_is_an_outage(gate: AwsGate, asking: str) -> None:
    gate.rule = lambda _asked: Answer(503, SQUID, HTML)

    with pytest.raises(ImgmigError, match="503") as caught:
        ASKING[asking](access(gate.url))

    assert caught.value.exit_code == 3
    assert len(gate.asked) > 1


def test_a_404_that_is_not_s3s_does_not_say_that_a_file_is_not_there(gate: AwsGate) -> None:
    gate.rule = lambda _asked: Answer(404)

    with pytest.raises(StateUnavailable):
        state(access(gate.url)).read("p/a.json")
