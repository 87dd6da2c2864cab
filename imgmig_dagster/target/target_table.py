"""Reads the target table: its identity, its key schema, and its items. `writer` writes."""

import copy
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import gather
from imgmig_dagster.errors import TargetRefused, TargetUnavailable
from imgmig_dagster.fence import UNFENCED, Fence
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.target.client import DynamoDBError
from imgmig_dagster.target.faults import TargetFault, classify
from imgmig_dagster.target.index_keys import IndexKey, index_keys
from imgmig_dagster.target.requests import MAX_BATCH_GET, BatchGetItem, Scan
from imgmig_dagster.target.sender import Backoff, RetriesUsedUpError, Sender

Table = TypeVar("Table", bound="TargetTable")


@dataclass(frozen=True)
class TargetIdentity:
    """Which table this is: a table that was deleted and created again is another one. `index_keys` may change."""

    arn: str
    created_at: str
    index_keys: tuple[IndexKey, ...] = ()


def describe(access: AwsAccess, table: str, mapping: TableMapping) -> TargetIdentity:
    """Ask DynamoDB what the table is, and check that it can hold the mapping's items.

    Raises:
        TargetRefused: no such table, another key schema, or no permission.
        TargetUnavailable: DynamoDB cannot be reached, or pushes back.
        SettingsError: no region, no credentials, or an unknown profile.
    """
    try:
        found = access.client("dynamodb").describe_table(TableName=table)["Table"]
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "an error")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if classify(code, status) in (TargetFault.BACK_PRESSURE, TargetFault.TRANSIENT):
            raise TargetUnavailable(f"DynamoDB answered {code} for table {table!r}: try again later") from None
        raise TargetRefused(
            f"DynamoDB answered {code} for table {table!r}: check table in [target], AWS_REGION and the permissions"
        ) from None
    except BotoCoreError as error:
        raise TargetUnavailable(f"DynamoDB cannot be reached: {type(error).__name__}: {error}") from None
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in found["AttributeDefinitions"]}
    schema = {entry["KeyType"]: entry["AttributeName"] for entry in found["KeySchema"]}
    keys = [(name, types[name]) for name in (schema.get("HASH"), schema.get("RANGE")) if name]
    expected = [(each.attribute, each.type) for each in mapping.primary_key]
    if keys != expected:
        raise TargetRefused(f"table {table!r} has the key {keys}, and the mapping writes {expected}")
    return TargetIdentity(found["TableArn"], found["CreationDateTime"].isoformat(), tuple(index_keys(found)))


@dataclass(frozen=True)
class Lookup:
    """The result of reading many keys. `unread` ids were not looked at; they may have items."""

    items: dict[str, Item]
    unread: frozenset[str]


class TargetTable:
    """Reads items. It cannot write: `writer.WritableTable` can."""

    def __init__(self, sender: Sender, name: str, mapping: TableMapping) -> None:
        self.sender = sender
        self.name = name
        self.mapping = mapping

    def for_partition(self: Table, fence: Fence = UNFENCED) -> Table:
        """The same table for one partition of a run, with its own count of requests, behind its fence."""
        table = copy.copy(self)
        table.sender = self.sender.for_partition(fence)
        return table

    async def get(self, row_id: str) -> Item | None:
        """One item, strongly consistent; None where there is none.

        Raises:
            RetriesUsedUpError: it could not be read.
        """
        lookup = await self.get_many([row_id])
        if lookup.unread:
            raise RetriesUsedUpError("unread")
        return lookup.items.get(row_id)

    async def get_many(self, ids: Sequence[str]) -> Lookup:
        """The items of any number of distinct ids, strongly consistent. Unprocessed keys are asked for again."""
        # A key that DynamoDB does not accept has no item, and its whole batch would be refused.
        ids = [row_id for row_id in ids if self.mapping.key_fault(row_id) is None]
        lookups = await gather(self._get_batch(chunk) for chunk in batched(ids, MAX_BATCH_GET))
        return Lookup(
            {row_id: item for lookup in lookups for row_id, item in lookup.items.items()},
            frozenset(row_id for lookup in lookups for row_id in lookup.unread),
        )

    async def _get_batch(self, ids: Sequence[str]) -> Lookup:
        backoff, asked = Backoff(self.sender), frozenset(ids)
        keys = [self.mapping.key(row_id) for row_id in ids]
        items: dict[str, Item] = {}
        while keys:
            request = BatchGetItem(self.name, keys)
            try:
                reply = await self.sender.send(request, backoff)
                found = {self.mapping.row_id(item): item for item in request.items(reply)}
                left = {self.mapping.row_id(key): key for key in request.unprocessed(reply)}
                if not asked.issuperset((*found, *left)):
                    await backoff.retry("StrayReply")
                    continue
            except RetriesUsedUpError:
                break
            except DynamoDBError:
                if len(keys) > 1:
                    return await self._split(keys, items)
                break
            items.update((row_id, item) for row_id, item in found.items() if row_id is not None)
            if left:
                if len(left) < len(keys):
                    backoff.progressed()
                # If the table throttles, the next reply holds less, or is refused.
                if not request.may_be_full(reply):
                    await backoff.throttled("UnprocessedKeys")
            keys = list(left.values())
        return Lookup(items, frozenset(self._ids(keys)))

    async def _split(self, rejected: Sequence[Item], items: dict[str, Item]) -> Lookup:
        """One bad key rejects its whole batch: halve it until the bad one is alone, and read the others."""
        ids, middle = self._ids(rejected), len(rejected) // 2
        first, second = await self._get_batch(ids[:middle]), await self._get_batch(ids[middle:])
        return Lookup({**items, **first.items, **second.items}, first.unread | second.unread)

    def _ids(self, keys: Sequence[Item]) -> list[str]:
        return [row_id for key in keys if (row_id := self.mapping.row_id(key)) is not None]

    async def scan(self, segment: int, segments: int) -> AsyncIterator[list[Item]]:
        """Pages of one segment of the whole table, other entities' items included.

        Raises:
            RetriesUsedUpError: a page could not be read, so that the scan is not complete.
        """
        start_key: Item | None = None
        while True:
            reply = await self.sender.send(Scan(self.name, segment, segments, start_key))
            yield reply["Items"]
            start_key = reply.get("LastEvaluatedKey")
            if not start_key:
                return
