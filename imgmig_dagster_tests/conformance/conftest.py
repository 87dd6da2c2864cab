"""Every test of this package runs on each server; where an endpoint is named, those of the client run there alone."""

import asyncio
import os
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pytest

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.target.writer import WritableTable
from imgmig_dagster_tests.arrange import Target, access
from imgmig_dagster_tests.conformance.servers import MINISTACK, MOTO, NAMED_ENDPOINT, Server
from imgmig_dagster_tests.conftest import create_table
from imgmig_dagster_tests.fault_proxy import FaultProxy
from imgmig_dagster_tests.ministack import ministack
from imgmig_dagster_tests.unit.target.opened import opened

NAMED_URL = os.environ.get("IMGMIG_CONFORMANCE_ENDPOINT")
# For what moto does in a way of its own.
STRICT = pytest.mark.parametrize(
    "server", [NAMED_ENDPOINT if NAMED_URL else MINISTACK], ids=lambda server: server.name, indirect=True
)


@dataclass(frozen=True)
class Endpoint:
    """A running server, and how it is reached. `client` is botocore's own, for what tests arrange and look up."""

    url: str
    access: AwsAccess

    @property
    def client(self) -> Any:
        return self.access.client("dynamodb")


OnTable = Callable[[Callable[[WritableTable], Coroutine[Any, Any, Any]]], Any]
Endpoints = Callable[[Server], Endpoint]


@pytest.fixture(scope="session")
def ministack_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """ministack, started once, ended with the session; it answers on the wire as DynamoDB does."""
    with ministack(tmp_path_factory.mktemp("ministack")) as url, FaultProxy(url) as front:
        yield front.url


@pytest.fixture(scope="session")
def endpoints(request: pytest.FixtureRequest) -> Endpoints:
    """Starts the servers that are asked for, and no others."""

    @lru_cache
    def endpoint(server: Server) -> Endpoint:
        if server is NAMED_ENDPOINT:
            # Region and credentials are those of AWS's own variables; botocore does not read AWS_REGION itself.
            chain = AwsAccess(os.environ.get("AWS_REGION"), endpoint_urls=(("dynamodb", str(NAMED_URL)),))
            return Endpoint(str(NAMED_URL), chain)
        if server is MINISTACK:
            url = request.getfixturevalue("ministack_url")
        else:
            url = request.getfixturevalue("services").dynamodb_url
        return Endpoint(url, access(url))

    return endpoint


@pytest.fixture(params=[NAMED_ENDPOINT] if NAMED_URL else [MOTO, MINISTACK], ids=lambda server: server.name)
def server(request: pytest.FixtureRequest) -> Server:
    """The server that a test runs on."""
    found: Server = request.param
    return found


@pytest.fixture
def endpoint(endpoints: Endpoints, server: Server) -> Endpoint:
    return endpoints(server)


@pytest.fixture
def target(endpoint: Endpoint) -> Iterator[Target]:
    """An empty target table on the server."""
    name = f"images-{uuid.uuid4().hex[:12]}"
    create_table(endpoint.client, name)
    endpoint.client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 2})
    yield Target(endpoint.client, name, endpoint.url)
    endpoint.client.delete_table(TableName=name)


@pytest.fixture
def proxy(endpoint: Endpoint) -> Iterator[FaultProxy]:
    """A proxy in front of the server, which does nothing until told."""
    with FaultProxy(endpoint.url) as proxy:
        yield proxy


@pytest.fixture
def on_table(endpoint: Endpoint, target: Target) -> OnTable:
    """Runs work on the table as the code under test opens it."""

    def run(work: Callable[[WritableTable], Coroutine[Any, Any, Any]]) -> Any:
        async def opened_work() -> Any:
            async with opened(target, endpoint.url, credentials=endpoint.access) as table:
                return await work(table)

        return asyncio.run(opened_work())

    return run
