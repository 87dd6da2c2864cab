"""What the hosts asked of DynamoDB, and when: all of it passes here, each host's by a proxy of its own."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from imgmig_dagster_tests.fault_proxy import WRITES, Call, FaultProxy, Forward, Reply

Arrival = tuple[float, float]
"""When a request arrived, in seconds, and what it cost, in units."""


@dataclass(frozen=True)
class Write:
    """A request that writes: when it arrived, in seconds, from which host, and the keys that it names."""

    at: float
    host: str
    keys: Sequence[str]


@dataclass
class Meter:
    """Counts what goes through the proxies of the hosts."""

    arrived: list[Arrival] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)

    def watch(self, proxy: FaultProxy, host: str) -> None:
        """Count each call of that host's proxy from now on."""

        async def count(call: Call, forward: Forward) -> Reply:
            at = time.monotonic()
            proxy.calls.clear()  # with their bodies, which nobody looks at
            if call.operation in WRITES:
                self.writes.append(Write(at, host, call.keys))
            reply = await forward(call.body)
            self.arrived.append((at, units_of(json.loads(reply.body))))
            return reply

        proxy.inject(count, times=10**9)


def units_of(reply: dict[str, Any]) -> float:
    """The units that a reply reports; 0 where it reports none."""
    reported = reply.get("ConsumedCapacity", [])
    return float(sum(each["CapacityUnits"] for each in (reported if isinstance(reported, list) else [reported])))


def busiest(arrived: Sequence[Arrival], window_s: float) -> float:
    """The most units that arrived within so many seconds, wherever those begin."""
    ordered, first, units, most = sorted(arrived), 0, 0.0, 0.0
    for at, cost in ordered:
        units += cost
        while ordered[first][0] <= at - window_s:
            units -= ordered[first][1]
            first += 1
        most = max(most, units)
    return most
