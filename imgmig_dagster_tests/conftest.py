"""Real servers for the whole session, tables of each test's own."""

import os
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import boto3
import psycopg
import pytest
from botocore.config import Config
from psycopg import sql

from imgmig_dagster.aws import access
from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import Migration, Source, Target
from imgmig_dagster_tests.aws_gate import AwsGate, aws_gate
from imgmig_dagster_tests.fault_proxy import FaultProxy

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a script that puts the suite in the background leaves it: every server of the tests would inherit that, and
    # outlive the SIGINT that ends it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """What runs a test that is a coroutine."""
    return "asyncio"


@dataclass(frozen=True)
class Services:
    """The session's servers. `owner` may write to PostgreSQL; `dynamodb` is a boto3 client on moto's server."""

    sandbox: Sandbox
    environment: dict[str, str]
    owner: psycopg.Connection[Any]
    dynamodb: Any

    @property
    def dynamodb_url(self) -> str:
        return self.environment["AWS_ENDPOINT_URL_DYNAMODB"]

    @property
    def owner_url(self) -> str:
        """Of a role that may write."""
        return "postgresql://{PGUSER}@{PGHOST}:{PGPORT}/{PGDATABASE}".format(**self.environment)


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """PostgreSQL and moto, started once, deleted at the end in any case."""
    # A runner that gives up sends SIGTERM, which would leave both servers running.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox") / ".imgmig")
    try:
        sandbox.start()
        environment = sandbox.environment()
        owner = psycopg.connect(
            host=environment["PGHOST"],
            port=environment["PGPORT"],
            user=environment["PGUSER"],
            dbname=environment["PGDATABASE"],
            autocommit=True,
        )
        dynamodb = boto3.session.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        ).client("dynamodb", endpoint_url=environment["AWS_ENDPOINT_URL_DYNAMODB"], config=Config(proxies={}))
        with owner:
            yield Services(sandbox, environment, owner, dynamodb)
        dynamodb.close()
    finally:
        sandbox.delete()
        signal.signal(signal.SIGTERM, previous)


NewSource = Callable[..., Source]


@pytest.fixture
def ascii_owner(services: Services) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a database that never looked at the encoding of its text (SQL_ASCII)."""
    yield from _owner_of_database(services, "SQL_ASCII")


@pytest.fixture
def latin_owner(services: Services) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a database in LATIN1."""
    yield from _owner_of_database(services, "LATIN1")


@pytest.fixture
def encoded_owner(services: Services, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a database in the encoding that the test names as this fixture's parameter."""
    yield from _owner_of_database(services, request.param)


def _owner_of_database(services: Services, encoding: str) -> Iterator[psycopg.Connection[Any]]:
    name = sql.Identifier(f"{encoding.lower()}_{uuid.uuid4().hex[:12]}")
    services.owner.execute(
        sql.SQL("CREATE DATABASE {} ENCODING {} LOCALE 'C' TEMPLATE template0").format(name, sql.Literal(encoding))
    )
    info = services.owner.info
    with psycopg.connect(
        host=info.host, port=info.port, user=info.user, dbname=name.as_string().strip('"'), autocommit=True
    ) as owner:
        yield owner
    services.owner.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def new_source(services: Services) -> Iterator[NewSource]:
    """Makes source tables, each in a schema of its own that is dropped afterwards."""
    schemas: list[str] = []

    def create(
        id_type: str = "uuid",
        time_type: str = "timestamptz",
        id_constraint: str = "PRIMARY KEY",
        schema: str | None = None,
        table: str = "images",
        owner: psycopg.Connection[Any] = services.owner,
    ) -> Source:
        # Only the id is NOT NULL: tests bring rows that a well-kept table could not hold.
        name = schema or f"test_{uuid.uuid4().hex[:12]}"
        if owner is services.owner:  # another one's database is dropped as a whole
            schemas.append(name)
        url = services.environment["IMGMIG_SOURCE_URL"].rpartition("/")[0] + f"/{owner.info.dbname}"
        source = Source(owner, url, name, table)
        reader = sql.Identifier("imgmig_reader")
        owner.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        source.execute(
            f"CREATE TABLE {{t}} (id {id_type} {id_constraint}, user_id uuid, created_at {time_type},"
            f" updated_at {time_type}, original_filename text, s3_key text, s3_bucket text, thumbnail_s3_key text,"
            " mime_type text, size_bytes bigint, width integer, height integer)"
        )
        source.execute("CREATE INDEX ON {t} (created_at, id)")
        owner.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(name), reader))
        owner.execute(
            sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier(name, table), reader),
        )
        return source

    yield create
    for name in schemas:
        services.owner.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


