"""What the hosts of a campaign share: one PostgreSQL, Redis, DynamoDB and S3, the daemon and the web server.

All of them are in the root namespace, and the hosts reach them by the bridge's address.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import dagster as dg
import psycopg
import yaml  # type: ignore[import-untyped]

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster_tests.arrange import Source, Target, access, image, item_of, month, row_id
from imgmig_dagster_tests.conftest import create_table
from imgmig_dagster_tests.fault_proxy import FaultProxy
from imgmig_dagster_tests.hosts.meter import Meter
from imgmig_dagster_tests.hosts.network import GATEWAY, Host, network
from imgmig_dagster_tests.ministack import ministack
from imgmig_dagster_tests.orchestration.commands import wait_until
from imgmig_dagster_tests.orchestration.servers import program, running, web_server
from imgmig_dagster_tests.switch import switch

PARTITIONS: Final = 96
PARTITIONS_PER_RUN: Final = 8
ROWS_PER_PARTITION: Final = 100
UNITS_PER_S: Final = 200.0
HOSTS: Final = 3

BUCKET: Final = "hosts-state"
_TABLE: Final = "images-of-hosts"
_CELERY: Final = Path(__file__).parents[2] / "deploy" / "celery"
_POSTGRES, _REDIS, _DYNAMODB, _S3 = 5432, 6379, 8000, 9000  # DynamoDB: the ports from there on, one for each host


@dataclass
class Ground:
    """`environment` is that of every process; `expected` are the items of the end, by partition key."""

    hosts: list[Host]
    environment: dict[str, str]
    folder: Path
    source: Source
    target: Target
    s3: Any
    meter: Meter
    instance: dg.DagsterInstance
    graphql: Callable[[str], dict[str, Any]]
    expected: dict[str, Item]
    _workers: ExitStack

    def start_worker(self, host: Host) -> None:
        """Start what takes runs on a host: at first, or after everything on it has died."""
        command = yaml.safe_load((_CELERY / "worker.yaml").read_text())["services"]["worker"]["entrypoint"]
        worker = host.command(program(*command.replace("worker@%h", f"worker@{host.name}").split()))
        own = {
            **self.environment,
            "DAGSTER_HOME": str(self.folder / host.name),
            "AWS_ENDPOINT_URL_DYNAMODB": f"http://{GATEWAY}:{_DYNAMODB + host.number}",
        }
        log = self.folder / f"{host.name}-{len(list(self.folder.glob(f'{host.name}-*.log'))) + 1}.log"
        self._workers.enter_context(running(worker, own, log))

    @property
    def workers(self) -> set[str]:
        """The hosts whose worker answers."""
        asked = self.instance.run_launcher.celery.control.inspect(timeout=1)  # type: ignore[attr-defined]
        return {name.partition("@")[2] for name in asked.ping() or {}}


def partitions() -> list[str]:
    """The last months up to the current one, which the platform counts too."""
    today = datetime.now(timezone.utc)
    last = today.year * 12 + today.month - 1
    return [f"{number // 12}-{number % 12 + 1:02}-01" for number in range(last - PARTITIONS + 1, last + 1)]


@contextmanager
def opened(folder: Path) -> Iterator[Ground]:
    """Everything started, the rows in the source, and a worker on each host. Logs go to `folder`."""
    sandbox = Sandbox(folder / ".imgmig")
    with ExitStack() as stack:
        hosts = stack.enter_context(network(HOSTS))
        stack.callback(sandbox.delete)
        sandbox.start()
        local = sandbox.environment()
        dynamodb_url = stack.enter_context(ministack(folder))
        meter = Meter()
        upstreams = {_POSTGRES: local["PGPORT"], _S3: local["AWS_ENDPOINT_URL_S3"].rpartition(":")[2]}
        for port, name in enumerate(["the root", *(host.name for host in hosts)], _DYNAMODB):
            proxy = stack.enter_context(FaultProxy(dynamodb_url))
            meter.watch(proxy, name)
            upstreams[port] = proxy.url.rpartition(":")[2]
        for port, upstream in upstreams.items():
            stack.enter_context(switch(int(upstream), (GATEWAY, port)))
        redis = f"redis-server --bind {GATEWAY} --port {_REDIS} --protected-mode no --appendonly no".split()
        stack.enter_context(running([*redis, "--save", "", "--dir", str(folder)], {}, folder / "redis.log"))

        environment = _environment(folder, local)
        owner = stack.enter_context(psycopg.connect(_url("postgresql", "imgmig", "images"), autocommit=True))
        source = Source(owner, environment["IMGMIG_SOURCE_URL"], "public", "images")
        target = Target(access(dynamodb_url).client("dynamodb"), _TABLE, dynamodb_url)
        create_table(target.client, _TABLE)
        s3 = access(environment["AWS_ENDPOINT_URL_S3"]).client("s3")
        s3.create_bucket(Bucket=BUCKET)
        expected = _fill(source)

        for home in (folder / "dagster", *(folder / host.name for host in hosts)):
            home.mkdir()
            (home / "dagster.yaml").write_text(json.dumps(_dagster_yaml()))
        os.environ.update(environment)  # the instance's own settings name variables
        instance = stack.enter_context(dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]))
        graphql = stack.enter_context(web_server(environment, folder))
        daemon = program("dagster-daemon", "run", "-w", str(folder / "workspace.yaml"))
        stack.enter_context(running(daemon, environment, folder / "daemon.log"))
        ground = Ground(hosts, environment, folder, source, target, s3, meter, instance, graphql, expected, stack)
        for host in hosts:
            ground.start_worker(host)
        wait_until(lambda: len(ground.workers) == HOSTS)
        yield ground
        for host in hosts:
            host.send(signal.SIGKILL)  # a worker that was suspended waits for its broken connections, and not to end


def _fill(source: Source) -> dict[str, Item]:
    """Insert the rows; returns the items that have to stand in the target at the end, by partition key."""
    expected = {}
    for number, partition in enumerate(partitions()):
        year, of_year = map(int, partition.split("-")[:2])
        window = month(year, of_year)
        assert window.partition == partition
        rows = []
        for row in range(number * ROWS_PER_PARTITION, (number + 1) * ROWS_PER_PARTITION):
            created = f"{partition}T00:00:00.{row % ROWS_PER_PARTITION:03}"
            rows.append(image(row, created_at=f"{created}Z"))
            expected[f"IMAGE#{row_id(row)}"] = item_of(row, createdAt={"S": f"{created}Z"})
        source.insert(rows)
    return expected


def _url(scheme: str, role: str, database: str) -> str:
    return f"{scheme}://{role}@{GATEWAY}:{_POSTGRES}/{database}"


def _environment(folder: Path, local: dict[str, str]) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "STAGE": "dev",  # the one that may reach another host without TLS
        "IMGMIG_SOURCE_URL": _url("postgresql", "imgmig_reader", "images"),
        "IMGMIG_SOURCE_SCHEMA": "public",
        "IMGMIG_TARGET_TABLE": _TABLE,
        "IMGMIG_STATE_URL": f"s3://{BUCKET}/state",
        "IMGMIG_PARTITION_START": partitions()[0],
        "IMGMIG_PARTITIONS_PER_RUN": str(PARTITIONS_PER_RUN),
        "IMGMIG_WRITE_MODE": "conditional",
        "IMGMIG_WRITE_RATE": str(UNITS_PER_S),
        "AWS_ENDPOINT_URL_DYNAMODB": f"http://{GATEWAY}:{_DYNAMODB}",
        "AWS_ENDPOINT_URL_S3": f"http://{GATEWAY}:{_S3}",
        "AWS_ACCESS_KEY_ID": local["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": local["AWS_SECRET_ACCESS_KEY"],
        "AWS_REGION": "us-east-1",
        "DAGSTER_HOME": str(folder / "dagster"),
        "DAGSTER_POSTGRES_URL": _url("postgresql+psycopg2", "imgmig", "dagster"),
        "IMGMIG_CELERY_BROKER": f"redis://{GATEWAY}:{_REDIS}/0",
        "IMGMIG_CELERY_BACKEND": f"redis://{GATEWAY}:{_REDIS}/1",
    }


def _dagster_yaml() -> dict[str, Any]:
    """deploy/celery/dagster.yaml, in more of a hurry; logs stay on each host."""
    config: dict[str, Any] = yaml.safe_load((_CELERY / "dagster.yaml").read_text())
    del config["compute_logs"]
    config["run_launcher"]["config"]["silence_seconds"] = 20
    config["run_coordinator"]["config"]["dequeue_interval_seconds"] = 1
    config["run_monitoring"]["poll_interval_seconds"] = 5
    config["concurrency"]["runs"] |= {"max_concurrent_runs": HOSTS}
    return config
