"""What DynamoDB's own loaders take: ImportTable into a new table, and StartBulkPutItems into an existing one.

Both read objects in S3 that have to be written first. AWS publishes no speed of either; we found no price of
StartBulkPutItems. Sources, read in November 2026, below
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/: S3DataImport.HowItWorks.html,
BulkPutItems.Format.html, BulkPutItems.Considerations.html, ServiceQuotas.html.
"""

from dataclasses import dataclass
from typing import Final

from imgmig_dagster.capacity import limits
from imgmig_dagster.capacity.prices import Prices
from imgmig_dagster.capacity.workload import Workload

# The size of an `images` item as DynamoDB JSON, relative to the size that DynamoDB counts: types, quotes, braces.
JSON_FACTOR: Final = 1.5
MAX_OBJECT_BYTES: Final = 5 * limits.GB
# Of all imports under way in a region; 15 TB in us-east-1, us-west-2 and eu-west-1.
MAX_IMPORT_BYTES: Final = 1_024 * limits.GB


@dataclass(frozen=True, kw_only=True)
class Load:
    """What both loaders read, and what ImportTable costs. `imports` is how many imports it takes in a small region."""

    json_bytes: int
    objects: int
    imports: int
    import_dollars: float


def load(work: Workload, prices: Prices) -> Load:
    """The objects of a workload in DynamoDB JSON, uncompressed, each as large as one may be."""
    size = round(work.bytes * JSON_FACTOR)
    return Load(
        json_bytes=size,
        objects=-(-size // MAX_OBJECT_BYTES),
        imports=-(-size // MAX_IMPORT_BYTES),
        import_dollars=size / limits.GB * prices.import_gb,
    )
