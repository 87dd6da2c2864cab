"""DynamoDB's limits, read in November 2026. The limits of items and keys are in `mapping/sizes.py`.

Sources, below https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/: ServiceQuotas.html (quotas, requests),
warm-throughput-scenarios.html (partitions), warm-throughput.html and on-demand-capacity-mode.html (new tables).
"""

from typing import Final

KB: Final = 1_024
GB: Final = 1_024**3
READ_UNIT_BYTES: Final = 4 * KB
# Units a second of one partition of a table, even if the table as a whole may take more.
PARTITION_WRITE_UNITS: Final = 1_000
PARTITION_READ_UNITS: Final = 3_000
# Default units a second of a table, and of each of its indexes; AWS raises it on request.
TABLE_QUOTA: Final = 40_000
# Default units a second of all of an account's provisioned tables and indexes in a region.
ACCOUNT_QUOTA: Final = 80_000
# What a new on-demand table takes at once. It takes up to twice its peak; more only 30 minutes later.
NEW_TABLE_WRITE_UNITS: Final = 4_000
DOUBLES_EVERY_S: Final = 1_800.0
# Items of a BatchWriteItem, statements of a BatchExecuteStatement.
BATCH_WRITE_ITEMS: Final = 25
BATCH_GET_ITEMS: Final = 100
REPLY_BYTES: Final = 16 * KB * KB
SCAN_PAGE_BYTES: Final = KB * KB
STREAM_PAGE_BYTES: Final = KB * KB
STREAM_PAGE_RECORDS: Final = 1_000
# Billed for each item and each entry of an index, in addition to its attributes.
STORED_OVERHEAD_BYTES: Final = 100
