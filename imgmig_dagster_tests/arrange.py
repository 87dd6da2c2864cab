"""What tests arrange: rows, source tables, target tables, and settings that wait for nothing."""

import asyncio
import calendar
import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import psycopg
from psycopg import sql

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.progress import Progress
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.failures import Failure, FailureLedger
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.migration_result import MigrationResult
from imgmig_dagster.steps.orphans import delete_orphans
from imgmig_dagster.steps.repair import keys_at_fault, repair
from imgmig_dagster.steps.repair_result import RepairResult
from imgmig_dagster.steps.spot_check import spot_check
from imgmig_dagster.target.open_target import WritableTarget
from imgmig_dagster.verification.census_results import CensusResult, LeftSince
from imgmig_dagster.verification.evidence import CurrentState, identity_of
from imgmig_dagster.verification.pictures import PictureStore
from imgmig_dagster.verification.spot_check_results import SpotCheckResult
from imgmig_dagster.verification.verification_result import VerificationResult
from imgmig_dagster.window import Window, now
from imgmig_dagster_tests.images import IMAGE, PICTURE
from imgmig_dagster_tests.runs import Run

ImageValues = dict[str, Any]


def us(text: str) -> int:
    """``2024-02-29 12:34:56.123456`` in UTC as microseconds since 1970, without the code under test."""
    whole, _, fraction = text.partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%d %H:%M:%S")) * 1_000_000 + int(fraction.ljust(6, "0") or 0)


def month(year: int, number: int) -> Window:
    """The window of a calendar month."""
    following = (year + 1, 1) if number == 12 else (year, number + 1)
    return Window(
        f"{year}-{number:02}-01",
        datetime(year, number, 1, tzinfo=timezone.utc),
        datetime(*following, 1, tzinfo=timezone.utc),
    )


MARCH = month(2024, 3)


def row_id(number: int) -> str:
    """The id of `image(number)`; ids sort as their numbers do."""
    return str(uuid.UUID(int=number))


def image(number: int, **changes: Any) -> ImageValues:
    """A source row, column by column, created in March 2024 in the order of the numbers."""
    return {
        "id": row_id(number),
        "user_id": "0b6a2f6e-5a0c-4b7e-9a59-8f1d5a2f7c11",
        "created_at": f"2024-03-{number // 86_400 % 31 + 1:02}T{number // 3600 % 24:02}:{number // 60 % 60:02}"
        f":{number % 60:02}.{number % 1_000_000:06}Z",
        "updated_at": "2024-05-06T07:08:09.123456Z",
        "original_filename": f"IMG_{number}.jpg",
        "s3_key": f"uploads/{number}.jpg",
        "s3_bucket": "images-prod",
        "thumbnail_s3_key": f"thumbs/{number}.webp",
        "mime_type": "image/jpeg",
        "size_bytes": 1000 + number,
        "width": 640,
        "height": 480,
        **changes,
    }


COLUMNS = tuple(image(0))


