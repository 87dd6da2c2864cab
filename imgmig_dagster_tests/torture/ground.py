"""What a campaign begins with: rows, the items in the target before, and those expected at the end."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster_tests.arrange import Source, Target, access, image, item_of, row_id
from imgmig_dagster_tests.conftest import create_table
from imgmig_dagster_tests.ministack import ministack
from imgmig_dagster_tests.orchestration.commands import CommandServer

LONG_AGO, TO_COME = {"S": "2024-01-01T00:00:00.000Z"}, {"S": "2030-01-01T00:00:00.000Z"}
BUCKET = "torture-state"


@dataclass(frozen=True)
class Rows:
    """`count` source rows, of which one in 150 can never be migrated.

    Where the application writes too, some items exist in the target before: stale, partial, newer, identical.
    """

    count: int

    def values(self) -> Iterator[dict[str, Any]]:
        for number in range(self.count):
            yield image(number, updated_at="infinity") if number in self.rejected else image(number)

    @property
    def rejected(self) -> range:
        return range(77, self.count, 150)

    def newer(self, write_mode: WriteMode) -> range:
        return range(3, self.count if write_mode is WriteMode.CONDITIONAL else 0, 50)

    def before(self, write_mode: WriteMode) -> Iterator[Item]:
        """The items in the target when the pass begins."""
        if write_mode is WriteMode.BATCH:
            return
        for number in range(0, self.count, 50):
            partial = item_of(number + 2, updatedAt=None, width=None, s3Key=None)
            yield item_of(number + 1, updatedAt=LONG_AGO, width={"N": "1"}, version={"N": "5"})
            yield {**partial, "version": {"N": "3"}, "lastViewedBy": {"S": "viewer"}}
            yield item_of(number + 3, updatedAt=TO_COME, width={"N": "1"})
            yield item_of(number + 4, version={"N": "9"})

    def after(self, write_mode: WriteMode) -> dict[str, Item]:
        """The items expected when it has ended, by partition key."""
        items = {number: item_of(number) for number in range(self.count) if number not in self.rejected}
        if write_mode is WriteMode.CONDITIONAL:
            for number in range(0, self.count, 50):
                items[number + 1] = item_of(number + 1, version={"N": "6"})
                items[number + 2] = item_of(number + 2, version={"N": "3"}, lastViewedBy={"S": "viewer"})
                items[number + 3] = item_of(number + 3, updatedAt=TO_COME, width={"N": "1"})
                items[number + 4] = item_of(number + 4, version={"N": "9"})
        return {f"IMAGE#{row_id(number)}": item for number, item in items.items()}


@dataclass(frozen=True)
class Ground:
    """A source with `rows`, DynamoDB at `url`, S3 at `s3_url`, and the part that forks processes.

    `environment` is what else the command line needs.
    """

    source: Source
    rows: Rows
    dynamodb: Any
    url: str
    s3_url: str
    commands: CommandServer
    environment: dict[str, str]
    folder: Path

    @contextmanager
    def target(self, write_mode: WriteMode) -> Iterator[Target]:
        """A table as it is before the pass."""
        name = f"torture-{uuid.uuid4().hex[:12]}"
        create_table(self.dynamodb, name)
        target = Target(self.dynamodb, name, self.url)
        puts = [{"PutRequest": {"Item": item}} for item in self.rows.before(write_mode)]
        for start in range(0, len(puts), 25):
            self.dynamodb.batch_write_item(RequestItems={name: puts[start : start + 25]})
        yield target
        self.dynamodb.delete_table(TableName=name)


@contextmanager
def opened(folder: Path, rows: Rows) -> Iterator[Ground]:
    """A sandbox, ministack and a server of processes, of this campaign's own: moto would take thrice the time."""
    sandbox = Sandbox(folder / ".imgmig")
    commands_folder = folder / "commands"
    commands_folder.mkdir()
    commands = CommandServer(commands_folder)
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
        source = Source(owner, environment["IMGMIG_SOURCE_URL"], "public", "images")
        with owner, ministack(folder) as url:
            s3_url = environment["AWS_ENDPOINT_URL_S3"]
            dynamodb = access(url).client("dynamodb")
            yield prepared(Ground(source, rows, dynamodb, url, s3_url, commands, environment, folder))
    finally:
        commands.close()
        sandbox.delete()


def prepared(ground: Ground) -> Ground:
    """The ground with its rows and its bucket."""
    ground.source.insert(ground.rows.values())
    # In us-east-1 the owner may create a bucket twice.
    access(ground.s3_url).client("s3").create_bucket(Bucket=BUCKET)
    return ground
