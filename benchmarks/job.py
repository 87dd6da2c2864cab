"""The input and the output of one measured way."""

import json
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, TypeVar

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.sandbox.aws_process import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.work import WritingWork, open_work, work_on
from imgmig_dagster.stage.write_guard import allow_scratch_writes
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.target.open_target import TargetSettings
from imgmig_dagster.window import Window
from imgmig_dagster_tests.images import IMAGE

Found = TypeVar("Found")
PAGE: Final = 1_000
IN_FLIGHT: Final = 10
TARGET_TABLE: Final = "images-bench"
# All rows of a measured table are in this one partition.
MARCH: Final = Window(
    "2024-03-01", datetime(2024, 3, 1, tzinfo=timezone.utc), datetime(2024, 4, 1, tzinfo=timezone.utc)
)


@dataclass(frozen=True)
class Job:
    """One way's work. `scratch` is a folder that is new for this run; `cache` holds what npm installed.

    `months`, `days` and `run` are for `orchestration`: how many partitions of which size, and the name of the job.
    """

    way: str
    source_url: str
    source_table: str
    rows: int
    endpoint: str
    scratch: str
    cache: str
    warm_up_table: str
    months: int = 0
    days: int = 0
    run: str = ""
    write_mode: str = WriteMode.BATCH.value

    def reader(self, table: str) -> SourceReader:
        return SourceReader(ReadOnlyConnections(self.source_url), "public", table, IMAGE)

    def target(self) -> TargetSettings:
        access = AwsAccess(
            region=REGION,
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=SECRET_ACCESS_KEY,
            endpoint_urls=(("dynamodb", self.endpoint),),
        )
        return TargetSettings(access=access, table=TARGET_TABLE, mapping=IMAGE, requests_in_flight=IN_FLIGHT)

    def work_on(self, table: str, state: str, do: Callable[[WritingWork], Coroutine[Any, Any, Found]]) -> Found:
        """Do something with the work of a run over a table, whose state is in a folder of that name."""
        with self.reader(table) as reader:
            work = open_work(
                reader,
                allow_scratch_writes(self.target()),
                LocalStateStore(self.folder(state)),
                "bench",
                page_size=PAGE,
                recheck_delay_s=0.0,
                listener=lambda _progress: None,
            )
            return work_on(work, do)

    def folder(self, name: str) -> Path:
        path = Path(self.scratch) / name
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class Sample:
    """What one run of one way took: CPU (user and system) and wall in seconds, peak resident memory in MB.

    `parts` are further figures, by names of the way's own.
    """

    rows: int
    cpu_s: float
    wall_s: float
    peak_mb: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def cpu_us_per_row(self) -> float:
        return 1e6 * self.cpu_s / self.rows

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.wall_s

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def measured(rows: int, work: Callable[[], object]) -> Sample:
    """Run `work` and take this process's CPU and the wall time over it."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    return Sample(rows, cpu_seconds() - cpu, time.perf_counter() - wall, peak_mb())


def cpu_seconds() -> float:
    """User and system time of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb() -> float:
    """The most memory that this process ever held, in MB of 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss of a child begins with the parent's; this starts from zero with the program.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
