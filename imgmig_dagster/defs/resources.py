"""The services of a stage. Keys and types are the same in every stage; what they point at comes from its settings.

Settings are read when a run begins, not when the definitions load: every stage loads offline, and no run config
holds a secret.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from mimetypes import guess_type
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
from pydantic import Field, PrivateAttr

from imgmig_dagster.aws.access import BotoCoreError, ClientError
from imgmig_dagster.aws.certificate_signing import SigningKey
from imgmig_dagster.defs.range_run import AT_ONCE
from imgmig_dagster.errors import SettingsError, TargetUnavailable
from imgmig_dagster.local_runs.dagster_internals import pool_limit, spreads_runs
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.progress import Ended, Listener, Progress, every_rows, migration_log
from imgmig_dagster.sandbox.attaching import attach
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.config import load_settings
from imgmig_dagster.stage.services import source_connections, source_reader, stage_state, target_identity
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster.stage.stages import parse_stage
from imgmig_dagster.stage.write_guard import allow_writes
from imgmig_dagster.state import names
from imgmig_dagster.state.identity import known_identity
from imgmig_dagster.state.opening import check_shared, table_state
from imgmig_dagster.state.store import StageState, StateStore
from imgmig_dagster.state.throttle import Throttle
from imgmig_dagster.target.exports import TableExports
from imgmig_dagster.target.marks import Ownership, ownership
from imgmig_dagster.target.open_target import TargetSettings, WritableTarget
from imgmig_dagster.target.target_table import TargetIdentity
from imgmig_dagster.verification.pictures import PictureStore
from imgmig_dagster.window import now

TARGET_POOL = "target"
LOGGED_EVERY_ROWS = 100


def _shown(what: str, variable: str) -> Any:
    # Otherwise the launchpad would look like a place to set it.
    return Field(None, description=f"{what}, as {variable} says when the definitions load. Shown, and not used")


class StageResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A service of one stage."""

    stage: str = Field(description="dev, staging or prod: whose settings apply")

    _settings: Settings | None = PrivateAttr(None)

    @property
    def settings(self) -> Settings:
        """The stage's settings, read once a run."""
        if self._settings is None:
            self._settings = load_settings(parse_stage(self.stage))
        return self._settings

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002  # Dagster's signature
        """A run begins: attach dev to its sandbox, and forget what an earlier run in this process read."""
        attach(parse_stage(self.stage))
        self._settings = None


class SourceDatabase(StageResource):
    """The PostgreSQL primary, read-only."""

    database: str | None = _shown("where the database is", "url in [source]")

    @contextmanager
    def reader(self, declared: TableMapping) -> Iterator[SourceReader]:
        """A reader of a table, closed at the end."""
        settings = self.settings
        with source_reader(
            settings, source_connections(settings, at_once=AT_ONCE), settings.applied_to(declared)
        ) as reader:
            yield reader


class TargetDynamoDB(StageResource):
    """The DynamoDB table."""

    table: str | None = _shown("name of the table", "table in [target]")
    region: str | None = _shown("AWS's region", "AWS_REGION")
    endpoint: str | None = _shown("where DynamoDB is, if not at AWS's own endpoint", "AWS_ENDPOINT_URL")

    def open_for_writing(
        self, mapping: TableMapping, instance: dg.DagsterInstance, confirmed: str | None
    ) -> WritableTarget:
        """The same as `target_settings`, where this run may write; see `allow_writes` for what it raises."""
        return allow_writes(self.settings, confirmed, self.target_settings(mapping, instance))

    def target_settings(self, mapping: TableMapping, instance: dg.DagsterInstance) -> TargetSettings:
        """How to reach the items of a mapping, and how fast all runs together may use it.

        Raises:
            SettingsError: the pool admits no run.
        """
        settings = self.settings
        if pool_limit(instance, TARGET_POOL) == 0:
            raise SettingsError(
                f"Dagster's pool {TARGET_POOL!r} lets no run in: its limit is 0. To let some in: dagster instance "
                f"concurrency set {TARGET_POOL} 4"
            )
        return TargetSettings(
            access=settings.aws(),
            table=settings.target.table,
            mapping=mapping,
            requests_in_flight=settings.target.requests_in_flight,
            rate=settings.target.write_units_per_s,
        )

    def identity(self, mapping: TableMapping) -> TargetIdentity:
        """Which table it is; see `target.target_table.describe` for what it raises."""
        return target_identity(self.settings, mapping)

    def exports(self) -> TableExports | None:
        """From where a census reads the table, if `export_url` names a place; None: it scans the table."""
        url = self.settings.target.export_url
        return None if url is None else TableExports(self.settings.aws(), url)

    def ownership(self, arn: str, store: StateStore) -> Ownership:
        """Whether this stage's state alone writes to the table; see `target.marks.ownership` for what it raises."""
        state = known_identity(store)
        return ownership(self.settings.aws(), arn, state.id if state else None)


