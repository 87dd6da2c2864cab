"""Credentials are asked for once a process, renewed before they end, and told when somebody has to log in."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.aws.credentials import SharedCredentials
from imgmig_dagster.aws.session import AwsSession
from imgmig_dagster.errors import CredentialsUnavailable, SettingsError
from imgmig_dagster.target.client import DynamoDBClient
from imgmig_dagster_tests.aws_gate import aws_gate, refused
from imgmig_dagster_tests.conftest import Services

PROGRAM = """#!/bin/sh
echo asked >> '{folder}/asked'
if [ -e '{folder}/fails' ]; then
  [ -e '{folder}/always' ] || rm '{folder}/fails'
  echo 'password hunter2 is wrong' >&2
  exit 1
fi
cat '{folder}/answer'
"""


class Source:
    """A program that gives credentials, as a profile's `credential_process` names one."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        program = folder / "program.sh"
        program.write_text(PROGRAM.format(folder=folder))
        program.chmod(0o700)
        (folder / "aws-config").write_text(f"[profile counted]\nregion=us-east-1\ncredential_process={program}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "aws-config"))
        self.answers("FIRST")

    def answers(self, key: str, lives: timedelta | None = None) -> None:
        answer = {"Version": 1, "AccessKeyId": key, "SecretAccessKey": "s", "SessionToken": "t"}
        if lives is not None:
            answer["Expiration"] = (datetime.now(tz=timezone.utc) + lives).isoformat()
        (self.folder / "answer").write_text(json.dumps(answer))

    def fails(self, always: bool) -> None:
        (self.folder / "fails").touch()
        if always:
            (self.folder / "always").touch()

    def works_again(self) -> None:
        for name in ("fails", "always"):
            (self.folder / name).unlink(missing_ok=True)

    @property
    def asked(self) -> int:
        return len((self.folder / "asked").read_text().splitlines())


@pytest.fixture
def program(tmp_path: Path, clean_environment: pytest.MonkeyPatch) -> Source:
    return Source(tmp_path, clean_environment)


ACCESS = AwsAccess(profile="counted", region="us-east-1")


class Shared:
    """Shared credentials whose waits are only noted."""

    def __init__(self, access: AwsAccess = ACCESS) -> None:
        self.slept: list[float] = []
        self.now = 0.0
        self.credentials = SharedCredentials(
            lambda: AwsSession(access).get_credentials(), sleep=self.slept.append, clock=lambda: self.now
        )

    @property
    def key(self) -> str:
        return str(self.credentials.get_frozen_credentials().access_key)


def test_a_process_is_asked_once_by_all_clients_and_threads(program: Source, services: Services) -> None:
    access = AwsAccess(
        profile="counted",
        region="us-east-1",
        endpoint_urls=tuple((service, services.dynamodb_url) for service in ("dynamodb", "s3", "sts")),
    )

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _n: access.client("s3").list_buckets(), range(16)))
    access.client("sts").get_caller_identity()
    for _partition in range(3):
        DynamoDBClient(AwsAccess(**vars(access)), 1)

    assert program.asked == 1


@pytest.mark.parametrize("lives", [timedelta(seconds=60), timedelta(minutes=14), timedelta(hours=1)])
def test_short_lived_credentials_are_not_asked_for_with_every_request(program: Source, lives: timedelta) -> None:
    program.answers("SHORT", lives)
    shared = Shared()

    assert [shared.key for _request in range(5)] == ["SHORT"] * 5
    assert program.asked == 1


def test_they_are_renewed_before_they_end(program: Source) -> None:
    program.answers("FIRST", timedelta(hours=1))
    shared = Shared()
    assert shared.key == "FIRST"
    shared.credentials._found._expiry_time -= timedelta(minutes=50)  # type: ignore[union-attr]  # time passes
    program.answers("SECOND", timedelta(hours=1))
    shared.now += 60

    assert shared.credentials.are_due
    assert shared.key == "SECOND"
    assert program.asked == 2


def expired(shared: Shared) -> None:
    shared.credentials._found._expiry_time -= timedelta(days=1)  # type: ignore[union-attr]


def test_a_source_that_fails_for_a_moment_is_asked_again(program: Source) -> None:
    program.answers("FIRST", timedelta(hours=1))
    shared = Shared()
    assert shared.key == "FIRST"
    expired(shared)
    program.answers("SECOND", timedelta(hours=1))
    program.fails(always=False)

    assert shared.key == "SECOND"
    assert len(shared.slept) == 1


def test_one_that_fails_for_good_is_told_as_a_login_that_is_needed_and_not_in_its_own_words(program: Source) -> None:
    program.answers("FIRST", timedelta(hours=1))
    shared = Shared()
    assert shared.key == "FIRST"
    expired(shared)
    program.fails(always=True)

    with pytest.raises(CredentialsUnavailable, match="log in again, and give the same command") as caught:
        _ = shared.key

    assert caught.value.exit_code == 3
    assert "hunter2" not in str(caught.value)
    # A server of code lives on: after a login it goes on.
    program.works_again()
    program.answers("SECOND")
    assert shared.key == "SECOND"


def test_what_has_ended_when_it_comes_is_told_with_the_clock(program: Source) -> None:
    program.answers("FIRST", timedelta(hours=-1))

    with pytest.raises(CredentialsUnavailable, match="have already ended by this machine's clock") as caught:
        _ = Shared().key

    assert "RuntimeError" not in str(caught.value)


