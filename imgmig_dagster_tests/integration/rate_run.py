"""A process that sends as fast as its share of a rate allows, until it is killed: see `test_rate_of_processes`."""

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from imgmig_dagster.state.obeying import obeying_throttle
from imgmig_dagster.state.s3 import S3StateStore
from imgmig_dagster.state.store import LocalStateStore, StateStore
from imgmig_dagster.target.open_target import WritableTarget
from imgmig_dagster_tests.arrange import access, item_of
from imgmig_dagster_tests.images import IMAGE

CODE = "import sys; from imgmig_dagster_tests.integration.rate_run import main; main(sys.argv[1])"
ITEMS = [item_of(number) for number in range(25)]


@dataclass(frozen=True)
class Orders:
    """Where the state is: the `bucket` at `s3_url`, or a `folder`; where the table is; and the ceiling of all runs."""

    run_id: str
    table: str
    target_url: str
    rate: float
    folder: str = ""
    s3_url: str = ""
    bucket: str = ""

    @property
    def state(self) -> StateStore:
        if self.bucket:
            return S3StateStore(access(self.s3_url).client("s3"), self.bucket, "state")
        return LocalStateStore(Path(self.folder))

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def main(orders_json: str) -> None:
    """Write the same batch again and again."""
    asyncio.run(_send(Orders(**json.loads(orders_json))))


async def _send(orders: Orders) -> None:
    target = WritableTarget(access(orders.target_url), orders.table, IMAGE, requests_in_flight=2, rate=orders.rate)

    async def write() -> None:
        while True:
            await table.put_many(ITEMS, lambda _count: None)

    async with (
        target.open(IMAGE) as table,
        obeying_throttle(orders.state, table.sender.limiter, orders.rate, orders.run_id),
    ):
        await asyncio.gather(write(), write())
