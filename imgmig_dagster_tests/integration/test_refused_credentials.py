"""Keys that AWS no longer takes, and clocks that it does not believe: every service follows, or says what to do."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.errors import ClockWrong, CredentialsUnavailable, ImgmigError
from imgmig_dagster.stage.write_guard import caller
from imgmig_dagster.state.s3 import S3StateStore
from imgmig_dagster.target.client import DynamoDBClient
from imgmig_dagster.target.target_table import describe
from imgmig_dagster_tests.arrange import Migration, Target, image, item_of, row_id
from imgmig_dagster_tests.aws_gate import Answer, Asked, AwsGate, refused
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.runs import Run
from imgmig_dagster_tests.unit.target.opened import opened

OLD_KEYS = {"dynamodb": "UnrecognizedClientException", "s3": "InvalidAccessKeyId", "sts": "InvalidClientTokenId"}
EXPIRED = {"dynamodb": "ExpiredTokenException", "s3": "ExpiredToken", "sts": "ExpiredToken"}

Ask = Callable[[AwsAccess, Target], object]


def put_item(access: AwsAccess, target: Target) -> None:
    async def run() -> None:
        async with opened(target, "", credentials=access) as table:
            await table.put_new(item_of(1))

    asyncio.run(run())


def write_state(access: AwsAccess, _target: Target) -> None:
    S3StateStore(access.client("s3"), "rotation", "dev").write("p/a.json", b"one")


ASKING: dict[str, Ask] = {
    "items": put_item,
    "table": lambda access, target: describe(access, target.name, IMAGE),
    "state": write_state,
    "identity": lambda access, _target: caller(access),
}


@pytest.fixture
def file(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    file = tmp_path / "credentials"
    clean_environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    write(file, "OLD")
    return file


def write(file: Path, key: str) -> None:
    file.write_text(f"[default]\naws_access_key_id={key}\naws_secret_access_key=s\n")


@pytest.fixture
def access(gate: AwsGate) -> AwsAccess:
    services = ("dynamodb", "s3", "sts")
    made = AwsAccess(region="us-east-1", endpoint_urls=tuple((service, gate.url) for service in services))
    made.client("s3").create_bucket(Bucket="rotation")
    return made


@pytest.mark.parametrize("codes", [OLD_KEYS, EXPIRED], ids=["rotated", "expired"])
@pytest.mark.parametrize("asking", ASKING)
def test_a_key_that_was_rotated_is_read_again_by_every_service(
    file: Path, access: AwsAccess, gate: AwsGate, target: Target, asking: str, codes: dict[str, str]
) -> None:
    ASKING[asking](access, target)
    target.delete(1)
    write(file, "NEW")
    gate.rule = lambda asked: refused(asked, codes[asked.service]) if asked.access_key == "OLD" else None
    gate.asked.clear()

    ASKING[asking](access, target)

    assert {asked.access_key for asked in gate.asked} == {"OLD", "NEW"}
    # The others follow without being refused first.
    gate.asked.clear()
    target.delete(1)
    for each in ASKING.values():
        each(access, target)
    assert {asked.access_key for asked in gate.asked} == {"NEW"}


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize("codes", [OLD_KEYS, EXPIRED], ids=["rotated", "expired"])
@pytest.mark.parametrize("asking", ASKING)
def test_without_another_key_a_login_is_asked_for(
    access: AwsAccess, gate: AwsGate, target: Target, asking: str, codes: dict[str, str]
) -> None:
    gate.rule = lambda asked: refused(asked, codes[asked.service], "the key OLD and more")

    with pytest.raises(CredentialsUnavailable, match="log in again, and give the same command") as caught:
        ASKING[asking](access, target)

    assert caught.value.exit_code == 3
    assert "OLD" not in str(caught.value)


def test_a_pass_whose_login_ends_is_resumed_after_another(
    file: Path, access: AwsAccess, gate: AwsGate, migration: Migration
) -> None:
    migration.source.insert(image(number) for number in range(40))

    def begin() -> Run:
        target = replace(migration.target.settings(), access=access)
        return replace(migration.run(page_size=10), target=target)

    def rule(asked: Asked) -> Answer | None:
        ended = asked.access_key == "OLD" and len(gate.of("dynamodb", "BatchExecuteStatement")) > 2
        return refused(asked, "ExpiredTokenException") if ended else None

    gate.rule = rule
    run = begin()
    with run.source, pytest.raises(CredentialsUnavailable, match="log in again"):
        run.migrate()
    assert migration.ledger == {}, "no row is at fault"
    assert 0 < len(migration.target.items()) < 40

    write(file, "NEW")
    run = begin()
    with run.source:
        result = run.migrate()

    assert len(migration.target.items()) == 40
    assert result.resumes == 1


PROGRAM = r"""#!/bin/sh
cd '%s'
key=FIRST
if [ -e asked ]; then
    key=SECOND
    touch waiting
    for _ in $(seq 100); do [ -e released ] && break; sleep 0.05; done
    [ -e released ] || touch gave-up