def test_while_the_old_ones_hold_a_source_that_fails_is_no_fault(program: Source) -> None:
    program.answers("FIRST", timedelta(hours=1))
    shared = Shared()
    assert shared.key == "FIRST"
    shared.credentials._found._expiry_time -= timedelta(minutes=55)  # type: ignore[union-attr]
    program.fails(always=True)
    shared.now += 60

    assert [shared.key for _request in range(5)] == ["FIRST"] * 5
    tried = program.asked
    shared.now += 60
    assert shared.key == "FIRST"
    assert program.asked > tried, "and it is asked again later"


@pytest.mark.usefixtures("clean_environment")
class TestLogins:
    def test_sso_that_has_ended_is_told_at_once(self, clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
        clean_environment.setenv("HOME", str(tmp_path))
        (tmp_path / "aws-config").write_text(
            "[profile sso]\nregion=us-east-1\nsso_session=s\nsso_account_id=123456789012\nsso_role_name=r\n"
            "[sso-session s]\nsso_region=us-east-1\nsso_start_url=https://example.awsapps.com/start\n"
        )
        clean_environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
        shared = Shared(AwsAccess(profile="sso"))

        with pytest.raises(CredentialsUnavailable, match="log in again"):
            _ = shared.key

        assert shared.slept == []

    def test_a_profile_that_is_not_there_and_no_credentials_at_all_are_faults_of_the_settings(self) -> None:
        with pytest.raises(SettingsError, match="AWS_PROFILE"):
            _ = Shared(AwsAccess(profile="nobody")).key
        with pytest.raises(SettingsError, match="no AWS credentials were found"):
            _ = Shared(AwsAccess()).key

    def test_keys_of_a_source_profile_that_were_rotated_are_read_again(
        self, clean_environment: pytest.MonkeyPatch, tmp_path: Path, services: Services
    ) -> None:
        with aws_gate(services.dynamodb_url) as gate:
            access = self.assumed(clean_environment, tmp_path, gate.url)
            shared = Shared(access)
            assert shared.key.startswith("ASIA")
            expired(shared)
            shared.credentials._found._refresh_using.__self__._cache.clear()  # type: ignore[union-attr]
            self.keys(tmp_path, "ROTATED")
            gate.rule = lambda asked: refused(asked, "InvalidClientTokenId") if asked.access_key == "SOURCE" else None

            _ = shared.key

            assert [asked.access_key for asked in gate.of("sts", "AssumeRole")][-1] == "ROTATED"

    @staticmethod
    def keys(folder: Path, key: str) -> None:
        (folder / "credentials").write_text(f"[source]\naws_access_key_id={key}\naws_secret_access_key=s\n")

    def assumed(self, environment: pytest.MonkeyPatch, folder: Path, url: str, more: str = "") -> AwsAccess:
        self.keys(folder, "SOURCE")
        role = "arn:aws:iam::123456789012:role/imgmig"
        (folder / "aws-config").write_text(
            f"[profile assumed]\nregion=us-east-1\nsource_profile=source\nrole_arn={role}\n{more}"
        )
        environment.setenv("AWS_CONFIG_FILE", str(folder / "aws-config"))
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
        return AwsAccess(
            profile="assumed",
            region="us-east-1",
            endpoint_urls=tuple((service, url) for service in ("dynamodb", "s3", "sts")),
        )

    def test_a_code_of_mfa_is_asked_for_once(
        self, clean_environment: pytest.MonkeyPatch, tmp_path: Path, services: Services
    ) -> None:
        device = "mfa_serial=arn:aws:iam::123456789012:mfa/somebody\n"
        with aws_gate(services.dynamodb_url) as gate:
            access = self.assumed(clean_environment, tmp_path, gate.url, device)
            code = (
                "from imgmig_dagster.aws.access import AwsAccess\n"
                "from imgmig_dagster.target.client import DynamoDBClient\n"
                f"access = {access!r}\n"
                "access.client('s3').list_buckets(); access.client('sts').get_caller_identity()\n"
                "[DynamoDBClient(access, 1) for partition in range(3)]\n"
            )
            # Without a terminal the code is read from standard input.
            finished = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", code],
                input="123456\n",
                text=True,
                capture_output=True,
                start_new_session=True,
                check=False,
                cwd=Path(__file__).parents[2],
            )

            assert finished.returncode == 0, finished.stderr
            assert finished.stderr.count("Enter MFA code") == 1
            assert len(gate.of("sts", "AssumeRole")) == 1

    def test_a_web_identity_is_traded_once(
        self, clean_environment: pytest.MonkeyPatch, tmp_path: Path, services: Services
    ) -> None:
        (tmp_path / "token").write_text("header.payload.signature")
        clean_environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
        clean_environment.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/imgmig")
        with aws_gate(services.dynamodb_url) as gate:
            access = AwsAccess(
                region="us-east-1", endpoint_urls=tuple((service, gate.url) for service in ("dynamodb", "s3", "sts"))
            )
            access.client("s3").list_buckets()
            for _partition in range(3):
                DynamoDBClient(access, 1)

            assert len(gate.of("sts", "AssumeRoleWithWebIdentity")) == 1
