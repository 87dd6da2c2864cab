"""What each server does otherwise than DynamoDB: declared here, asserted by the tests, and not passed over.

Both emulators are reached through `imgmig_dagster.sandbox.wire`, which gives their replies what is not listed here.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Server:
    """DynamoDB's behaviour by default; an emulator's differences by name.

    The tests assert both: a difference that a new version of an emulator removes makes them fail, and this table is
    changed too.
    """

    name: str
    largest_item: int = 409_600
    """In bytes as DynamoDB counts them, of an item like `arrange.item_of`."""
    refuses_39_digits: bool = True
    normalizes_numbers: bool = True
    """1E2 comes back as 100."""
    refuses_duplicate_keys: bool = True
    """In one BatchWriteItem, where the items differ."""
    refuses_duplicate_statements: bool = True
    """INSERTs of one key in one BatchExecuteStatement."""
    hands_back_what_stands: bool = True
    """With a refused INSERT. By its documentation; DynamoDB was seen not to: docs/aws.md."""
    refuses_batches_of_26: bool = True
    rejected_batch_writes_nothing: bool = True
    """A partition key over 2,048 bytes, in BatchGetItem; every server refuses to write it."""


MOTO: Final = Server(
    "moto",
    largest_item=405_000,
    refuses_39_digits=False,
    normalizes_numbers=False,
    refuses_duplicate_keys=False,
    refuses_batches_of_26=False,
    rejected_batch_writes_nothing=False,
)
MINISTACK: Final = Server("ministack", refuses_duplicate_statements=False, hands_back_what_stands=False)
# Every server that the tests use is checked against what DynamoDB documents.
NAMED_ENDPOINT: Final = Server("named endpoint")
