"""A backfill over the hosts, of which one is killed and one suspended and cut off, and what came of it."""

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import dagster as dg
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from imgmig_dagster_tests.hosts.ground import (
    BUCKET,
    HOSTS,
    PARTITIONS,
    ROWS_PER_PARTITION,
    UNITS_PER_S,
    Ground,
    partitions,
)
from imgmig_dagster_tests.hosts.meter import Arrival, Write, busiest
from imgmig_dagster_tests.hosts.network import Host
from imgmig_dagster_tests.orchestration.servers import program

WINDOW_S: Final = 5.0
TOLERANCE: Final = 1.05
# A window may begin with the last request of the time before, of each host.
IN_FLIGHT: Final = HOSTS * 25
_LAUNCH: Final = """mutation { launchPartitionBackfill(backfillParams: {allPartitions: true, selector: {
    partitionSetName: "migrate_partition_set",
    repositorySelector: {repositoryLocationName: "imgmig_dagster", repositoryName: "__repository__"}}}) {
    __typename ... on LaunchBackfillSuccess { backfillId } } }"""
_Retries: TypeAlias = "dict[str, dg.DagsterRun]"
_TAKEN_OVER: Final = "another run has taken over"
_RANGE: Final = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass
class Findings:
    """`facts` are for people; `violations` are what must not be."""

    facts: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def judge(self, fact: str, holds: bool) -> None:
        """Note a fact, which is a violation unless it `holds`."""
        self.facts.append(fact)
        if not holds:
            self.violations.append(fact)


