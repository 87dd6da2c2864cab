"""How fast each phase is, and its bottleneck: the bound that lets the fewest rows through."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from imgmig_dagster.capacity import limits, measured
from imgmig_dagster.capacity.workload import CapacityMode, Workload, started
from imgmig_dagster.stage.stages import WriteMode


class Bottleneck(str, Enum):
    """What limits a phase."""

    NOTHING = "nothing"
    CLIENT_CPU = "client CPU"
    RATE = "rate"
    TABLE_QUOTA = "table quota"
    PARTITION_HEAT = "partition heat"
    WARM_THROUGHPUT = "warm throughput"
    SOURCE = "source"


WHAT_HELPS: Final = {
    Bottleneck.NOTHING: "",
    Bottleneck.CLIENT_CPU: "more runs on more cores, and at least as many partitions",
    Bottleneck.RATE: "a higher write_units_per_s in [target]",
    Bottleneck.TABLE_QUOTA: "a higher quota for the table (AWS's Service Quotas)",
    Bottleneck.PARTITION_HEAT: "keys that spread better, in the table and in each index",
    Bottleneck.WARM_THROUGHPUT: "warm throughput set on the table beforehand, or provisioned capacity",
    Bottleneck.SOURCE: "a quieter hour, or a larger PostgreSQL",
}


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One command's work: total units, requests and CPU, and how long it takes.

    No rows cost nothing. `allowed` is how many rows a second each bound alone would let through once the table is
    warm; `rows_per_s` is the lowest of them.
    """

    name: str
    write_units: int = 0
    read_units: int = 0
    requests: int = 0
    cpu_s: float = 0.0
    seconds: float = 0.0
    rows_per_s: float = 0.0
    bottleneck: Bottleneck = Bottleneck.NOTHING
    allowed: Mapping[Bottleneck, float] = field(default_factory=dict)


def phases(work: Workload) -> list[Phase]:
    """Migration, verification and census of a workload, in their order."""
    migrated = _migration(work)
    # By then the table has enough partitions for the highest rate of writes, and each serves reads as well.
    peak = work.warm
    if migrated.seconds:
        peak = max(peak, min(migrated.rows_per_s * work.table_write_units, _reached(work.warm, migrated.seconds)))
    warm = peak * limits.PARTITION_READ_UNITS / limits.PARTITION_WRITE_UNITS
    return [migrated, _verification(work, warm), _census(work, warm)]


def paced(rows: float, steady: float, first: float) -> float:
    """The seconds for so many rows, if the first rate doubles every half hour until it is `steady`."""
    seconds, rate = 0.0, first
    while rate < steady:
        migrated = rate * limits.DOUBLES_EVERY_S
        if migrated >= rows:
            return seconds + rows / rate
        rows -= migrated
        seconds += limits.DOUBLES_EVERY_S
        rate *= 2
    return seconds + rows / steady