@pytest.fixture
def source(new_source: NewSource) -> Source:
    """A source table as the application's: uuid ids, timestamps with a zone."""
    return new_source()


PK_SK = MappingProxyType({"PK": "S", "SK": "S"})
NO_INDEXES: Mapping[str, str] = MappingProxyType({})


def create_table(
    dynamodb: Any, name: str, key: Mapping[str, str] = PK_SK, indexes: Mapping[str, str] = NO_INDEXES
) -> None:
    """A table with the attributes of this key, each with its type, and an index `by-NAME` for each of the others."""
    by_name = [
        {
            "IndexName": f"by-{attribute}",
            "KeySchema": [{"AttributeName": attribute, "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }
        for attribute in indexes
    ]
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": each, "KeyType": kind} for each, kind in zip(key, ("HASH", "RANGE"))],  # noqa: B905
        AttributeDefinitions=[
            {"AttributeName": each, "AttributeType": kind} for each, kind in {**key, **indexes}.items()
        ],
        BillingMode="PAY_PER_REQUEST",
        **({"GlobalSecondaryIndexes": by_name} if by_name else {}),
    )


NewTable = Callable[..., str]


@pytest.fixture
def new_table(services: Services) -> Iterator[NewTable]:
    """Makes a table as `create_table` does, and tells its name."""
    made: list[str] = []

    def create(key: Mapping[str, str] = PK_SK, indexes: Mapping[str, str] = NO_INDEXES) -> str:
        made.append(f"images-{uuid.uuid4().hex[:12]}")
        create_table(services.dynamodb, made[-1], key, indexes)
        return made[-1]

    yield create
    for name in made:
        services.dynamodb.delete_table(TableName=name)


@pytest.fixture
def target(services: Services, new_table: NewTable) -> Target:
    """An empty target table."""
    return Target(services.dynamodb, new_table(), services.dynamodb_url)


@pytest.fixture
def proxy(services: Services) -> Iterator[FaultProxy]:
    """A proxy in front of DynamoDB, which does nothing until told."""
    with FaultProxy(services.dynamodb_url) as proxy:
        yield proxy


@pytest.fixture
def gate(services: Services) -> Iterator[AwsGate]:
    """A gate in front of the emulator of all of AWS's services, which does nothing until told."""
    with aws_gate(services.dynamodb_url) as gate:
        yield gate


@pytest.fixture
def state(tmp_path: Path) -> LocalStateStore:
    """An empty state store."""
    return LocalStateStore(tmp_path / "state")


@pytest.fixture
def migration(source: Source, target: Target, state: LocalStateStore) -> Migration:
    """An empty source, an empty target, no state."""
    return Migration(source, target, state)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No variable that the settings read is set, and the current directory holds no file of settings."""
    for name in list(os.environ):
        if name.startswith(("IMGMIG_", "AWS_", "PG", "OTEL_")) or name in ("STAGE", "DAGSTER_HOME"):
            monkeypatch.delenv(name)
    # A process reads once where its proxy, its authorities and its credentials are.
    access._shared_of.cache_clear()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)
    return monkeypatch