class Campaign:
    """One backfill; `tell` hears of each step."""

    def __init__(self, ground: Ground, tell: Callable[[str], object]) -> None:
        self._ground = ground
        self._tell = tell
        self._host_of: dict[str, str] = {}

    def run(self) -> Findings:
        """From the launch to the judgement."""
        launched = self._ground.graphql(_LAUNCH)["launchPartitionBackfill"]
        backfill: str = launched["backfillId"]
        self._tell(f"a backfill of {PARTITIONS} partitions is launched")
        began = time.monotonic()
        _steady, doomed, cut_off = self._ground.hosts

        killed = self._run_at_work(doomed)
        self._tell(f"{doomed.name} works on {_named(killed)}: {doomed.send(signal.SIGKILL)} processes get SIGKILL")
        self._wait_until(lambda: self._has_failed(killed))
        self._ground.start_worker(doomed)
        self._tell(f"the run is taken for dead, and waits for its retry; {doomed.name} is started again")
        # Retries wait behind all others: the host would be away for the rest of the backfill.
        lost = self._run_at_work(cut_off, queued_at_most=2)
        # In this order: what had left has arrived, and nothing waits in the host for the cable to come back.
        cut_off.send(signal.SIGSTOP)
        held = self._owners(lost)
        cut_off.cut()
        written = self._written(held)
        self._tell(
            f"{cut_off.name} works on {_named(lost)}: its processes are stopped, and its cable is pulled. It holds "
            f"{', '.join(held)}, of which {', '.join(map(str, written.values()))} rows are written"
        )
        # Not earlier: the run that wakes goes on to its other partitions, and the retry would find them held.
        self._wait_until(lambda: self._is_retried(lost))
        self._tell("another host has taken all of them over, and is done: the cable is put back, the processes go on")
        restored_at = time.monotonic()
        cut_off.restore()
        cut_off.send(signal.SIGCONT)
        self._wait_until(lambda: self._has_left(lost, cut_off))
        late = [write for write in self._writes_of(cut_off, held) if write.at > restored_at]
        self._tell(f"the run on {cut_off.name} has come to an end too")
        self._wait_until(lambda: self._has_ended(backfill))
        self._tell(f"the backfill has ended after {time.monotonic() - began:.0f} s; the table is verified")
        migrating = list(self._ground.meter.arrived)

        findings = Findings()
        findings.judge(f"{len(late)} writes of it arrived for partitions that another run had taken over", not late)
        self._judge_runs(findings, backfill, killed, lost)
        self._judge_items(findings)
        self._judge_rate(findings, migrating)
        return findings

    def _judge_runs(self, findings: Findings, backfill: str, killed: dg.DagsterRun, lost: dg.DagsterRun) -> None:
        runs = self._runs(backfill)
        retries: _Retries = {run.parent_run_id: run for run in runs if run.parent_run_id}
        for what, run in (("killed", killed), ("cut off", lost)):
            retry = retries.get(run.run_id)
            where = self._host_of.get(retry.run_id) if retry else None
            findings.judge(
                f"the run of the host that was {what} was retried on {where}, and came to its end",
                retry is not None and self._ended_well(retry, retries),
            )
        said = " ".join(dg.serialize_value(entry) for entry in self._ground.instance.all_logs(lost.run_id))
        refused = said.count(_TAKEN_OVER)
        findings.judge(
            f"the run that was cut off ended as failed: {refused} times its log says that {_TAKEN_OVER}",
            self._has_failed(lost) and refused > 0,
        )
        marks = [name for name in self._state_files() if name.endswith("/late-writes.jsonl")]
        findings.facts.append(f"{len(marks)} partitions bear a mark of what may have arrived late")
        spread = Counter(self._host_of[run.run_id] for run in runs if run.run_id in self._host_of)
        shares = ", ".join(f"{host} {count}" for host, count in sorted(spread.items()))
        findings.judge(f"{len(runs)} runs, on {shares}", len(spread) == HOSTS)
        done = self._ground.instance.get_materialized_partitions(dg.AssetKey("migrated_images"))
        findings.judge(f"{len(done)} of {PARTITIONS} partitions migrated", done == set(partitions()))

    def _judge_items(self, findings: Findings) -> None:
        unlimited = {**self._ground.environment, "IMGMIG_WRITE_RATE": "100000"}
        ended = subprocess.run(program("imgmig", "verify"), env=unlimited, check=False, capture_output=True, text=True)
        (self._ground.folder / "verify.log").write_text(ended.stdout + ended.stderr)
        verdict = next((line for line in ended.stdout.splitlines() if "Verdict" in line), "no verdict")
        findings.judge(
            f"imgmig verify, its census included: exit code {ended.returncode}, {verdict.strip()}",
            ended.returncode == 0,
        )
        evidence = [self._read(name) for name in self._state_files() if name.endswith("/evidence.json")]
        findings.judge(f"evidence of {len(evidence)} partitions", len(evidence) == PARTITIONS)
        items = self._ground.target.items()
        equal = sum(items.get(key) == item for key, item in self._ground.expected.items())
        findings.judge(
            f"{equal:,} of {len(self._ground.expected):,} items are equal, {len(items):,} stand in the target",
            items == self._ground.expected,
        )

    def _judge_rate(self, findings: Findings, arrived: Sequence[Arrival]) -> None:
        most, allowed = busiest(arrived, WINDOW_S), TOLERANCE * UNITS_PER_S * WINDOW_S + IN_FLIGHT
        findings.judge(
            f"at most {most:,.0f} units within {WINDOW_S:g} s at the proxy, {most / WINDOW_S / UNITS_PER_S:.3f} of "
            f"IMGMIG_WRITE_RATE, which all runs share",
            most <= allowed,
        )

    def _run_at_work(self, host: Host, queued_at_most: int = PARTITIONS) -> dg.DagsterRun:
        """A run in the middle of a partition on this host, once there is one and the queue is so short."""
        found: list[dg.DagsterRun] = []

        def there_is_one() -> bool:
            found[:] = [
                run
                for run in self._started()
                if self._host_of.get(run.run_id) == host.name and self._is_in_the_middle(run)
            ]
            return bool(found) and self._count(dg.DagsterRunStatus.QUEUED) <= queued_at_most

        self._wait_until(there_is_one)
        return found[0]

    def _wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait, and note which host has which run; the campaign as a whole is bounded."""
        while True:
            for run in self._started():
                if run.run_id not in self._host_of and (host := self._asked_of_celery(run)):
                    self._host_of[run.run_id] = host
            if holds():
                return
            time.sleep(0.5)

    def _count(self, status: dg.DagsterRunStatus) -> int:
        return self._ground.instance.get_runs_count(dg.RunsFilter(statuses=[status]))

    def _is_retried(self, run: dg.DagsterRun) -> bool:
        retries = self._ground.instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": run.run_id}))
        return any(retry.is_finished for retry in retries)

    def _has_failed(self, run: dg.DagsterRun) -> bool:
        found = self._ground.instance.get_run_by_id(run.run_id)
        return found is not None and found.status is dg.DagsterRunStatus.FAILURE

    def _started(self) -> Sequence[dg.DagsterRun]:
        return list(self._ground.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])))

    def _asked_of_celery(self, run: dg.DagsterRun) -> str | None:
        celery = self._ground.instance.run_launcher.celery  # type: ignore[attr-defined]
        said = celery.AsyncResult(run.tags[DAGSTER_CELERY_TASK_ID_TAG])
        worker = said.info.get("hostname") if said.state == "STARTED" else None
        return worker.partition("@")[2] if worker else None

    def _runs(self, backfill: str) -> Sequence[dg.DagsterRun]:
        return list(self._ground.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill})))

    def _has_ended(self, backfill: str) -> bool:
        found = self._ground.instance.get_backfill(backfill)
        return found is not None and found.status in BULK_ACTION_TERMINAL_STATUSES

    def _ended_well(self, run: dg.DagsterRun, retries: _Retries) -> bool:
        """Whether it succeeded, or a retry of its own did."""
        if run.status is dg.DagsterRunStatus.SUCCESS:
            return True
        return run.run_id in retries and self._ended_well(retries[run.run_id], retries)

    def _has_left(self, run: dg.DagsterRun, host: Host) -> bool:
        """Whether the host's worker answers, and has the run no more."""
        celery = self._ground.instance.run_launcher.celery  # type: ignore[attr-defined]
        worker, task = f"worker@{host.name}", run.tags[DAGSTER_CELERY_TASK_ID_TAG]
        answer = celery.control.inspect(destination=[worker], timeout=1).query_task(task)
        return answer is not None and not answer.get(worker)

    def _owners(self, run: dg.DagsterRun) -> dict[str, str]:
        """Who holds the leases of a run's partitions, as far as anybody does."""
        held = {}
        for name in self._state_files():
            *_, partition, file = name.split("/")
            if file == "run.lock" and partition in _range(run) and (owner := self._read(name).get("owner")):
                held[partition] = owner
        return held

    def _is_in_the_middle(self, run: dg.DagsterRun) -> bool:
        """Whether it has written some, and not all, of the rows of a partition that it holds."""
        return any(0 < rows < ROWS_PER_PARTITION for rows in self._written(self._owners(run)).values())

    def _written(self, partitions: Iterable[str]) -> dict[str, int]:
        """How many rows of these partitions were written."""
        keys = {key for write in self._ground.meter.writes for key in write.keys}
        written = Counter(self._partition_of(key) for key in keys)
        return {partition: written[partition] for partition in partitions}

    def _writes_of(self, host: Host, partitions: Container[str]) -> list[Write]:
        return [
            write
            for write in self._ground.meter.writes
            if write.host == host.name and any(self._partition_of(key) in partitions for key in write.keys)
        ]

    def _partition_of(self, key: str) -> str:
        return str(self._ground.expected[key]["createdAt"]["S"])[: len("2024-01-01")]

    def _state_files(self) -> list[str]:
        pages = self._ground.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def _read(self, name: str) -> dict[str, Any]:
        content = self._ground.s3.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        found: dict[str, Any] = json.loads(content or b"{}")
        return found


def _range(run: dg.DagsterRun) -> list[str]:
    """The partitions of a run."""
    first, last = (run.tags[tag] for tag in _RANGE)
    return [partition for partition in partitions() if first <= partition <= last]


def _named(run: dg.DagsterRun) -> str:
    return f"{_range(run)[0]} to {_range(run)[-1]}"
