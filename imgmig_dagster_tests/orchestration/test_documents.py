"""Every command in the README and docs/ is run, and ends as the documents say.

Those of stage dev are run in `test_documented_sandbox.py`, since pytest-xdist gives each worker whole files.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from imgmig_dagster.cli.__main__ import commands_of as commands_of_group
from imgmig_dagster.cli.app import app
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import Source, Target, access
from imgmig_dagster_tests.conftest import Services, create_table
from imgmig_dagster_tests.orchestration.arrange import images_of
from imgmig_dagster_tests.orchestration.commands import CommandServer
from imgmig_dagster_tests.orchestration.documents import REPOSITORY, commands_of, documented
from imgmig_dagster_tests.orchestration.stories import (
    FEBRUARYS,
    MADE_BY,
    MARCHS,
    OWN_STAGE,
    OWN_TABLE,
    PHOTOS,
    PROD,
    RUN_BY,
    SANDBOX,
    STAGING,
    Stage,
    follow,
    steps_of,
)
from imgmig_dagster_tests.tls_front import self_signed, tls_front

ROWS = [*images_of(2, FEBRUARYS), *images_of(3, MARCHS)]
RUN = {step.command for story in (STAGING, PROD, SANDBOX, OWN_TABLE, OWN_STAGE) for step in steps_of(story)}


def test_every_command_in_the_documents_is_run_by_a_story_or_made_elsewhere() -> None:
    found = documented()
    assert len(found) > 60
    assert {command: names for command, names in found.items() if command not in RUN | {*MADE_BY, *RUN_BY}} == {}
    assert {*MADE_BY} - {*found} == set()


COMMANDS = dict(commands_of_group(typer.main.get_group(app)))


def test_every_command_stands_in_the_documents() -> None:
    assert len(COMMANDS) > 20
    assert [each for each in COMMANDS if not any(f"{found} ".startswith(f"{each} ") for found in documented())] == []


@pytest.mark.parametrize("option", ["--stage", "--json"])
def test_an_option_says_the_same_of_itself_to_every_command(option: str) -> None:
    found = [each.help for command in COMMANDS.values() for each in command.params if option in each.opts]  # type: ignore[attr-defined]
    assert len(found) > 8
    assert len(set(found)) == 1


def test_commands_are_found_in_blocks_and_spans_and_in_code_only() -> None:
    text = """`make demo` and (`imgmig verify --json`), not imgmig status.
