"""One run of the benchmarks: the sandbox's PostgreSQL, and the processes that are measured."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg

from benchmarks.job import TARGET_TABLE, Job, Sample
from benchmarks.scale import WARM_UP_ROWS, Scale
from benchmarks.source_tables import make_march_table, march_table
from imgmig_dagster.sandbox import Sandbox

_REPOSITORY: Final = Path(__file__).resolve().parent.parent
_WAY_SECONDS: Final = 1_800
_ROW_SECONDS: Final = 0.001  # ten times what a row takes on a quiet machine
_OURS: Final = ("IMGMIG_", "AWS_", "DAGSTER_", "PG")


@dataclass
class Bench:
    """What the measures share. `cache` outlives the run: what npm installed is kept there.

    `before` names the commit to compare the current code with.
    """

    scale: Scale
    cache: Path
    scratch: Path
    sandbox: Sandbox
    environment: Mapping[str, str]
    owner: psycopg.Connection[Any]
    say: Callable[[str], None]
    before: str | None = None
    _numbers: Iterator[int] = field(default_factory=count)
    _tables: set[int] = field(default_factory=set)

    def table(self, rows: int) -> str:
        """A source table of so many rows in March 2024, made when it is first asked for."""
        if rows not in self._tables:
            self._tables.add(rows)
            if rows > 100_000:
                self.say(f"  making {rows:,} rows ...")
            make_march_table(self.owner, rows)
        return march_table(rows)

    def job(self, way: str, rows: int, endpoint: str, table: str | None = None, **more: Any) -> Job:
        """A job with a new scratch folder, over `table` or the March rows."""
        return Job(
            way=way,
            source_url=self.environment["IMGMIG_SOURCE_URL"],
            source_table=table or self.table(rows),
            rows=rows,
            endpoint=endpoint,
            scratch=str(self.new_folder()),
            cache=str(self.cache / "node"),
            warm_up_table=self.table(WARM_UP_ROWS),
            **more,
        )

    def new_folder(self) -> Path:
        """A new folder."""
        folder = self.scratch / f"way-{next(self._numbers)}"
        folder.mkdir()
        return folder

    def run(self, job: Job, partition_start: str = "2024-03-01") -> Sample:
        """Take a way in a process of its own."""
        return self._run([sys.executable, "-m", "benchmarks.way"], job, partition_start)

    def run_node(self, script: str, job: Job) -> Sample:
        """Take a way that is written for Node."""
        return self._run(["node", str(Path(__file__).with_name(script))], job, "")

    def _run(self, command: list[str], job: Job, partition_start: str) -> Sample:
        done = subprocess.run(
            [*command, json.dumps(asdict(job))],
            # Where no .env file of the user's is read.
            cwd=job.scratch,
            env=self._environment(job, partition_start),
            check=False,
            capture_output=True,
            text=True,
            timeout=_WAY_SECONDS + job.rows * _ROW_SECONDS,
        )
        if done.returncode:
            raise RuntimeError(f"{job.way} failed:\n{done.stderr.strip() or done.stdout.strip()}")
        return Sample(**json.loads(done.stdout.strip().splitlines()[-1]))

    def _environment(self, job: Job, partition_start: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return {
            **inherited,
            "PYTHONPATH": str(_REPOSITORY),
            "PYTHONWARNINGS": "ignore",
            "STAGE": "dev",
            "IMGMIG_SOURCE_URL": job.source_url,
            "IMGMIG_SOURCE_TABLE": job.source_table,
            "IMGMIG_TARGET_TABLE": TARGET_TABLE,
            "IMGMIG_STATE_URL": (Path(job.scratch) / "stage").as_uri(),
            "IMGMIG_PARTITION_START": partition_start,
            "IMGMIG_PARTITION_GRAIN": "daily" if job.days else "monthly",
            "AWS_ENDPOINT_URL_DYNAMODB": job.endpoint,
            "IMGMIG_WRITE_MODE": job.write_mode,
            "TMPDIR": job.scratch,
            **{
                name: self.environment[name]
                for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_EC2_METADATA_DISABLED")
            },
            "DAGSTER_HOME": self.environment["DAGSTER_HOME"],
        }


@contextlib.contextmanager
def opened(scale: Scale, cache: Path, before: str | None, say: Callable[[str], None]) -> Iterator[Bench]:
    """A bench with its own sandbox, which is deleted at the end."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="imgmig-bench-") as folder:
        sandbox = Sandbox(Path(folder) / "sandbox")
        try:
            sandbox.start()
            environment = sandbox.environment()
            owner = psycopg.connect(
                host=environment["PGHOST"],
                port=environment["PGPORT"],
                user=environment["PGUSER"],
                dbname=environment["PGDATABASE"],
                autocommit=True,
            )
            with owner:
                yield Bench(scale, cache, Path(folder), sandbox, environment, owner, say, before)
        finally:
            sandbox.delete()
