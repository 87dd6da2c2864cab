"""The sandbox as a whole: one folder, two servers, and the variables that point any client at them."""

import contextlib
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from imgmig_dagster.errors import SandboxError, SandboxNotRunning
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.sandbox import aws_process, postgres
from imgmig_dagster.sandbox.dagster_instance import write_dagster_yaml
from imgmig_dagster.sandbox.lock import locked
from imgmig_dagster.sandbox.process import HOST, Listener, Service, attach_or_start
from imgmig_dagster.sandbox.record import RECORD, Record, SandboxStatus, SettingsFiles, replacing
from imgmig_dagster.sandbox.sample_pictures import recorded
from imgmig_dagster.sandbox.seed import SYNTHETIC_START, ImageRow, csv_rows, replace_rows, synthetic_rows

if TYPE_CHECKING:
    from imgmig_dagster.sandbox.dual_writer import DualWriter
    from imgmig_dagster.sandbox.scratch import ScratchTables


class Sandbox:
    """PostgreSQL, DynamoDB and S3 on loopback, with all their files in one folder.

    The servers outlive the process that started them, until `stop`. Every method may be called from several
    processes at once: those that change something take turns behind a lock on a file in the folder.

    Methods raise `SandboxError`, whose message says what to do, when the extra ``sandbox`` is not installed, a
    server does not come up, or the folder belongs to another user.
    """

    def __init__(self, root: Path | str = ".imgmig", target_table: str = aws_process.TABLE) -> None:
        self.root = Path(root).absolute()
        self._postgres = postgres.Postgres(self.root)
        self._aws = aws_process.Moto(self.root, target_table)
        self._record_file = self.root / "sandbox.json"
        self._settings_files = SettingsFiles(self.root)

    def start(self) -> SandboxStatus:
        """Attach to the servers, or start those that do not run, on their recorded ports where these are free.

        A server that was found running is left as it is. moto comes back empty: its table and bucket are made again.
        `images` of the result is None, to keep attaching cheap.
        """
        with locked(self.root):
            return self._status(self._start(self._read()))

    def status(self) -> SandboxStatus:
        """What runs, with the number of source rows. Starts nothing and waits for nothing."""
        status = self._status(self._read())
        if status.postgres_port is None or not status.postgres_running:
            return status
        return replace(status, images=postgres.count_images(status.postgres_port))

    def require_running(self) -> None:
        """Raise `SandboxNotRunning` unless both servers run."""
        status = self._status(self._read())
        if not (status.postgres_running and status.aws_running):
            raise SandboxNotRunning(f"the sandbox in {self.root} does not run: imgmig sandbox start")

    def environment(self) -> dict[str, str]:
        """The variables that point imgmig, Dagster, psql, boto3, the AWS CLI and other clients at the sandbox.

        They come from the recorded ports: nothing is started or asked. psql becomes the owner of the table, who
        may write; IMGMIG_SOURCE_URL names a role that may only read. Raises `SandboxNotRunning` if the sandbox
        was never started.
        """
        record = self._read()
        if record is None:
            raise SandboxNotRunning(f"there is no sandbox in {self.root}: run `imgmig sandbox start` first")
        return {
            **self._settings(record),
            "IMGMIG_SANDBOX_DIR": str(self.root),
            "AWS_DEFAULT_REGION": aws_process.REGION,
            "DAGSTER_HOME": str(self._dagster_home),
            "PGHOST": HOST,
            "PGPORT": str(record.postgres.port),
            "PGUSER": postgres.OWNER,
            "PGDATABASE": postgres.SOURCE_DATABASE,
        }

    def _settings(self, record: Record) -> dict[str, str]:
        url = aws_process.endpoint_url(record.aws.port)
        return {
            "IMGMIG_SOURCE_URL": postgres.url(record.postgres.port, postgres.SOURCE_DATABASE, postgres.READER),
            "IMGMIG_TARGET_TABLE": self._aws.table,
            "IMGMIG_STATE_URL": (self.root / "state").as_uri(),
            "IMGMIG_REPORTS_URL": f"s3://{aws_process.BUCKET}/reports",
            **record.partitioning(),
            # Services that the sandbox does not have must not be asked of AWS either.
            "AWS_ENDPOINT_URL": url,
            "AWS_ENDPOINT_URL_DYNAMODB": url,
            "AWS_ENDPOINT_URL_S3": url,
            "AWS_ACCESS_KEY_ID": aws_process.ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": aws_process.SECRET_ACCESS_KEY,
            "AWS_REGION": aws_process.REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def seed(self, rows: Iterable[ImageRow], partition_start: date | None = None) -> int:
        """Replace the source rows and their pictures in S3, record where partitions start; returns how many there are.

        Without `partition_start` that is the first day, in UTC, of the month of the earliest row. Target items
        and state of an earlier run stay: `reset` first to start over. Starts the servers if they do not run.
        Raises `SeedError` if the rows are refused; the old ones then stay.
        """
        with locked(self.root):
            record = self._start(self._read())
            url = postgres.url(record.postgres.port, postgres.SOURCE_DATABASE, postgres.OWNER)
            with replacing(self.root / aws_process.PICTURES_FILE) as file:
                count, earliest = replace_rows(url, recorded(rows, file))
            self._aws.take_up_pictures(record.aws)
            start = partition_start or earliest or record.partition_start or SYNTHETIC_START
            self._write(replace(record, partition_start=start))
        return count

    def seed_synthetic(self, images: int, seed: int = 0) -> int:
        """Replace the source rows with that many synthetic ones, the same for the same arguments."""
        return self.seed(synthetic_rows(images, seed), SYNTHETIC_START)

    def seed_csv(self, path: Path | str) -> int:
        """Replace the source rows with those of a CSV file; see `csv_rows` for its format."""
        return self.seed(csv_rows(Path(path)))

    def load(self, path: Path, schema: str, table: str) -> int:
        """Run a file of SQL in the source's database, and let the reader read the table; returns its rows.

        Partitions then begin where the table's declaration says. Raises `LoadError` with the line if PostgreSQL refuses
        the file, or if it leaves no such table.
        """
        from imgmig_dagster.sandbox.sql_files import load

        with locked(self.root):
            record = self._start(self._read())
            rows = load(self._postgres, record.postgres, path, schema, table)
            self._write(replace(record, partition_start=None))
        return rows

    def prepare_target(self, mapping: TableMapping) -> None:
        """Make the target table one with the mapping's key, where it is another and holds nothing.

        Raises `LoadError` where it holds items: a table has one key for all entities in it.
        """
        with locked(self.root):
            record, key = self._start(self._read()), aws_process.key_of(mapping)
            if self._aws.remake_table(record.aws, key):
                self._write(replace(record, key=key))

    def dual_writer(self, seed: int = 0, mapping: TableMapping | None = None) -> "DualWriter":
        """An application that writes to both sides of this sandbox: a declared table, or images. See `dual_writer`."""
        import psycopg

        from imgmig_dagster.sandbox.declared_records import DeclaredRecords
        from imgmig_dagster.sandbox.dual_writer import DualWriter

        record = self._running()
        url = postgres.url(record.postgres.port, postgres.SOURCE_DATABASE, postgres.OWNER)
        return DualWriter(
            lambda: psycopg.connect(url),
            aws_process.client("dynamodb", record.aws.port),
            self._aws.table,
            seed,
            None if mapping is None else DeclaredRecords(mapping),
        )

    def scratch_tables(self, mapping: TableMapping | None = None) -> "AbstractContextManager[ScratchTables]":
        """Empty tables like those of the mapping or of images, next to the sandbox's own; deleted after the context."""
        from imgmig_dagster.sandbox.scratch import scratch_tables

        record = self._running()
        return scratch_tables(record.postgres.port, record.aws.port, mapping)

    def reset(self) -> SandboxStatus:
        """Delete source rows, target items, state and Dagster's history, and start again on the same ports.

        A running `dagster dev` has to be started again afterwards: its tables are gone.
        """
        with locked(self.root):
            record = None
            # Resetting is also the way out of a record that cannot be read.
            with contextlib.suppress(SandboxError):
                record = self._read()
            self._delete()
            return self._status(self._start(Record(record.postgres, record.aws) if record else None))

    def delete(self) -> None:
        """End both servers and delete what they held, also outside of the folder; only the lock file stays.

        As root the cluster is below /var/tmp: deleting only the folder would leave it there, with the servers running.
        """
        if self.root.exists():
            with locked(self.root):
                self._delete()

    def stop(self) -> None:
        """End both servers. PostgreSQL keeps its rows; moto's tables and objects are gone."""
        if self.root.exists():
            with locked(self.root):
                self._stop()

    @property
    def _dagster_home(self) -> Path:
        return self.root / "dagster_home"

    def _running(self) -> Record:
        with locked(self.root):
            return self._start(self._read())

    def _start(self, record: Record | None) -> Record:
        services: tuple[Service, Service] = (self._postgres, self._aws)
        ports = (record.postgres.port, record.aws.port) if record else (None, None)
        found = tuple(service.find() for service in services)
        try:
            return self._started(record, services, ports, found)
        except Exception:
            # No server is left behind that was not there before.
            for service, before in zip(services, found, strict=True):
                if before is None:
                    with contextlib.suppress(SandboxError, OSError):
                        service.stop()
            raise

    def _started(
        self,
        record: Record | None,
        services: tuple[Service, Service],
        ports: tuple[int | None, int | None],
        found: tuple[Listener | None, ...],
    ) -> Record:
        with ThreadPoolExecutor() as pool:
            on_postgres, on_aws = pool.map(attach_or_start, services, ports)
        if record and found == (on_postgres, on_aws) == (record.postgres, record.aws) and self._settings_files.exist():
            return record
        # This also handles servers of an interrupted start, which the record does not have yet.
        self._postgres.prepare(on_postgres)
        self._aws.prepare(on_aws, record.key if record else aws_process.KEY)
        (self.root / "state").mkdir(exist_ok=True)
        # SQLAlchemy 2.1 would take psycopg 3 for a bare postgresql://, which cannot run dagster-postgres' NOTIFY.
        storage = postgres.url(on_postgres.port, postgres.DAGSTER_DATABASE, postgres.OWNER, "postgresql+psycopg2")
        write_dagster_yaml(self._dagster_home, storage)
        record = replace(record, postgres=on_postgres, aws=on_aws) if record else Record(on_postgres, on_aws)
        self._write(record)
        return record

    def _stop(self) -> None:
        self._aws.stop()
        self._postgres.stop()

    def _delete(self) -> None:
        self._stop()
        self._postgres.remove()
        for path in (
            self._record_file,
            self._settings_files.stage,
            self._settings_files.variables,
            self._aws.log,
            self.root / aws_process.PICTURES_FILE,
        ):
            path.unlink(missing_ok=True)
        for folder in (self.root / "state", self._dagster_home):
            shutil.rmtree(folder, ignore_errors=True)

    def _status(self, record: Record | None) -> SandboxStatus:
        def pid(service: Service) -> int | None:
            found = service.find()
            return found.pid if found and service.answers(found) else None

        return SandboxStatus(
            root=self.root,
            postgres_pid=pid(self._postgres),
            postgres_port=record.postgres.port if record else None,
            aws_pid=pid(self._aws),
            aws_port=record.aws.port if record else None,
            images=None,
            partition_start=record.partition_start if record else None,
            partition_grain=record.partition_grain if record else None,
        )

    def _read(self) -> Record | None:
        try:
            return RECORD.validate_json(self._record_file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            reason = error if isinstance(error, OSError) else error.errors()[0]["msg"]
            raise SandboxError(f"{self._record_file} cannot be read ({reason}): run `imgmig sandbox reset`") from error

    def _write(self, record: Record) -> None:
        self._settings_files.write(self._settings(record))
        with replacing(self._record_file) as file:
            file.write(RECORD.dump_json(record, indent=2).decode() + "\n")
