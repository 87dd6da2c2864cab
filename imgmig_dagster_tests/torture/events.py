"""The command line dies when its pass is finished and recorded, and Dagster has not heard of it."""

from imgmig_dagster_tests.torture.child import Place
from imgmig_dagster_tests.torture.ground import BUCKET, Ground
from imgmig_dagster_tests.torture.passes import Findings, Pass, Way
from imgmig_dagster_tests.torture.points import Point

_DYING = """
import sys
from imgmig_dagster_tests.torture.points import Point, Trap
Trap(Point(sys.argv.pop(1)), 1).set()
from imgmig_dagster.cli import main
main()
"""
_LAST_RUNS = """
import json, dagster as dg
with dg.DagsterInstance.get() as instance:
    runs = instance.get_runs(limit=2)
    of_type = dg.DagsterEventType.ASSET_MATERIALIZATION
    events = [instance.all_logs(run.run_id, of_type=of_type) for run in runs]
    known = [any("migrated_images" in str(entry.dagster_event.asset_key) for entry in found) for found in events]
    print(json.dumps([[run.status.value, told] for run, told in zip(runs, known)]))
"""
_TOLD = '[["SUCCESS", true], ["FAILURE", false]]\n'


def death_before_the_event(ground: Ground, way: Way) -> Findings:
    """The same command again finds all in place, and tells Dagster."""
    with Pass(ground, way) as work:
        name = f"event-{work.target.name}"
        url = f"s3://{BUCKET}/{name}" if way.on_s3 else (ground.folder / name).as_uri()
        work.stand_at(
            # The command line keeps the state of each stage, and of each table, apart. On S3 it waits for a lease of
            # the real length.
            Place(s3_url=ground.s3_url, bucket=BUCKET, prefix=f"{name}/dev/images")
            if way.on_s3
            else Place(folder=str(ground.folder / name / "dev" / "images"))
        )
        environment = {
            **ground.environment,
            "IMGMIG_SOURCE_URL": ground.source.url,
            "IMGMIG_SOURCE_SCHEMA": ground.source.schema,
            "AWS_ENDPOINT_URL_DYNAMODB": work.proxy.url,
            "IMGMIG_TARGET_TABLE": work.target.name,
            "IMGMIG_STATE_URL": url,
            "IMGMIG_WRITE_MODE": way.write_mode.value,
            "IMGMIG_SETTLE_SECONDS": "0",
            "IMGMIG_PARTITION_START": "2024-01-01",
            "IMGMIG_PARTITION_GRAIN": "monthly",
        }
        arguments = ("migrate", "--json")
        dead = ground.commands.run(Point.BEFORE_EVENT.value, *arguments, environment=environment, code=_DYING)
        hold = work.findings.hold
        hold(dead.exit_code == -9, f"the command did not die: {dead.exit_code} {dead.stdout}{dead.stderr}")
        work.findings.kills[Point.BEFORE_EVENT] += 1
        again = ground.commands.run(*arguments, environment=environment)
        # Rejected rows are in the source: what is done is not clean.
        output = again.stdout + again.stderr
        hold(again.exit_code == 1 and bool(again.stdout), f"the same command ended with {again.exit_code}: {output}")
        if not again.stdout:
            return work.findings
        document, rows = again.document, ground.rows
        hold(document["total"] == document["partitions"][0]["rows_in_window"] == rows.count, f"counted: {output}")
        hold(document["failed"] == len(rows.rejected), f"failed: {output}")
        work.look_at_items_and_ledger()
        told = ground.commands.run(environment=environment, code=_LAST_RUNS)
        hold(told.stdout == _TOLD, f"Dagster's last runs, and whether they told it: {told.stdout}{told.stderr}")
        return work.findings
