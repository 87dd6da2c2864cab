"""DynamoDB's operations as frozen dataclasses: what they ask, and how to read the reply. `inserts` holds PartiQL's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import orjson

from imgmig_dagster.mapping.rows import Assignments, Item
from imgmig_dagster.mapping.sizes import MAX_ITEM_BYTES

MAX_BATCH_WRITE: Final = 25
MAX_BATCH_GET: Final = 100
# A reply of BatchGetItem ends before the item with which it would hold more than 16 MB, or more than 1 MB of one of the
# table's partitions: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
_LEAST_FULL_REPLY_BYTES: Final = 2**20 - MAX_ITEM_BYTES


@dataclass(frozen=True)
class BatchWriteItem:
    """Replace whole items, without a condition; at most `MAX_BATCH_WRITE`, no key twice."""

    operation: ClassVar[str] = "BatchWriteItem"
    is_read: ClassVar[bool] = False
    table: str
    items: Sequence[Item]

    def body(self) -> bytes:
        """The request as JSON."""
        puts = [{"PutRequest": {"Item": item}} for item in self.items]
        return orjson.dumps({"RequestItems": {self.table: puts}, "ReturnConsumedCapacity": "TOTAL"})

    def unprocessed(self, reply: dict[str, Any]) -> list[Item]:
        """The items that the service did not process: they come back with HTTP 200."""
        left = reply.get("UnprocessedItems", {}).get(self.table, [])
        return [entry["PutRequest"]["Item"] for entry in left]


@dataclass(frozen=True)
class BatchGetItem:
    """Read items by key, strongly consistent; at most `MAX_BATCH_GET`."""

    operation: ClassVar[str] = "BatchGetItem"
    is_read: ClassVar[bool] = True
    table: str
    keys: Sequence[Item]

    def body(self) -> bytes:
        """The request as JSON."""
        return orjson.dumps(
            {
                "RequestItems": {self.table: {"Keys": self.keys, "ConsistentRead": True}},
                "ReturnConsumedCapacity": "TOTAL",
            }
        )

    def items(self, reply: dict[str, Any]) -> list[Item]:
        """The items found. A key without an item gives none."""
        found: list[Item] = reply["Responses"].get(self.table, [])
        return found

    def unprocessed(self, reply: dict[str, Any]) -> list[Item]:
        """The keys that were not looked at; they may have items."""
        left: list[Item] = reply.get("UnprocessedKeys", {}).get(self.table, {}).get("Keys", [])
        return left

    def may_be_full(self, reply: dict[str, Any]) -> bool:
        """Whether keys are left because the reply is full, and not because the table throttles.

        The reply's JSON is longer than what DynamoDB counts, never shorter.
        """
        return len(orjson.dumps(self.items(reply))) >= _LEAST_FULL_REPLY_BYTES


@dataclass(frozen=True)
class PutNewItem:
    """Write an item if no item has its key. If one has, the error brings it along."""

    operation: ClassVar[str] = "PutItem"
    is_read: ClassVar[bool] = False
    table: str
    item: Item
    key_attribute: str

    def body(self) -> bytes:
        """The request as JSON."""
        return orjson.dumps(
            {
                "TableName": self.table,
                "Item": self.item,
                "ConditionExpression": "attribute_not_exists(#pk)",
                "ExpressionAttributeNames": {"#pk": self.key_attribute},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                "ReturnConsumedCapacity": "TOTAL",
            }
        )


@dataclass(frozen=True)
class SeenVersion:
    """An item's `version` and modification time when it was read; None if it had none.

    A write with this condition fails if anybody wrote the item since.
    """

    attributes: dict[str, dict[str, Any] | None]

    def condition(self) -> tuple[str, dict[str, str], dict[str, dict[str, Any]]]:
        """The condition expression, and the names and values that it uses."""
        terms, names, values = [], {}, {}
        for index, (attribute, value) in enumerate(self.attributes.items()):
            names[f"#seen{index}"] = attribute
            if value is None:
                terms.append(f"attribute_not_exists(#seen{index})")
            else:
                values[f":seen{index}"] = value
                terms.append(f"#seen{index} = :seen{index}")
        return " AND ".join(terms), names, values


@dataclass(frozen=True)
class UpdateItem:
    """Set or remove (None) attributes of an item that was read before, if nobody wrote it since."""

    operation: ClassVar[str] = "UpdateItem"
    is_read: ClassVar[bool] = False
    table: str
    key: Item
    assignments: Assignments
    seen: SeenVersion
    key_attribute: str

    def body(self) -> bytes:
        """The request as JSON."""
        condition, names, values = self.seen.condition()
        sets, removes = [], []
        for index, (attribute, value) in enumerate(self.assignments.items()):
            names[f"#set{index}"] = attribute
            if value is None:
                removes.append(f"#set{index}")
            else:
                values[f":set{index}"] = value
                sets.append(f"#set{index} = :set{index}")
        clauses = [f"{verb} {', '.join(terms)}" for verb, terms in (("SET", sets), ("REMOVE", removes)) if terms]
        return orjson.dumps(
            {
                "TableName": self.table,
                "Key": self.key,
                "UpdateExpression": " ".join(clauses),
                "ConditionExpression": f"attribute_exists(#pk) AND {condition}",
                "ExpressionAttributeNames": {**names, "#pk": self.key_attribute},
                **({"ExpressionAttributeValues": values} if values else {}),
                "ReturnConsumedCapacity": "TOTAL",
            }
        )


@dataclass(frozen=True)
class DeleteItem:
    """Delete an item that was read before, if nobody wrote it since."""

    operation: ClassVar[str] = "DeleteItem"
    is_read: ClassVar[bool] = False
    table: str
    key: Item
    seen: SeenVersion

    def body(self) -> bytes:
        """The request as JSON."""
        condition, names, values = self.seen.condition()
        request: dict[str, Any] = {
            "TableName": self.table,
            "Key": self.key,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ReturnConsumedCapacity": "TOTAL",
        }
        if values:
            request["ExpressionAttributeValues"] = values
        return orjson.dumps(request)


@dataclass(frozen=True)
class Scan:
    """One page of one segment of a parallel scan, strongly consistent."""

    operation: ClassVar[str] = "Scan"
    is_read: ClassVar[bool] = True
    table: str
    segment: int
    segments: int
    start_key: Item | None

    def body(self) -> bytes:
        """The request as JSON."""
        request: dict[str, Any] = {
            "TableName": self.table,
            "ConsistentRead": True,
            "Segment": self.segment,
            "TotalSegments": self.segments,
            "ReturnConsumedCapacity": "TOTAL",
        }
        if self.start_key is not None:
            request["ExclusiveStartKey"] = self.start_key
        return orjson.dumps(request)


def consumed_units(reply: dict[str, Any]) -> float:
    """The capacity units that a reply reports, 0 where it reports none."""
    reported = reply.get("ConsumedCapacity") or []
    entries = reported if isinstance(reported, list) else [reported]
    return float(sum(entry.get("CapacityUnits", 0.0) for entry in entries))
