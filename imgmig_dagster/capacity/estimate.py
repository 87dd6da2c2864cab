"""Everything that a migration takes, and what it costs. The parts are in `phases`, `prices` and `workload`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from imgmig_dagster.capacity import limits, measured
from imgmig_dagster.capacity.bulk import Load, load
from imgmig_dagster.capacity.phases import Bottleneck, Phase, phases
from imgmig_dagster.capacity.prices import Prices, on_demand_dollars
from imgmig_dagster.capacity.workload import CapacityMode, Workload

_HOUR_S = 3_600.0


@dataclass(frozen=True, kw_only=True)
class Dollars:
    """What each part costs. Units are on demand, and `provisioned` is what the same work costs at its highest rate.

    `storage_month` of the table and `state_month` of the state in S3 are charged every month. `export` is a census by
    an export to S3 instead of a Scan; it needs point-in-time recovery, which costs `recovery_month`.
    """

    writes: float
    reads: float
    streams: float
    state: float
    total: float
    provisioned: float
    export: float
    recovery_month: float
    storage_month: float
    state_month: float


@dataclass(frozen=True, kw_only=True)
class State:
    """The state in S3, and the requests for it: `puts` are PUT and LIST."""

    objects: int
    bytes: int
    puts: int
    gets: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a workload takes from the first migration to the first certificate, by phase.

    `bottleneck` is that of the longest phase. `remarks` say what else to consider.
    """

    workload: Workload
    phases: Sequence[Phase]
    seconds: float
    write_units: int
    read_units: int
    requests: int
    cpu_s: float
    bottleneck: Bottleneck
    dollars: Dollars
    state: State
    bulk: Load
    remarks: Sequence[str]


def estimate(work: Workload, prices: Prices) -> Estimate:
    """Calculate it."""
    found, state = phases(work), _state(work)
    longest = max(found, key=lambda each: each.seconds)
    writes, reads = sum(each.write_units for each in found), sum(each.read_units for each in found)
    return Estimate(
        workload=work,
        phases=found,
        seconds=sum(each.seconds for each in found),
        write_units=writes,
        read_units=reads,
        requests=sum(each.requests for each in found),
        cpu_s=sum(each.cpu_s for each in found),
        bottleneck=longest.bottleneck,
        dollars=_dollars(work, found, state, prices),
        state=state,
        bulk=load(work, prices),
        remarks=_remarks(work),
    )


def _state(work: Workload) -> State:
    if not work.rows:
        return State(objects=0, bytes=0, puts=0, gets=0)
    segments = max(work.partitions, math.ceil(work.rows / measured.SEGMENT_ROWS))
    lists = math.ceil(work.rows / measured.CENSUS_FILE_ROWS)
    return State(
        objects=work.partitions * measured.PARTITION_FILES + segments + lists,
        bytes=work.partitions * measured.PARTITION_BYTES + work.rows * measured.ROW_BYTES,
        puts=work.partitions * measured.PARTITION_PUTS + segments * measured.SEGMENT_PUTS + lists,
        gets=work.partitions * measured.PARTITION_GETS + segments * measured.SEGMENT_GETS,
    )


def _dollars(work: Workload, found: Sequence[Phase], state: State, prices: Prices) -> Dollars:
    writes = on_demand_dollars(sum(each.write_units for each in found), prices=prices)
    reads = on_demand_dollars(0, sum(each.read_units for each in found), prices)
    records = max(work.rows / limits.STREAM_PAGE_RECORDS, work.bytes / limits.STREAM_PAGE_BYTES)
    streams = work.stream_readers * math.ceil(records) * prices.stream_million / 1e6
    requests = (state.puts * prices.s3_put_million + state.gets * prices.s3_get_million) / 1e6
    provisioned = sum(_provisioned(work, each, prices) for each in found)
    units = provisioned if work.capacity_mode is CapacityMode.PROVISIONED else writes + reads
    return Dollars(
        writes=writes,
        reads=reads,
        streams=streams,
        state=requests,
        total=units + streams + requests,
        provisioned=provisioned,
        export=work.bytes / limits.GB * prices.export_gb,
        recovery_month=work.stored_bytes / limits.GB * prices.recovery_gb,
        storage_month=work.stored_bytes / limits.GB * prices.storage_gb,
        state_month=state.bytes / limits.GB * prices.s3_gb,
    )


def _provisioned(work: Workload, phase: Phase, prices: Prices) -> float:
    """The capacity for the phase's highest rate, of the table and its indexes, for each started hour."""
    if not work.rows:
        return 0.0
    hours = math.ceil(work.rows / phase.rows_per_s / _HOUR_S)
    writes = math.ceil(phase.rows_per_s * phase.write_units / work.rows)
    reads = math.ceil(phase.rows_per_s * phase.read_units / work.rows)
    return hours * (writes * prices.write_hour + reads * prices.read_hour)


def _remarks(work: Workload) -> list[str]:
    remarks = []
    if work.rate and work.rate > work.quota:
        remarks.append(
            f"the rate of {work.rate:,.0f} units/s is above the table's quota of {work.quota:,.0f}: what is beyond is "
            "throttled"
        )
    if work.busy_runs < work.runs:
        remarks.append(f"{work.runs - work.busy_runs:,} of {work.runs:,} runs have no partition to work on")
    return remarks
