"""What each server does otherwise than DynamoDB: declared here, asserted by the tests, and not passed over."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Server:
    """DynamoDB's behaviour by default; an emulator's differences by name.

    The tests assert both: a difference that a new version of an emulator mends makes them fail, and this table is
    mended too.
    """

    name: str
    largest_item: int = 409_600
    """In bytes as DynamoDB counts them, of an item like `arrange.item_of`."""
    refuses_39_digits: bool = True
    normalizes_numbers: bool = True
    """1E2 comes back as 100."""
    refuses_duplicate_keys: bool = True
    """In one BatchWriteItem, where the items differ."""
    refuses_batches_of_26: bool = True
    rejected_batch_writes_nothing: bool = True
    """A partition key over 2,048 bytes, in BatchGetItem; every server refuses to write it."""
    reads_at_most_16_mb: bool = True
    """BatchGetItem leaves the rest as UnprocessedKeys."""
    reports_units_of_batch_reads: bool = True
    reports_units_of_batch_writes: bool = True
    """Of every item; otherwise one for the whole batch."""


MOTO: Final = Server(
    "moto",
    largest_item=405_000,
    refuses_39_digits=False,
    normalizes_numbers=False,
    refuses_duplicate_keys=False,
    refuses_batches_of_26=False,
    rejected_batch_writes_nothing=False,
    reports_units_of_batch_writes=False,
)
MINISTACK: Final = Server("ministack", reads_at_most_16_mb=False, reports_units_of_batch_reads=False)
# Whatever the tests are pointed at is held to what DynamoDB documents.
NAMED_ENDPOINT: Final = Server("named endpoint")