fi
touch asked
expires=$(date -u -d '+1 hour' +%%Y-%%m-%%dT%%H:%%M:%%SZ)
echo '{"Version":1,"AccessKeyId":"'$key'","SecretAccessKey":"s","SessionToken":"t","Expiration":"'$expires'"}'
"""


@pytest.fixture
def slow_program(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a profile whose second answer, another key, comes when the file `released` is there."""
    program = tmp_path / "program.sh"
    program.write_text(PROGRAM % tmp_path)
    program.chmod(0o700)
    (tmp_path / "aws-config").write_text(f"[default]\ncredential_process={program}\n")
    clean_environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    return tmp_path


async def test_a_slow_source_of_other_credentials_holds_up_no_loop(
    slow_program: Path, gate: AwsGate, target: Target
) -> None:
    """The first ones are refused."""
    gate.rule = lambda asked: refused(asked, "ExpiredTokenException") if asked.access_key == "FIRST" else None
    access = AwsAccess(region="us-east-1", endpoint_urls=(("dynamodb", gate.url),))

    async with opened(target, "", credentials=access) as table:
        getting = asyncio.create_task(table.get(row_id(1)))
        while not (slow_program / "waiting").exists():  # noqa: ASYNC110  # another process makes it
            await asyncio.sleep(0.01)  # the loop turns
        (slow_program / "released").touch()
        await getting

    assert not (slow_program / "gave-up").exists()


@pytest.mark.parametrize("minutes_left", [5, -1], ids=["they still hold", "they have ended"])
async def test_a_slow_source_of_credentials_holds_up_no_loop(
    slow_program: Path, gate: AwsGate, target: Target, minutes_left: int
) -> None:
    access = AwsAccess(region="us-east-1", endpoint_urls=(("dynamodb", gate.url),))

    async with opened(target, "", credentials=access) as table:
        found = access.credentials()._found
        assert found is not None
        found._expiry_time = datetime.now(tz=timezone.utc) + timedelta(minutes=minutes_left)  # type: ignore[attr-defined]
        access.credentials()._not_before = 0.0
        getting = asyncio.create_task(table.get(row_id(1)))
        if minutes_left > 0:
            await getting  # with the old ones, while new ones are asked for
        else:
            for _turn in range(10):
                await asyncio.sleep(0)  # the loop turns
            assert not getting.done()
        (slow_program / "released").touch()
        await getting

    assert not (slow_program / "gave-up").exists()


def skewed(
    code: str, message: str = "", by: timedelta = timedelta(0), times: int = 1
) -> Callable[[Asked], Answer | None]:
    left = [times]

    def rule(asked: Asked) -> Answer | None:
        left[0] -= 1
        date = format_datetime(datetime.now(tz=timezone.utc) + by, usegmt=True)
        return refused(asked, code, message, date) if left[0] >= 0 else None

    return rule


TOO_OLD = "Signature expired: 20240101T000000Z is now earlier than 20240101T001500Z (20240101T002000Z - 5 min.)"
CLOCKS = {
    "items": ("InvalidSignatureException", TOO_OLD),
    "table": ("InvalidSignatureException", TOO_OLD),
    "state": ("RequestTimeTooSkewed", ""),
    "identity": ("SignatureDoesNotMatch", TOO_OLD),
}


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize("asking", ASKING)
def test_a_signature_that_was_too_old_is_made_again_once(
    access: AwsAccess, gate: AwsGate, target: Target, asking: str
) -> None:
    gate.rule = skewed(*CLOCKS[asking])

    ASKING[asking](access, target)


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize(
    ("by", "said"), [(timedelta(minutes=20), "20 min behind AWS's"), (-timedelta(hours=2), "120 min ahead of AWS's")]
)
@pytest.mark.parametrize("asking", ASKING)
def test_a_wrong_clock_is_named_with_how_wrong_it_is(
    access: AwsAccess, gate: AwsGate, target: Target, asking: str, by: timedelta, said: str
) -> None:
    gate.rule = skewed(*CLOCKS[asking], by=by, times=100)
    gate.asked.clear()

    with pytest.raises(ClockWrong, match=said) as caught:
        ASKING[asking](access, target)

    assert caught.value.exit_code == 3
    assert "2024" not in str(caught.value), "the service's message is not shown"
    assert len(gate.asked) == 2


@pytest.mark.usefixtures("file")
def test_a_wrong_secret_is_not_taken_for_a_wrong_clock(access: AwsAccess, gate: AwsGate, target: Target) -> None:
    message = "The request signature we calculated does not match the signature you provided."
    gate.rule = skewed("InvalidSignatureException", message, times=100)

    for asking in ("items", "table"):
        with pytest.raises(ImgmigError) as caught:
            ASKING[asking](access, target)
        assert not isinstance(caught.value, ClockWrong)


def test_what_signs_is_the_same_for_a_client_of_a_later_run(file: Path, access: AwsAccess) -> None:
    first = DynamoDBClient(access, 1)
    write(file, "NEW")
    first.refresh_credentials()

    assert access.client("s3")._request_signer._credentials.access_key == "NEW"
    assert DynamoDBClient(access, 1)._signing_with.access_key == "NEW"
