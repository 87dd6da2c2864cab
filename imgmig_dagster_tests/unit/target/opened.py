"""A target table whose time is a fake clock's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.target.client import DynamoDBClient
from imgmig_dagster.target.rate_limit import RateLimiter
from imgmig_dagster.target.sender import Sender
from imgmig_dagster.target.writer import WritableTable
from imgmig_dagster_tests.arrange import FakeClock, Target, access
from imgmig_dagster_tests.images import IMAGE

POLICY = RetryPolicy(random=lambda: 0.0)


@asynccontextmanager
async def opened(
    target: Target,
    url: str,
    clock: FakeClock | None = None,
    policy: RetryPolicy = POLICY,
    requests_in_flight: int = 4,
    credentials: AwsAccess | None = None,
    timeout: float = 30.0,
) -> AsyncIterator[WritableTable]:
    """The table through the proxy at `url`; nothing waits for real."""
    clock = clock or FakeClock()
    async with DynamoDBClient(credentials or access(url), requests_in_flight, timeout) as client:
        limiter = RateLimiter(None, clock, clock.sleep)
        sender = Sender(client, limiter, replace(policy, sleep=clock.sleep), requests_in_flight, clock, may_write=True)
        yield WritableTable(sender, target.name, IMAGE)
