"""Temporary source and target tables next to the sandbox's own, for experiments such as the self-test."""

import contextlib
import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.batches import batched
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.sandbox import aws_process, postgres
from imgmig_dagster.sandbox.copied_rows import copy_rows, make_like, multiply_rows
from imgmig_dagster.sandbox.declared_records import DeclaredRecords
from imgmig_dagster.sandbox.seed import SOURCE_DDL, SOURCE_TABLE, ImageRow, replace_rows

_BATCH: Final = 25


@dataclass(frozen=True)
class ScratchTables:
    """A source table in its own schema, and a target table.

    `reader_url` is of the role that may only read; `owner_url` is of the owner, who finds the table without the
    schema's name. `dynamodb` is a boto3 client.
    """

    reader_url: str
    owner_url: str
    schema: str
    source: str
    dynamodb: Any
    access: AwsAccess
    target: str

    def insert(self, rows: Iterable[ImageRow]) -> None:
        """Fill the source table with images."""
        replace_rows(self.owner_url, rows)

    def copy_rows(self, mapping: TableMapping, at_most: int) -> None:
        """Fill the source table with rows of the mapping's."""
        import psycopg

        with psycopg.connect(self.owner_url) as owner:
            copy_rows(owner, mapping, self.schema, at_most)

    def multiply_rows(self, mapping: TableMapping, count: int, chance: random.Random) -> int:
        """Copy those rows until there are so many: see `copied_rows`."""
        import psycopg

        with psycopg.connect(self.owner_url) as owner:
            return multiply_rows(owner, mapping, self.schema, count, chance)

    def delete(self, mapping: TableMapping, row_ids: Iterable[str]) -> None:
        """Delete rows of the source table."""
        import psycopg

        records = DeclaredRecords(replace(mapping, schema=self.schema, table=self.source))
        with psycopg.connect(self.owner_url) as owner:
            for row_id in row_ids:
                records.delete(row_id, owner)

    def items(self) -> list[Item]:
        """All items of the target table."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.target, ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def write(self, put: Sequence[Item], delete: Sequence[Item]) -> None:
        """Write items to the target table as they are, and delete those of these keys."""
        requests = [{"PutRequest": {"Item": item}} for item in put]
        requests += [{"DeleteRequest": {"Key": key}} for key in delete]
        for batch in batched(requests, _BATCH):
            # Nothing throttles here, so no item is left unprocessed.
            self.dynamodb.batch_write_item(RequestItems={self.target: batch})


@contextlib.contextmanager
def scratch_tables(postgres_port: int, aws_port: int, mapping: TableMapping | None) -> Iterator[ScratchTables]:
    """Empty tables like those of the mapping, by default those of images; both are deleted after the context."""
    import psycopg

    name = f"scratch_{uuid.uuid4().hex[:12]}"
    owner_url, reader_url = (
        postgres.url(postgres_port, postgres.SOURCE_DATABASE, role) for role in (postgres.OWNER, postgres.READER)
    )
    dynamodb = aws_process.client("dynamodb", aws_port)
    with psycopg.connect(owner_url, autocommit=True) as owner:
        try:
            owner.execute(f"CREATE SCHEMA {name}")
            owner.execute(f"SET search_path TO {name}")
            if mapping is None:
                owner.execute(SOURCE_DDL)
            else:
                make_like(owner, mapping, name)
            owner.execute(f"GRANT USAGE ON SCHEMA {name} TO {postgres.READER}")
            owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {postgres.READER}")
            aws_process.create_table(
                dynamodb, name, aws_process.KEY if mapping is None else aws_process.key_of(mapping)
            )
            yield ScratchTables(
                reader_url=reader_url,
                owner_url=f"{owner_url}?options=-csearch_path%3D{name}",
                schema=name,
                source=SOURCE_TABLE if mapping is None else mapping.table,
                dynamodb=dynamodb,
                access=aws_process.access(aws_port),
                target=name,
            )
        finally:
            owner.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
            with contextlib.suppress(dynamodb.exceptions.ResourceNotFoundException):
                dynamodb.delete_table(TableName=name)
            dynamodb.close()
