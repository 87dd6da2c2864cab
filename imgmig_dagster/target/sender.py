"""Sends requests and owns their retries: no other module sends a failed request again. `faults` says when."""

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol

import orjson

from imgmig_dagster.aws.aws_faults import credentials_refused
from imgmig_dagster.errors import AwsUnusable, ImgmigError, TargetRefused, TargetUnavailable, WritesRefused
from imgmig_dagster.fence import UNFENCED, Fence
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.target.client import DynamoDBClient, DynamoDBError
from imgmig_dagster.target.faults import TargetFault
from imgmig_dagster.target.in_flight import InFlightLimit
from imgmig_dagster.target.rate_limit import RateLimiter
from imgmig_dagster.target.requests import consumed_units
from imgmig_dagster.target.slots import Slots
from imgmig_dagster.traffic import Traffic


class Request(Protocol):
    """One of the operations of `requests`."""

    operation: ClassVar[str]
    is_read: ClassVar[bool]

    @property
    def table(self) -> str:
        """The name of the table."""

    def body(self) -> bytes:
        """The request as JSON."""


class RetriesUsedUpError(Exception):
    """A transient error outlasted its retries; `code` is the last one seen."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Backoff:
    """Waits between the tries of one piece of work, and gives up when the service has pushed back for too long.

    Throttling uses up no retry: only `RetryPolicy.deadline` seconds without progress end it.
    """

    def __init__(self, sender: "Sender") -> None:
        self._sender = sender
        self._retries = 0
        self._throttles = 0
        self._throttled_at = 0.0
        self.signed_again = False

    def progressed(self) -> None:
        """Some of the work was done: the deadline and the waits start again with the next throttle."""
        self._throttles = 0

    async def retry(self, code: str) -> None:
        """Wait before the next try after a transient error; `RetriesUsedUpError` when there is none left."""
        policy = self._sender.retry
        if self._retries >= len(policy.delays):
            raise RetriesUsedUpError(code)
        self._sender.traffic.retried()
        self._retries += 1
        await policy.sleep(policy.delay(self._retries - 1))

    async def throttled(self, code: str) -> None:
        """Slow the whole writer down and wait; `TargetUnavailable` past the deadline."""
        sender = self._sender
        sender.traffic.throttled()
        sender.limiter.throttled()
        sender.in_flight.throttled()
        # Time in the queue before, or in which the run may send nothing, says nothing about the service.
        now = sender.clock() - sender.limiter.stood_still_s
        if self._throttles == 0:
            self._throttled_at = now
        without_progress = now - self._throttled_at
        if without_progress > sender.retry.deadline:
            raise TargetUnavailable(
                f"DynamoDB answered {code} for {without_progress:.0f} s without progress. Nothing is lost: run the "
                "same command again to resume, when the table has capacity or with a lower write_units_per_s"
            )
        self._throttles += 1
        # Doubles from 100 ms to 5 s; the policy's jitter keeps the workers apart.
        await sender.retry.sleep(min(sender.retry.delay(0) * 2 ** (self._throttles - 1), 5.0))


@dataclass
class _Shared:
    """What all partitions of a run share: the slots, the state of the service, the renewal of credentials.

    `refused` are the operations that no request of the run can succeed with; None stands for all of them.
    """

    slots: Slots
    refused: dict[str | None, ImgmigError] = field(default_factory=dict)
    answers: int = 0
    refreshed_at: float = -60.0
    refreshes: int = 0
    refreshing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Sender:
    """Sends each request until it is answered, by the table of `faults`, with a bounded number in flight.

    That number adapts to latency and throttling; `requests_in_flight` is its ceiling. Client, slots, limiter and
    credentials belong to the run, `traffic` and fence to one partition: see `for_partition`. Unless `may_write`, a
    request that writes is refused before it leaves.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        limiter: RateLimiter,
        retry: RetryPolicy,
        requests_in_flight: int,
        clock: Callable[[], float] = time.monotonic,
        fence: Fence = UNFENCED,
        may_write: bool = False,
    ) -> None:
        self.limiter = limiter
        self.retry = retry
        self.clock = clock
        self.traffic = Traffic()
        self.in_flight = InFlightLimit(requests_in_flight)
        self._fence = fence
        self._client = client
        self._may_write = may_write
        self._shared = _Shared(Slots(self.in_flight))

    @property
    def under_way(self) -> int:
        """The run's requests that are in flight now."""
        return self._shared.slots.taken

    def for_partition(self, fence: Fence = UNFENCED) -> "Sender":
        """The same sender for one partition, with its own count of requests and its own fence."""
        sender = copy.copy(self)
        sender.traffic, sender._fence = self.traffic.part(), fence  # noqa: SLF001  # a copy of our own
        return sender

    def read_only(self) -> "Sender":
        """The same sender, for requests that read."""
        sender = copy.copy(self)
        sender._may_write = False  # noqa: SLF001  # a copy of our own
        return sender

    async def send(self, request: Request, backoff: Backoff | None = None) -> dict[str, Any]:
        """The service's reply.

        Raises:
            DynamoDBError: the request itself is at fault (`TargetFault.REJECT`), or its condition failed.
            RetriesUsedUpError: transient errors outlasted the retries.
            TargetUnavailable: throttled for longer than the deadline, or the service is away.
            TargetRefused: no such request can succeed: the table or a permission is missing.
            AwsUnusable: no request can succeed, because of credentials, TLS or the clock.
            StateChanged: the run no longer owns its work; StateUnavailable: that cannot be found out.
            WritesRefused: the request writes, and this sender only reads.
        """
        if not (request.is_read or self._may_write):
            raise WritesRefused(f"{request.operation} was to be sent to {request.table} by a run that only reads")
        try:
            return await self._send(request, backoff or Backoff(self))
        except TargetRefused as error:
            self.refuse(request.operation, error)
            raise
        except AwsUnusable as error:
            self.refuse(None, error)
            raise

    async def _send(self, request: Request, backoff: Backoff) -> dict[str, Any]:
        shared = self._shared
        body, let_out = request.body(), partial(self._fence.let_out, request.is_read)
        answers = -1  # of the service to anybody, at this request's last failure
        while True:
            try:
                async with shared.slots.slot(self.traffic):
                    advance = await self.limiter.wait()
                    if (refused := shared.refused.get(request.operation) or shared.refused.get(None)) is not None:
                        self.limiter.spent(0, advance)
                        raise refused
                    self.traffic.sending(request.is_read)
                    refreshes, sent_at = shared.refreshes, self.clock()
                    try:
                        reply = await self._ask(request.operation, body, let_out, sent_at)
                    except ImgmigError:
                        self.limiter.spent(0, advance)  # nothing was sent
                        raise
                    await self._fence.answered(request.is_read)
            except DynamoDBError as error:
                if error.is_refusal:
                    self.limiter.spent(0, advance)  # the caller, which knows the item, pays for the refusal
                    await self._fence.answered(request.is_read)
                else:
                    self.limiter.lost(advance)
                # Outside the slot: a request that waits for its retry blocks no other one.
                answers_before, answers = answers, shared.answers
                try:
                    await self._recover(error, backoff, refreshes)
                except RetriesUsedUpError:
                    if answers == answers_before:
                        await self._probe(request.table)
                    raise
                continue
            shared.answers += 1
            self.traffic.answered(request.is_read, self.clock() - sent_at)
            self.pay(consumed_units(reply), request.is_read, advance)
            return reply

    async def _ask(
        self, operation: str, body: bytes, let_out: Callable[[], Awaitable[None]], sent_at: float
    ) -> dict[str, Any]:
        """One try. Its latency counts if the service processed the request."""
        try:
            reply = await self._client.call(operation, body, let_out)
        except DynamoDBError as error:
            if error.fault is TargetFault.CONDITION:
                self.in_flight.answered(operation, sent_at, self.clock())
            raise
        self.in_flight.answered(operation, sent_at, self.clock())
        return reply

    def refuse(self, operation: str | None, error: ImgmigError) -> None:
        """Send no request of an operation any more (None: none at all), those that wait included: each raises this."""
        self._shared.refused.setdefault(operation, error)

    def pay(self, units: float, is_read: bool = False, advance: float = 0.0) -> None:
        """Count capacity units that a request cost. The rate covers both kinds; each kind is reported by itself."""
        self.traffic.paid(units, is_read)
        self.limiter.spent(units, advance)

    async def _probe(self, table: str) -> None:
        """Find out whether one request is at fault or the service is away: an outage must not make rows fail."""
        try:
            body = orjson.dumps({"TableName": table})
            await self._client.call("DescribeTable", body, partial(self._fence.let_out, is_read=True))
        except DynamoDBError as error:
            if error.fault is TargetFault.TRANSIENT:
                raise TargetUnavailable(
                    f"DynamoDB does not answer: {error.code}. Nothing is lost: run the same command again to resume, "
                    "when it does"
                ) from None

    async def _recover(self, error: DynamoDBError, backoff: Backoff, refreshes: int) -> None:
        fault = error.fault
        if fault is TargetFault.BACK_PRESSURE:
            await backoff.throttled(error.code)
        elif fault is TargetFault.TRANSIENT:
            await backoff.retry(error.code)
        elif fault is TargetFault.REFRESH:
            await self._refresh(error.code, refreshes)
        elif fault is TargetFault.SIGN_AGAIN and not backoff.signed_again:
            backoff.signed_again = True
            self._client.sign_again()
        elif error.clock:
            raise error.clock from None
        elif fault is TargetFault.STOP:
            advice = _ADVICE.get(error.code, "see docs/errors.md")
            raise TargetRefused(f"DynamoDB refused {error}: {advice}", error.code) from None
        else:
            raise error

    async def _refresh(self, code: str, refreshes: int) -> None:
        """Renew the credentials, once for all requests signed before; `CredentialsUnavailable` if that fails."""
        shared = self._shared
        async with shared.refreshing:
            if refreshes < shared.refreshes:
                return
            in_vain = self.clock() - shared.refreshed_at <= 30
            # Getting credentials may take long: other requests go on.
            if in_vain or not await asyncio.to_thread(self._client.refresh_credentials):
                raise credentials_refused("DynamoDB", code)
            shared.refreshed_at = self.clock()
            shared.refreshes += 1


_ADVICE = {
    "ResourceNotFoundException": "the table does not exist in this account and region: check table in [target], "
    "AWS_REGION and the credentials",
    "AccessDeniedException": "the role does not have a permission on this table",
    **dict.fromkeys(
        ("InvalidSignatureException", "IncompleteSignatureException", "MissingAuthenticationTokenException"),
        "the secret access key is not that of its access key, or a proxy changes requests: check both",
    ),
}
