"""AWS's prices in US dollars. The defaults are those of us-east-1, read in November 2026.

Sources: https://aws.amazon.com/dynamodb/pricing/on-demand/, https://aws.amazon.com/dynamodb/pricing/provisioned/ and
https://aws.amazon.com/s3/pricing/. Free tiers, reserved capacity and the class Standard-IA are left out.
"""

from dataclasses import dataclass, field, fields
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Each price, named as in `--price`, with underscores for hyphens."""

    write_million: float = field(default=0.625, metadata={"of": "a million write units, on demand"})
    read_million: float = field(default=0.125, metadata={"of": "a million read units, on demand"})
    write_hour: float = field(default=0.00065, metadata={"of": "a provisioned write unit per second, for an hour"})
    read_hour: float = field(default=0.00013, metadata={"of": "a provisioned read unit per second, for an hour"})
    storage_gb: float = field(default=0.25, metadata={"of": "a GB of table and indexes, for a month"})
    stream_million: float = field(default=0.2, metadata={"of": "a million reads of a stream, other than by Lambda"})
    export_gb: float = field(default=0.10, metadata={"of": "a GB exported to S3 by point-in-time recovery"})
    recovery_gb: float = field(default=0.20, metadata={"of": "a GB under point-in-time recovery, for a month"})
    import_gb: float = field(default=0.15, metadata={"of": "a GB imported from S3 by ImportTable, uncompressed"})
    s3_put_million: float = field(default=5.0, metadata={"of": "a million PUT or LIST of S3"})
    s3_get_million: float = field(default=0.4, metadata={"of": "a million GET of S3"})
    s3_gb: float = field(default=0.023, metadata={"of": "a GB in S3, for a month"})


PRICES: Final = Prices()
NAMES: Final = {each.name.replace("_", "-"): str(each.metadata["of"]) for each in fields(Prices)}
"""What each price is for."""


def on_demand_dollars(write_units: float, read_units: float = 0.0, prices: Prices = PRICES) -> float:
    """The price of so many units of an on-demand table."""
    return (write_units * prices.write_million + read_units * prices.read_million) / 1_000_000
