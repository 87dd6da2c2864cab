"""What imgmig takes by itself, as measured: by docs/benchmarks.md, which a test holds these against, and its state.

The CPU is of one core of the machine there, AMD EPYC. A process uses one core.
"""

from typing import Final

from imgmig_dagster.stage import WriteMode

MIGRATE_US_PER_ROW: Final = {WriteMode.BATCH: 50.0, WriteMode.CONDITIONAL: 60.0}
VERIFY_US_PER_ROW: Final = 35.2
# Those are of items below 1 KB. Each KB beyond takes this, to be read and sent, or read back and compared.
US_PER_KB: Final = 6.5
# The census reads both sides. Measured with 10 million rows.
CENSUS_US_PER_ROW: Final = 58.0
# So many parts of the target are scanned at a time.
CENSUS_SEGMENTS: Final = 4
# Of each partition in a command, what Dagster and the state's files take beyond the rows.
PARTITION_MS: Final = 19.5
# Of each process, to start: imports, Dagster, connections.
START_S: Final = 2.3
# What one connection reads by keyset in pages of 1,000; a second one reads as much while the server has cores.
SOURCE_ROWS_PER_S: Final = 246_000.0
# How often a pass reads a row: conditional mode reads what it wrote a second time.
SOURCE_READS: Final = {WriteMode.BATCH: 1, WriteMode.CONDITIONAL: 2}
# Conditional mode sends larger items one by one.
MAX_INSERT_BYTES: Final = 65_536

# What is kept in the state: a digest of each 1,000 rows, the ids of the last census, and of each partition its records.
SEGMENT_ROWS: Final = 1_000
CENSUS_FILE_ROWS: Final = 100_000
PARTITION_FILES: Final = 4
PARTITION_BYTES: Final = 4_096
ROW_BYTES: Final = 78
# Requests to S3 for it, of a migration and a verification together: of each partition, and of each 1,000 rows.
PARTITION_PUTS: Final = 23
PARTITION_GETS: Final = 20
SEGMENT_PUTS: Final = 5
SEGMENT_GETS: Final = 4