@dataclass(frozen=True)
class Source:
    """A source table of the test's own. `url` is the reader's, who may not write; `owner` writes."""

    owner: psycopg.Connection[Any]
    url: str
    schema: str
    table: str
    mapping: TableMapping = IMAGE

    def insert(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows; every value is given as text, so that PostgreSQL's own spellings work ('infinity', BC)."""
        names = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(self.schema, self.table), names)
        with self.owner.cursor() as cursor, cursor.copy(statement) as copy:
            for values in rows:
                copy.write_row([None if values[name] is None else str(values[name]) for name in COLUMNS])

    def execute(self, statement: str, *parameters: Any) -> list[Any]:
        """A statement of the owner, with ``{t}`` for the table."""
        composed = sql.SQL(statement).format(t=sql.Identifier(self.schema, self.table))
        cursor = self.owner.execute(composed, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def update(self, number: int, **changes: Any) -> None:
        """Change a row as the application does: `updated_at` moves too, unless given."""
        for column, value in {"updated_at": "2024-06-01T00:00:00Z", **changes}.items():
            statement = sql.SQL("UPDATE {} SET {} = %s WHERE id::text = %s").format(
                sql.Identifier(self.schema, self.table), sql.Identifier(column)
            )
            self.owner.execute(statement, (value, row_id(number)))

    def delete(self, *numbers: int) -> None:
        """Delete rows."""
        for number in numbers:
            self.execute("DELETE FROM {t} WHERE id::text = %s", row_id(number))

    def reader(self, at_once: int = 1) -> SourceReader:
        """A reader that waits for nothing."""
        retry = RetryPolicy(delays=(0.0, 0.0), random=lambda: 0.0)
        connections = ReadOnlyConnections(self.url, retry, sleep=lambda _seconds: None, at_once=at_once)
        return SourceReader(connections, self.schema, self.table, self.mapping)


def partition_by_time(source: Source) -> None:
    """Make the empty table a partitioned one, whose primary key holds `created_at` too: an id can be there twice."""
    source.execute("ALTER TABLE {t} RENAME TO plain")
    plain, default = (sql.Identifier(source.schema, name).as_string() for name in ("plain", "everything"))
    source.execute(f"CREATE TABLE {{t}} (LIKE {plain}, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at)")
    source.execute(f"CREATE TABLE {default} PARTITION OF {{t}} DEFAULT")
    source.execute("GRANT SELECT ON {t} TO imgmig_reader")


@dataclass(frozen=True)
class Target:
    """A DynamoDB table of the test's own; `client` is boto3's, and goes past any proxy."""

    client: Any
    name: str
    url: str
    mapping: TableMapping = IMAGE

    def items(self) -> dict[str, Item]:
        """Everything in the table, by partition key."""
        found: dict[str, Item] = {}
        for page in self.client.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True):
            found.update((item["PK"]["S"], item) for item in page["Items"])
        return found

    def item(self, number: int) -> Item | None:
        """The item of `image(number)`."""
        found: Item | None = self.client.get_item(TableName=self.name, Key=IMAGE.key(row_id(number))).get("Item")
        return found

    def put(self, item: Item) -> None:
        """Write as the application does: without any condition."""
        self.client.put_item(TableName=self.name, Item=item)

    def delete(self, number: int) -> None:
        """Delete an item."""
        self.client.delete_item(TableName=self.name, Key=IMAGE.key(row_id(number)))

    def settings(self, url: str | None = None, **changes: Any) -> WritableTarget:
        """How the code under test reaches the table, through a proxy where `url` is one."""
        return WritableTarget(
            access=access(url or self.url), table=self.name, mapping=self.mapping, **{"retry": NO_WAIT, **changes}
        )


def access(url: str) -> AwsAccess:
    """Credentials that only an emulator takes."""
    return AwsAccess(
        region="us-east-1",
        access_key_id="test",
        secret_access_key="test",
        endpoint_urls=tuple((service, url) for service in ("dynamodb", "s3", "sts", "secretsmanager", "kms")),
    )


async def no_wait(_seconds: float) -> None:
    """Let others run, and come back at once."""
    await asyncio.sleep(0)


NO_WAIT = RetryPolicy(sleep=no_wait, random=lambda: 0.0)


class FakeClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        # A real clock moves on however short a sleep is; a sum of floats need not.
        self.now += max(seconds, 1e-6)
        await asyncio.sleep(0)


def item_of(number: int, **changes: Any) -> Item:
    """The item that the application's TypeScript writes for `image(number)`; `changes` are attributes, None drops."""
    values = image(number)
    written: dict[str, Any] = {
        "PK": {"S": f"IMAGE#{row_id(number)}"},
        "SK": {"S": "METADATA"},
        "userId": {"S": values["user_id"]},
        "createdAt": {"S": values["created_at"][:23] + "Z"},
        "updatedAt": {"S": "2024-05-06T07:08:09.123Z"},
        "originalFilename": {"S": f"IMG_{number}.jpg"},
        "s3Key": {"S": f"uploads/{number}.jpg"},
        "s3Bucket": {"S": "images-prod"},
        "thumbnailS3Key": {"S": f"thumbs/{number}.webp"},
        "mimeType": {"S": "image/jpeg"},
        "sizeBytes": {"N": str(1000 + number)},
        "width": {"N": "640"},
        "height": {"N": "480"},
        "version": {"N": "1"},
        **changes,
    }
    return {name: value for name, value in written.items() if value is not None}


