"""Three processes under one rate, of which one is killed; what is judged is what arrives at the server."""

import json
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from imgmig_dagster.state.rate_shares import read_rate_shares
from imgmig_dagster_tests.arrange import access
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.integration.rate_run import CODE, ITEMS, Orders
from imgmig_dagster_tests.listening import PostHandler, listening
from imgmig_dagster_tests.orchestration.commands import wait_until

CEILING = 200.0
PROCESSES = 3
# In a window of ten seconds: what the requests in flight cost before they are paid for, two of each process.
IN_FLIGHT = PROCESSES * 2 * len(ITEMS)
WINDOW_S = 10.0
BEFORE_S, AFTER_S = 16.0, 34.0


@dataclass
class CountingServer:
    """A DynamoDB that writes nothing, and notes when how many units each table was asked for."""

    arrived: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def units(self, table: str, since: float, until: float) -> float:
        return sum(units for at, units in list(self.arrived[table]) if since <= at < until)

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        ((table, puts),) = body["RequestItems"].items()
        self.arrived[table].append((time.monotonic(), len(puts)))
        return {"UnprocessedItems": {}, "ConsumedCapacity": [{"TableName": table, "CapacityUnits": len(puts)}]}


@pytest.fixture
def server() -> Iterator[tuple[CountingServer, str]]:
    counting = CountingServer()

    class Handler(PostHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, body: bytes) -> None:
            reply = json.dumps(counting.answer(json.loads(body))).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

    with listening(Handler) as url:
        yield counting, url


def test_three_processes_share_one_rate_and_outlive_one_of_them(
    services: Services, server: tuple[CountingServer, str], tmp_path: Path
) -> None:
    """On a local store and on S3 at the same time, each with a table of its own."""
    counting, url = server
    s3_url, bucket = services.environment["AWS_ENDPOINT_URL_S3"], f"rate-{uuid.uuid4().hex}"
    access(s3_url).client("s3").create_bucket(Bucket=bucket)
    groups = [
        [Orders(f"run-{n}", "local", url, CEILING, folder=str(tmp_path)) for n in range(PROCESSES)],
        [Orders(f"run-{n}", "s3", url, CEILING, s3_url=s3_url, bucket=bucket) for n in range(PROCESSES)],
    ]

    def have_all_equal_shares() -> bool:
        shares = [share.rate for orders in groups for share in read_rate_shares(orders[0].state).runs.values()]
        return len(shares) == 2 * PROCESSES and shares == pytest.approx([CEILING / PROCESSES] * len(shares))

    with ExitStack() as stack:
        started = time.monotonic()
        processes = []
        for orders in (order for group in groups for order in group):
            process = subprocess.Popen([sys.executable, "-c", CODE, orders.to_json()])
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
        wait_until(have_all_equal_shares)
        shared = time.monotonic()
        time.sleep(BEFORE_S)
        processes[0].kill()
        processes[PROCESSES].kill()
        time.sleep(AFTER_S)
        ended = time.monotonic()

    for table in ("local", "s3"):
        # From the first request on, while runs join and die.
        begin = started
        while begin + WINDOW_S <= ended:
            assert counting.units(table, begin, begin + WINDOW_S) <= 1.05 * CEILING * WINDOW_S + IN_FLIGHT
            begin += 0.5
        # The share of the dead is lost for as long as its lease lasts.
        assert counting.units(table, shared, ended) >= 0.9 * CEILING * (ended - shared)
        assert counting.units(table, ended - WINDOW_S, ended) >= 0.9 * CEILING * WINDOW_S
