"""What a command asks of a state in S3 does not grow with the partitions, but by a list of versions for a thousand."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.tables import stage_tables
from imgmig_dagster.state import names
from imgmig_dagster.state.failures import Failure, FailureLedger
from imgmig_dagster.state.index import IndexedStateStore
from imgmig_dagster.state.s3 import S3StateStore
from imgmig_dagster_tests.arrange import access
from imgmig_dagster_tests.aws_gate import aws_gate
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.orchestration.arrange import Platform
from imgmig_dagster_tests.orchestration.commands import CommandServer

PARTITIONS = 1_000
FAILED = Failure("1", "width", "TooLarge", "too large", True)


def test_status_asks_for_all_partitions_at_once(
    services: Services, platform: Platform, commands: CommandServer, tmp_path: Path
) -> None:
    bucket, client = f"many-{uuid4().hex}", access(services.dynamodb_url).client("s3")
    client.create_bucket(Bucket=bucket)
    files = S3StateStore(client, bucket, "state/dev/images")
    with aws_gate(services.dynamodb_url) as gate:
        platform.set(
            IMGMIG_STATE_URL=f"s3://{bucket}/state", IMGMIG_PARTITION_GRAIN="daily", AWS_ENDPOINT_URL_S3=gate.url
        )
        keys = [window.partition for window in stage_tables(Stage.DEV)[0].partitions.windows()][:PARTITIONS]
        FailureLedger(IndexedStateStore(files), keys[0]).record(
            [Failure("1", "width", "TooLarge", "too large", True)], []
        )
        entry = files.read(names.index_entry(keys[0]))
        assert entry is not None
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: files.write(names.index_entry(key), entry.content), keys[1:]))
        first = commands.run("status", "--json", environment=platform.environment, folder=tmp_path)
        gate.asked.clear()

        again = commands.run("status", "--json", environment=platform.environment, folder=tmp_path)

    assert again.document["partitions"] == first.document["partitions"]
    assert [each["failed"] for each in again.document["partitions"]] == [1] * PARTITIONS
    assert len(gate.of("s3")) == 5
