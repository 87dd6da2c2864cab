"""The servers that ways are measured against, all on loopback, all ended when the run ends."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import boto3
from botocore.config import Config

from benchmarks.job import TARGET_TABLE
from benchmarks.stub import HOST
from imgmig_dagster.sandbox.aws_process import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from imgmig_dagster_tests.ministack import NotStartedError
from imgmig_dagster_tests.ministack import ministack as ministack_server

NODE_PACKAGES: Final = ("@aws-sdk/client-dynamodb@3", "pg@8")
_INSTALL_SECONDS: Final = 240


class NotAvailable(Exception):
    """Something that can only be measured where it can be installed; the message says why it was not."""


@contextlib.contextmanager
def stub(remember: bool = False, latency_ms: float = 0.0) -> Iterator[str]:
    """A stub in a process of its own; its URL."""
    command = [sys.executable, "-m", "benchmarks.stub", "--latency", str(latency_ms)]
    if remember:
        command.append("--remember")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None  # noqa: S101
        yield f"http://{HOST}:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def ministack(scratch: Path) -> Iterator[str]:
    """ministack's server; its URL.

    Raises:
        NotAvailable: it is not installed or does not start.
    """
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(ministack_server(scratch))
        except NotStartedError as error:
            raise NotAvailable(str(error)) from None
        yield url


def empty_table(endpoint: str) -> None:
    """Delete the target table, and make it again."""
    client = boto3.session.Session(
        aws_access_key_id=ACCESS_KEY_ID, aws_secret_access_key=SECRET_ACCESS_KEY, region_name=REGION
    ).client("dynamodb", endpoint_url=endpoint, config=Config(proxies={}))
    with contextlib.suppress(client.exceptions.ResourceNotFoundException):
        client.delete_table(TableName=TARGET_TABLE)
        client.get_waiter("table_not_exists").wait(TableName=TARGET_TABLE, WaiterConfig={"Delay": 1})
    client.create_table(
        TableName=TARGET_TABLE,
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "PK", "AttributeType": "S"},
            {"AttributeName": "SK", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=TARGET_TABLE, WaiterConfig={"Delay": 1})
    client.close()


def install_node_packages(cache: Path) -> Path:
    """The folder in which Node finds the SDK and the PostgreSQL client; installed once.

    Raises:
        NotAvailable: there is no Node, or npm failed.
    """
    folder = cache / "node"
    if (folder / "installed").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    _install(["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", *NODE_PACKAGES])
    (folder / "installed").touch()
    return folder


def _install(command: list[str]) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
    except FileNotFoundError:
        raise NotAvailable(f"there is no {command[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise NotAvailable(f"the installation took longer than {_INSTALL_SECONDS} s") from None
    if done.returncode:
        raise NotAvailable(f"the installation failed: {done.stderr.strip().splitlines()[-1:]}")
