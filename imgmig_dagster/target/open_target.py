"""Opens the target table for a run, with client, retries and rate control; to read, or to read and write."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.target.client import DynamoDBClient
from imgmig_dagster.target.rate_limit import RateLimiter
from imgmig_dagster.target.sender import Sender
from imgmig_dagster.target.target_table import TargetIdentity, TargetTable, describe
from imgmig_dagster.target.writer import WritableTable


@dataclass(frozen=True)
class TargetSettings:
    """Where the target is, and how fast runs may use it. Opened through this, it can only be read.

    `mapping` says which key the table must have; a run opens it with the types of its source. `requests_in_flight` is
    the ceiling of one run; `rate` is the ceiling of all runs together in capacity units per second, None for no
    ceiling.
    """

    access: AwsAccess
    table: str
    mapping: TableMapping
    requests_in_flight: int = 64
    rate: float | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def identity(self) -> TargetIdentity:
        """Ask DynamoDB which table this is; see `describe` for what it raises."""
        return describe(self.access, self.table, self.mapping)

    @asynccontextmanager
    async def open(self, mapping: TableMapping) -> AsyncIterator[TargetTable]:
        """The table, ready for requests that read items of a mapping."""
        async with self._sender(may_write=False) as sender:
            yield TargetTable(sender, self.table, mapping)

    @asynccontextmanager
    async def _sender(self, may_write: bool) -> AsyncIterator[Sender]:
        # It may have to ask for credentials first.
        async with await asyncio.to_thread(DynamoDBClient, self.access, self.requests_in_flight) as client:
            limiter = RateLimiter(self.rate, sleep=self.retry.sleep)
            yield Sender(client, limiter, self.retry, self.requests_in_flight, may_write=may_write)


@dataclass(frozen=True)
class WritableTarget(TargetSettings):
    """The target of a run that may write. Only `stage.write_guard` makes one; a test checks that."""

    @asynccontextmanager
    async def open(self, mapping: TableMapping) -> AsyncIterator[WritableTable]:
        """The table, ready for requests that read and write items of a mapping."""
        async with self._sender(may_write=True) as sender:
            yield WritableTable(sender, self.table, mapping)