class PictureBuckets(StageResource):
    """S3, where the pictures are; read-only."""

    def open(self, mapping: TableMapping) -> PictureStore | None:
        """The buckets that the rows of a table name; None where its mapping declares no pictures."""
        return None if mapping.pictures is None else PictureStore(self.settings.aws(), mapping, mapping.pictures)


class StateDirectory(StageResource):
    """Checkpoints, ledgers, evidence and reports."""

    place: str | None = _shown("folder or bucket", "url in [state]")

    _spread: bool = PrivateAttr(False)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """A run begins: check that its locks work on all hosts of the instance."""
        super().setup_for_execution(context)
        self._spread = context.instance is not None and spreads_runs(context.instance)

    def of_stage(self) -> StageState:
        """What the tables of the stage share: the id of the state, and `imgmig throttle`."""
        if self._spread:
            check_shared(self.settings.state.url)
        return stage_state(self.settings)

    def open(self, table: str) -> StateStore:
        """The state of one table."""
        return table_state(self.of_stage(), table)

    @contextmanager
    def log(self, table: str, run_id: str) -> Iterator[logging.Logger]:
        """The log of one table, for a run."""
        appender = self.open(table).appender(names.log(now(), run_id))
        with migration_log(appender.append, appender.interval) as logger:
            yield logger


class ReportBucket(StageResource):
    """S3, where reports are published in addition to the state store, if `url` in [reports] names a place."""

    place: str | None = _shown("bucket and prefix", "url in [reports]")

    def signing_key(self) -> SigningKey | None:
        """The key of KMS that signs certificates, if `signing_key` in [reports] names one."""
        name = self.settings.reports.signing_key
        return SigningKey(self.settings.aws(), name) if name else None

    def publish(self, files: Mapping[str, bytes], folder: str | None = None) -> dict[str, str]:
        """Upload the files, with the bucket's encryption; returns the place of each. Does nothing if no place is set.

        They go below the stage's name, and in a `folder` there where one is named.

        Raises:
            SettingsError: the URL is not S3's.
            TargetUnavailable: S3 refused, or cannot be reached.
        """
        settings = self.settings
        if settings.reports.url is None:
            return {}
        place = urlsplit(settings.reports.url)
        if place.scheme != "s3" or not place.netloc:
            raise SettingsError("url in [reports] must be s3://bucket/prefix")
        prefix = "/".join(part for part in (place.path.strip("/"), self.stage, folder) if part)
        client = settings.aws().client("s3")
        try:
            for name, content in files.items():
                kind = guess_type(name)[0] or "application/octet-stream"  # so that a browser shows it
                client.put_object(Bucket=place.netloc, Key=f"{prefix}/{name}", Body=content, ContentType=kind)
        except (ClientError, BotoCoreError) as error:
            raise TargetUnavailable(
                f"the reports could not be published to {settings.reports.url}: {type(error).__name__}. They are in "
                "the state store; remove url from [reports], or give the role s3:PutObject there"
            ) from None
        return {name: f"s3://{place.netloc}/{prefix}/{name}" for name in files}


@dataclass(frozen=True)
class ProgressListener:
    """The command line's listeners, which get progress, the end of each partition, and notices, like the logs."""

    listen: Listener
    end: Callable[[Ended], None]
    notice: Callable[[str], None]

    def for_run(self, log: logging.Logger, run_log: Listener) -> Listener:
        """Writes to ``migration.log`` every 100 rows at first, later by time (`every_rows`); the others get every
        moment."""
        to_file = every_rows(LOGGED_EVERY_ROWS, lambda progress: log.info("%s", _with_partition(progress)))

        def tell(progress: Progress) -> None:
            to_file(progress)
            run_log(progress)
            self.listen(progress)

        return tell

    def telling_throttle(
        self, stage: str, log: logging.Logger, dagster_log: logging.Logger
    ) -> Callable[[Throttle], None]:
        """Reports the beginning and the end of a pause to the logs and the listener."""

        def tell(asked: Throttle) -> None:
            line = asked.line(stage)
            log.warning("%s", line)
            dagster_log.warning(line)
            self.notice(line)

        return tell


def _with_partition(progress: Progress) -> str:
    return f"{progress.partition}: {progress.line()}"