@dataclass
class Migration:
    """A source, a target and a state store, and the runs over them."""

    source: Source
    target: Target
    state: StateStore
    window: Window = MARCH

    def run(
        self,
        url: str | None = None,
        write_mode: WriteMode = WriteMode.CONDITIONAL,
        run_id: str = "run-1",
        page_size: int = 1000,
        told: list[Progress] | None = None,
        keep_values: bool = False,
        **target_settings: Any,
    ) -> Run:
        """A run, through the proxy at `url` if given. Close its source, or use `migrate` and the like."""
        return Run(
            source=self.source.reader(),
            target=self.target.settings(url, **target_settings),
            state=self.state,
            window=self.window,
            run_id=run_id,
            write_mode=write_mode,
            page_size=page_size,
            listener=(lambda _progress: None) if told is None else told.append,
            keep_values=keep_values,
        )

    def migrate(
        self,
        url: str | None = None,
        start_over: bool = False,
        confirm_deletes: int | None = None,
        **settings: Any,
    ) -> MigrationResult:
        """A pass from beginning to end."""
        run = self.run(url, **settings)
        with run.source:
            return run.migrate(start_over, confirm_deletes)

    def retry_failures(
        self, url: str | None = None, confirm_deletes: int | None = None, **settings: Any
    ) -> MigrationResult:
        """A retry of the ledger's keys."""
        run = self.run(url, **settings)
        with run.source:
            return run.retry_failures(confirm_deletes)

    def verify(self, url: str | None = None, only_failed: bool = False, page_size: int = 1000) -> VerificationResult:
        """A verification of the window."""
        run = self.verification(url, page_size)
        with run.source:
            return run.verify(only_failed)

    def today(self, reader: SourceReader) -> CurrentState:
        """What evidence is compared with."""
        return CurrentState(now(), identity_of(reader, self.target.settings().identity()))

    def repair(
        self, url: str | None = None, apply: bool = False, source_wins: bool = False, show_values: bool = False
    ) -> RepairResult:
        """A repair of what the last verification listed: a dry run unless `apply=True`."""
        partition = self.window.partition
        ids, unlisted = keys_at_fault(self.state, partition)
        run = self.run(url, run_id="repair-1", page_size=500, keep_values=show_values)

        async def call(work: ReadingWork) -> RepairResult:
            return await repair(work, partition, ids, unlisted, source_wins)

        with run.source:
            return run.do(call) if apply else run.look(call)

    def delete_orphans(
        self,
        url: str | None = None,
        confirm_deletes: int | None = None,
        apply: bool = False,
        show_values: bool = False,
    ) -> RepairResult:
        """A deletion of the orphan items that the last census listed: a dry run unless `apply=True`."""
        census = load_record(self.state, names.CENSUS, CensusResult)
        run = self.run(url, run_id="repair-1", keep_values=show_values)

        async def call(work: ReadingWork) -> RepairResult:
            return await delete_orphans(work, census, [self.window], confirm_deletes)

        with run.source:
            return run.do(call) if apply else run.look(call)

    def census(self, url: str | None = None) -> CensusResult:
        """A census, with the window as the only partition."""
        run = self.verification(url)
        with run.source:
            return run.census()

    def rows_left(self, url: str | None = None) -> LeftSince:
        """What became of the rows that have left the source since the last census."""
        run = self.verification(url)
        with run.source:
            return run.rows_left()

    def spot_check(self, count: int, seed: int, url: str | None = None, s3_url: str | None = None) -> SpotCheckResult:
        """A sample; DynamoDB at `url` and S3 at `s3_url` if given."""
        run, declared = self.verification(url), self.source.mapping.pictures
        s3 = None if declared is None else pictures(s3_url or self.target.url)
        with run.source:
            return run.look(lambda work: spot_check(work, s3, [self.window], count, seed))

    @property
    def ledger(self) -> dict[str, Failure]:
        """The failures by id."""
        return FailureLedger(self.state, self.window.partition).entries()

    @property
    def checkpoint(self) -> dict[str, Any] | None:
        """The file of an interrupted pass."""
        found = self.state.read(f"{self.window.partition}/migration-progress.json")
        return json.loads(found.content)["checkpoint"] if found else None

    def verification(self, url: str | None = None, page_size: int = 1000) -> Run:
        """A run that verifies; close its source."""
        return self.run(url, run_id="verify-1", page_size=page_size)


def migrated(migration: Migration, count: int) -> None:
    """Rows, and the items that a migration makes of them."""
    migration.source.insert(image(number) for number in range(count))
    for number in range(count):
        migration.target.put(item_of(number))


def pictures(url: str) -> PictureStore:
    """S3 at that URL."""
    return PictureStore(access(url), IMAGE, PICTURE)


def ids(numbers: Iterable[int]) -> Sequence[str]:
    """The ids of these images, sorted."""
    return sorted(map(row_id, numbers))
