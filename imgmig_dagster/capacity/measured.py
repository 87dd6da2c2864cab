"""What imgmig itself takes, as measured: CPU, connections and state. A test compares these with docs/benchmarks.md.

CPU figures are for one core of the machine described there, an AMD EPYC. A process uses one core.
"""

from typing import Final

from imgmig_dagster.stage.stages import WriteMode

MIGRATE_US_PER_ROW: Final = {WriteMode.BATCH: 50.0, WriteMode.CONDITIONAL: 60.0}
VERIFY_US_PER_ROW: Final = 35.2
# Those are for items below 1 KB. Each further KB takes this, to be read and sent, or read back and compared.
US_PER_KB: Final = 6.5
# The census reads both sides. Measured with 10 million rows.
CENSUS_US_PER_ROW: Final = 58.0
# Segments of the target scanned at a time.
CENSUS_SEGMENTS: Final = 4
# For each partition of a command: what Dagster and the state's files take, in addition to the rows.
PARTITION_MS: Final = 19.5
# For each process, its start: imports, Dagster, connections.
START_S: Final = 2.3
# What one connection reads by keyset in pages of 1,000; a second one reads as much while the server has free cores.
SOURCE_ROWS_PER_S: Final = 246_000.0
# How often a pass reads a row: conditional mode reads what it wrote a second time.
SOURCE_READS: Final = {WriteMode.BATCH: 1, WriteMode.CONDITIONAL: 2}
# Conditional mode sends larger items one by one.
MAX_INSERT_BYTES: Final = 65_536

# The state keeps a digest of each 1,000 rows, the ids of the last census, and records of each partition.
SEGMENT_ROWS: Final = 1_000
CENSUS_FILE_ROWS: Final = 100_000
PARTITION_FILES: Final = 4
PARTITION_BYTES: Final = 4_096
ROW_BYTES: Final = 78
# Requests to S3 for the state, of a migration and a verification together: per partition, and per 1,000 rows.
PARTITION_PUTS: Final = 23
PARTITION_GETS: Final = 20
SEGMENT_PUTS: Final = 5
SEGMENT_GETS: Final = 4