```bash
imgmig migrate --stage staging   # resumes
eval "$(imgmig sandbox env)"     # points psql at it
```"""
    assert list(commands_of(text)) == [
        "make demo",
        "imgmig verify --json",
        "imgmig migrate --stage staging",
        "imgmig sandbox env",
    ]


@pytest.mark.parametrize("command", MADE_BY)
def test_a_target_in_a_document_can_be_made_and_what_makes_it_exists(command: str) -> None:
    # Without the variables of the make that may have started this suite.
    shown = subprocess.run(
        [*command.split(), "--dry-run", "--no-print-directory"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert ".venv/bin/" in shown
    assert [run for run, target in RUN_BY.items() if target == command and f".venv/bin/{run}" not in shown] == []
    made_by = MADE_BY[command]
    if made_by == ".ci/run":
        assert command in (REPOSITORY / made_by).read_text().splitlines()
    elif made_by.startswith("imgmig "):
        assert f".venv/bin/{made_by}" in shown.splitlines()
        assert made_by in RUN
    elif made_by != "by hand":
        file, _, test = made_by.partition("::")
        assert f"def {test}(" in (REPOSITORY / "imgmig_dagster_tests" / file).read_text(encoding="utf-8")


ACCESS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


def settings(services: Services, source: Source, target: Target, folder: Path) -> dict[str, str]:
    return {
        "IMGMIG_SOURCE_URL": source.url,
        "IMGMIG_SOURCE_SCHEMA": source.schema,
        "IMGMIG_TARGET_TABLE": target.name,
        "IMGMIG_STATE_URL": (folder / "state").as_uri(),
        "IMGMIG_PARTITION_START": "2024-01-01",
        "IMGMIG_SETTLE_SECONDS": "0.1",
        "AWS_ENDPOINT_URL": services.dynamodb_url,
        **ACCESS,
        "DAGSTER_HOME": services.environment["DAGSTER_HOME"],
    }


def write_settings(folder: Path, stage: str, variables: dict[str, str]) -> None:
    lines = [f"{name}='{value}'" for name, value in variables.items()]
    (folder / f".env.{stage}").write_text("\n".join(lines))


def stage_at(
    folder: Path, name: str, commands: CommandServer, source: Source, target: Target, **environment: str
) -> Stage:
    state = LocalStateStore(folder / "state" / name / "images")
    return Stage(commands, folder, name, state, {"AWS_EC2_METADATA_DISABLED": "true", **environment}, source, target)


def test_staging(services: Services, commands: CommandServer, source: Source, target: Target, tmp_path: Path) -> None:
    source.insert(ROWS)
    variables = settings(services, source, target, tmp_path)
    write_settings(tmp_path, "staging", {**variables, "IMGMIG_ALLOW_INSECURE": "loopback"})
    follow(stage_at(tmp_path, "staging", commands, source, target), STAGING)


@pytest.fixture
def images_prod(services: Services) -> Iterator[Target]:
    """An empty target table of the name that the documents confirm."""
    create_table(services.dynamodb, "images-prod")
    yield Target(services.dynamodb, "images-prod", services.dynamodb_url)
    services.dynamodb.delete_table(TableName="images-prod")


def signing_key(services: Services, pem: Path) -> str:
    """A key of KMS; its public key goes to `pem`."""
    kms = access(services.dynamodb_url).client("kms")
    arn: str = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    key = load_der_public_key(kms.get_public_key(KeyId=arn)["PublicKey"])
    pem.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return arn


def test_prod(services: Services, commands: CommandServer, source: Source, images_prod: Target, tmp_path: Path) -> None:
    source.insert(ROWS)
    status = services.sandbox.status()
    assert status.postgres_port
    assert status.aws_port
    certificate = self_signed(tmp_path, "DNS:localhost,IP:127.0.0.1")
    with tls_front(status.postgres_port, certificate) as postgres, tls_front(status.aws_port, certificate) as aws:
        by_tls = {
            "IMGMIG_SOURCE_URL": source.url.replace(f":{status.postgres_port}/", f":{postgres}/")
            + f"?sslmode=verify-full&sslrootcert={certificate.file}",
            "IMGMIG_AWS_ACCOUNT": "123456789012",
            "IMGMIG_WRITE_RATE": "2000",
            "AWS_ENDPOINT_URL": f"https://localhost:{aws}",
            "IMGMIG_SIGNING_KEY": signing_key(services, tmp_path / "cutover.pem"),
        }
        write_settings(tmp_path, "prod", {**settings(services, source, images_prod, tmp_path), **by_tls})
        desk = stage_at(tmp_path, "prod", commands, source, images_prod, AWS_CA_BUNDLE=str(certificate.file))
        follow(desk, PROD)
    assert len(images_prod.items()) == len(ROWS), "none of our items was written"


def test_a_stage_of_ones_own(
    services: Services, commands: CommandServer, latin_owner: psycopg.Connection[Any], target: Target, tmp_path: Path
) -> None:
    latin_owner.execute(PHOTOS.encode("latin-1"))
    latin_owner.execute("GRANT USAGE ON SCHEMA app TO imgmig_reader; GRANT SELECT ON app.photos TO imgmig_reader")
    database = f"/{latin_owner.info.dbname}"
    source = Source(
        latin_owner, services.environment["IMGMIG_SOURCE_URL"].rpartition("/")[0] + database, "app", "photos"
    )
    desk = Stage(
        commands,
        tmp_path,
        "staging",
        LocalStateStore(tmp_path / "state" / "staging" / "photos"),
        {"AWS_EC2_METADATA_DISABLED": "true", **ACCESS, "AWS_ENDPOINT_URL": services.dynamodb_url},
        source,
        target,
    )
    follow(desk, OWN_STAGE)
    assert target.client.scan(TableName=target.name, Select="COUNT")["Count"] == 200
