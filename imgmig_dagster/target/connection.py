"""Opens the target table for one run: client, retries and rate control around it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from imgmig_dagster.aws import AwsAccess
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.target.client import DynamoDBClient
from imgmig_dagster.target.rate_limit import RateLimiter
from imgmig_dagster.target.sender import Sender
from imgmig_dagster.target.table import TargetIdentity, TargetTable, describe


@dataclass(frozen=True)
class TargetSettings:
    """Where the target is, and how hard one run may drive it.

    `rate` is a ceiling in capacity units per second, None for no ceiling.
    """

    access: AwsAccess
    table: str
    mapping: TableMapping
    requests_in_flight: int = 10
    rate: float | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def identity(self) -> TargetIdentity:
        """Ask DynamoDB which table this is; see `describe` for what it raises."""
        return describe(self.access, self.table, self.mapping)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[TargetTable]:
        """The table, ready for requests."""
        # Credentials may have to be asked for first.
        async with await asyncio.to_thread(DynamoDBClient, self.access, self.requests_in_flight) as client:
            sender = Sender(client, RateLimiter(self.rate, sleep=self.retry.sleep), self.retry, self.requests_in_flight)
            yield TargetTable(sender, self.table, self.mapping)
