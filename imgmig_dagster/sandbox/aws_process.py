"""Starts and stops DynamoDB and S3 on loopback: moto's server, in its own process. It forgets all data when it stops.

What runs in that process is in `aws_server`.
"""

import contextlib
import http.client
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.errors import SandboxError
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.sandbox.process import HOST, Listener, command_line, kill, require

TABLE: Final = "images-dev"
BUCKET: Final = "images-dev-reports"
REGION: Final = "us-east-1"
# moto accepts any credentials; real ones must never be sent to it by accident.
ACCESS_KEY_ID: Final = "sandbox"
SECRET_ACCESS_KEY: Final = "sandbox"  # noqa: S105

Key: TypeAlias = tuple[tuple[str, str], ...]
"""A table's key: names and types of its partition key and, if there is one, its sort key."""
KEY: Final[Key] = (("PK", "S"), ("SK", "S"))

PICTURES_FILE: Final = "pictures.jsonl"
"""The objects of the seeded rows, in the sandbox's folder: see `sample_pictures`."""
PICTURES_PATH: Final = "/imgmig-sandbox/pictures"
"""A request to it makes the server read that file again."""

# Not `python -m`: moto cannot take a class of a module that is called __main__.
_LAUNCHER: Final = "from imgmig_dagster.sandbox.aws_server import main; main()"


@dataclass(frozen=True)
class Moto:
    """moto's server of one sandbox folder."""

    root: Path
    table: str = TABLE
    name: str = "moto (DynamoDB and S3)"

    @property
    def log(self) -> Path:
        """Errors only."""
        return self.root / "aws.log"

    @property
    def pid_file(self) -> Path:
        """Process id and port, written as soon as the process exists."""
        return self.root / "aws.pid"

    def find(self) -> Listener | None:
        """The process named by the pid file, if its command line is the one that this sandbox starts."""
        try:
            pid, port = map(int, self.pid_file.read_text().split())
        except (OSError, ValueError):
            return None
        arguments = self._arguments(port)
        return Listener(pid, port) if command_line(pid)[-len(arguments) :] == arguments else None

    def launch(self, port: int) -> Listener:
        """Start the server in its own session, so that it outlives this process and its terminal."""
        require("moto")
        # A shell in between leaves no child behind: no zombie, and nothing to wait for. The working directory is
        # ours because `python -c` would import modules from the user's.
        script = '"$@" </dev/null >"$0" 2>&1 & echo $!'
        server = [sys.executable, "-c", _LAUNCHER, *self._arguments(port)]
        # Written before the process starts: on a full disk no file would name the process, and nothing could end it.
        self._note(Listener(0, port))
        shell = subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", script, str(self.log), *server],
            cwd=self.root,
            start_new_session=True,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        listener = Listener(int(shell.stdout), port)
        try:
            self._note(listener)
        except BaseException:
            kill(listener.pid)
            raise
        return listener

    def _note(self, listener: Listener) -> None:
        # Always the same length, and written in place: that needs no more space.
        descriptor = os.open(self.pid_file, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{listener.pid:10} {listener.port:5}\n")
            file.flush()
            os.fsync(descriptor)

    def answers(self, listener: Listener) -> bool:
        """Whether HTTP is answered on the port, with any status."""
        connection = http.client.HTTPConnection(HOST, listener.port, timeout=30)
        try:
            connection.request("HEAD", "/moto-api/")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True

    def prepare(self, listener: Listener, key: Key) -> None:
        """Create the table and the bucket, unless they exist."""
        dynamodb = client("dynamodb", listener.port)
        with contextlib.suppress(dynamodb.exceptions.ResourceInUseException):
            create_table(dynamodb, self.table, key)
        # In us-east-1 the owner may create a bucket twice.
        client("s3", listener.port).create_bucket(Bucket=BUCKET)

    def remake_table(self, listener: Listener, key: Key) -> bool:
        """Give the table another key, if it has another one; returns whether it had.

        Raises:
            SandboxError: it holds items.
        """
        dynamodb = client("dynamodb", listener.port)
        if (found := _key_of(dynamodb, self.table)) == key:
            return False
        if dynamodb.scan(TableName=self.table, Limit=1)["Items"]:
            raise SandboxError(
                f"{self.table} holds items, and its key is {shown(found)}, not {shown(key)} as declared: declare the "
                "key of the table, or delete rows and items of the sandbox by: imgmig sandbox reset --yes"
            )
        dynamodb.delete_table(TableName=self.table)
        create_table(dynamodb, self.table, key)
        return True

    def take_up_pictures(self, listener: Listener) -> None:
        """Make the running server hold the objects of the last seed; a new server does so by itself."""
        connection = http.client.HTTPConnection(HOST, listener.port)
        try:
            connection.request("POST", PICTURES_PATH)
            connection.getresponse()
        finally:
            connection.close()

    def stop(self) -> None:
        """End the server if it runs; its tables and objects are gone with it."""
        found = self.find()
        if found:
            kill(found.pid)  # it has nothing to save
        self.pid_file.unlink(missing_ok=True)

    def _arguments(self, port: int) -> list[str]:
        # The first one names the sandbox, for people who look at `ps` and for `find`.
        return [str(self.root), HOST, str(port)]


def client(service: str, port: int) -> Any:
    """A boto3 client of the server on that port; safe for threads."""
    import boto3
    from botocore.config import Config

    session = boto3.Session(
        aws_access_key_id=ACCESS_KEY_ID, aws_secret_access_key=SECRET_ACCESS_KEY, region_name=REGION
    )
    # A proxy named in the environment cannot reach our loopback.
    direct = Config(proxies={})
    return session.client(service, endpoint_url=endpoint_url(port), config=direct)  # type: ignore[call-overload]


def access(port: int) -> AwsAccess:
    """How the product reaches DynamoDB on that port."""
    return AwsAccess(
        region=REGION,
        access_key_id=ACCESS_KEY_ID,
        secret_access_key=SECRET_ACCESS_KEY,
        endpoint_urls=(("dynamodb", endpoint_url(port)),),
    )


def create_table(dynamodb: Any, name: str, key: Key = KEY) -> None:
    """A table with that key."""
    dynamodb.create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": attribute, "KeyType": role}
            for (attribute, _type), role in zip(key, ("HASH", "RANGE"), strict=False)
        ],
        AttributeDefinitions=[{"AttributeName": attribute, "AttributeType": kind} for attribute, kind in key],
        BillingMode="PAY_PER_REQUEST",
    )


def key_of(mapping: TableMapping) -> Key:
    """The key that a mapping declares."""
    return tuple((each.attribute, each.type) for each in mapping.primary_key)


def _key_of(dynamodb: Any, name: str) -> Key:
    table = dynamodb.describe_table(TableName=name)["Table"]
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    hash_first = sorted(table["KeySchema"], key=lambda each: str(each["KeyType"]))
    return tuple((each["AttributeName"], types[each["AttributeName"]]) for each in hash_first)


def shown(key: Key) -> str:
    """A key for a person."""
    return ", ".join(f"{attribute} ({kind})" for attribute, kind in key)


def endpoint_url(port: int) -> str:
    """The URL of both services."""
    return f"http://{HOST}:{port}"