def _reached(warm: float, seconds: float) -> float:
    doubled: float = 2 ** min(seconds // limits.DOUBLES_EVERY_S, 64)
    return warm * doubled


def _migration(work: Workload) -> Phase:
    # In batch mode a consistent read of each key comes first; reading a missing item costs a read unit.
    looks = work.rows if work.write_mode is WriteMode.BATCH else 0
    # An item too large for a PartiQL statement is put by itself.
    alone = not looks and work.item_bytes > measured.MAX_INSERT_BYTES
    requests = started(work.rows, 1 if alone else limits.BATCH_WRITE_ITEMS) + started(looks, limits.BATCH_GET_ITEMS)
    heat = [(work.hot_share, work.table_write_units), *((each.hot_share, each.write_units) for each in work.indexes)]
    quota = work.quota / work.table_write_units
    if work.capacity_mode is CapacityMode.PROVISIONED:
        quota = min(quota, limits.ACCOUNT_QUOTA / work.write_units)
    return _phase(
        "migrate",
        work,
        cpu_us=measured.MIGRATE_US_PER_ROW[work.write_mode],
        runs=work.busy_runs,
        partitions=work.partitions,
        allowed={
            Bottleneck.RATE: (work.rate or math.inf) / (work.write_units + bool(looks)),
            Bottleneck.TABLE_QUOTA: quota,
            Bottleneck.PARTITION_HEAT: min(_cool(limits.PARTITION_WRITE_UNITS, *each) for each in heat),
            Bottleneck.SOURCE: work.source_rows_per_s / measured.SOURCE_READS[work.write_mode],
        },
        warm=work.warm / work.table_write_units,
        write_units=work.rows * work.write_units,
        read_units=looks,
        requests=requests,
    )


def _verification(work: Workload, warm: float) -> Phase:
    per_reply = min(limits.BATCH_GET_ITEMS, limits.REPLY_BYTES // work.item_bytes)
    return _phase(
        "verify",
        work,
        cpu_us=measured.VERIFY_US_PER_ROW,
        runs=work.busy_runs,
        partitions=work.partitions,
        allowed={
            Bottleneck.RATE: (work.rate or math.inf) / work.read_units,
            Bottleneck.TABLE_QUOTA: work.quota / work.read_units,
            Bottleneck.PARTITION_HEAT: _cool(limits.PARTITION_READ_UNITS, work.hot_share, work.read_units),
            Bottleneck.SOURCE: work.source_rows_per_s,
        },
        warm=warm / work.read_units,
        write_units=0,
        read_units=work.rows * work.read_units,
        requests=started(work.rows, per_reply),
    )


def _census(work: Workload, warm: float) -> Phase:
    # A page of a Scan is billed by its bytes, not by its items.
    per_row = work.item_bytes / limits.READ_UNIT_BYTES
    return _phase(
        "census",
        work,
        cpu_us=measured.CENSUS_US_PER_ROW,
        runs=1,
        partitions=0,
        allowed={
            Bottleneck.RATE: (work.rate or math.inf) / per_row,
            Bottleneck.TABLE_QUOTA: work.quota / per_row,
            # Each segment of the Scan reads one partition at a time.
            Bottleneck.PARTITION_HEAT: measured.CENSUS_SEGMENTS * limits.PARTITION_READ_UNITS / per_row,
            Bottleneck.SOURCE: work.source_rows_per_s,
        },
        warm=warm / per_row,
        write_units=0,
        read_units=started(work.bytes, limits.READ_UNIT_BYTES),
        requests=started(work.bytes, limits.SCAN_PAGE_BYTES),
    )


def _phase(
    name: str,
    work: Workload,
    *,
    cpu_us: float,
    runs: int,
    partitions: int,
    allowed: Mapping[Bottleneck, float],
    warm: float,
    write_units: int,
    read_units: int,
    requests: int,
) -> Phase:
    if not work.rows:
        return Phase(name=name)
    more_kb = max(0, work.item_bytes - limits.KB) / limits.KB
    cpu_s = (
        work.rows * (cpu_us + more_kb * measured.US_PER_KB) / 1e6
        + partitions * measured.PARTITION_MS / 1e3
        + runs * measured.START_S
    )
    allowed = {Bottleneck.CLIENT_CPU: work.rows / cpu_s * runs, **allowed}
    bottleneck = min(allowed, key=lambda each: allowed[each])
    steady = allowed[bottleneck]
    seconds = shortest = work.rows / steady
    if work.capacity_mode is CapacityMode.ON_DEMAND:
        seconds = paced(work.rows, steady, warm)
    return Phase(
        name=name,
        write_units=write_units,
        read_units=read_units,
        requests=requests,
        cpu_s=cpu_s,
        seconds=seconds,
        rows_per_s=steady,
        # Warming up the table takes longer than everything else.
        bottleneck=bottleneck if seconds <= 2 * shortest else Bottleneck.WARM_THROUGHPUT,
        allowed=allowed,
    )


def _cool(partition_units: int, share: float, units: int) -> float:
    """The rows a second at which the most common key stays within one partition's units."""
    return partition_units / (share * units) if share else math.inf
