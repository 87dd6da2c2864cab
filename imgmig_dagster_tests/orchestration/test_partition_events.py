"""What is recorded of a partition at once is what Dagster itself records of its run, in each table of the event log."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg
import pytest
import sqlalchemy
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata

from imgmig_dagster.local_runs.dagster_events import released
from imgmig_dagster.local_runs.instance import open_instance
from imgmig_dagster.local_runs.partition_events import PartitionEvents
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.orchestration.arrange import dagster_home

Recording: TypeAlias = Callable[[dg.AssetExecutionContext], Iterator[Any]]

TABLES = {"event_logs", "asset_keys", "asset_event_tags", "asset_check_executions"}
BOTH = dg.StaticPartitionsDefinition(["a", "b"])
SPECS = {
    "images": dg.AssetSpec("images", deps=["table", "rows"], code_version="7", partitions_def=BOTH),
    "report": dg.AssetSpec("report", code_version="8", partitions_def=BOTH),
}
RESULTS = [
    dg.AssetCheckResult(check_name="whole", passed=True, description="holds", metadata={"rows": 3}),
    dg.AssetCheckResult(check_name="exact", passed=False, severity=dg.AssetCheckSeverity.WARN, description="1 is not"),
]
# Of what an op puts out Dagster also says that its version was given to it. Nothing here asks for that.
_GIVEN = re.compile(r',? ?"dagster/data_version_is_user_provided": "true"')
# What differs between any two runs: ids, processes, moments.
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FIGURE = re.compile(r'"(timestamp|pid)": [\d.]+')
_PLACE = re.compile(r'("storage_id": |input_event_pointer/\w+": )"?(\d+)"?')


@pytest.fixture(params=["memory", "SQLite", "SQLite kept open", "PostgreSQL"])
def new_instance(
    request: pytest.FixtureRequest, services: Services, tmp_path: Path
) -> Iterator[Callable[[str], dg.DagsterInstance]]:
    """Makes an instance of that name: Dagster's own, or as a command opens it."""
    opened: list[dg.DagsterInstance] = []
    databases: list[str] = []

    def new(name: str) -> dg.DagsterInstance:
        home = dagster_home(tmp_path / name)
        if request.param == "PostgreSQL":
            databases.append(f"events_{name}")
            services.owner.execute(f"CREATE DATABASE events_{name}")
            url = "postgresql+psycopg2://{PGUSER}@{PGHOST}:{PGPORT}/events_".format(**services.environment)
            (home / "dagster.yaml").write_text(f"storage: {{postgres: {{postgres_url: '{url}{name}'}}}}\n")
        if request.param == "memory":
            opened.append(dg.DagsterInstance.ephemeral())
        else:
            is_own = request.param == "SQLite" or name == "dagsters"
            opened.append(dg.DagsterInstance.from_config(str(home)) if is_own else open_instance(home))
        return opened[-1]

    yield new
    for instance in opened:
        instance.dispose()
    for database in databases:
        services.owner.execute(f"DROP DATABASE {database} WITH (FORCE)")


def by_us(context: dg.AssetExecutionContext) -> Iterator[Any]:
    events = PartitionEvents(context, SPECS, {("images", "whole")}, [context.partition_key])
    events.record("images", context.partition_key, {"rows": 3}, RESULTS, version="the rows'")
    events.record("report", context.partition_key, {"rows": 3}, (), version="the report's")
    yield from events.written
    yield from released(context)


def by_dagster(_context: dg.AssetExecutionContext) -> Iterator[Any]:
    for asset, results, version in (("images", RESULTS, "the rows'"), ("report", [], "the report's")):
        yield dg.MaterializeResult(
            asset_key=asset, metadata={"rows": 3}, check_results=results, data_version=dg.DataVersion(version)
        )


def recorded(instance: dg.DagsterInstance, recording: Recording) -> dict[str, list[dict[str, Any]]]:
    """What stands in each table after some runs, with what is of one run alone left out."""

    checks = [
        dg.AssetCheckSpec("whole", asset="images", blocking=True, partitions_def=BOTH),
        dg.AssetCheckSpec("exact", asset="images", partitions_def=BOTH),
    ]

    @dg.asset(partitions_def=BOTH)
    def rows() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(data_version=dg.DataVersion("1"))

    @dg.multi_asset(name="op", specs=list(SPECS.values()), check_specs=checks, can_subset=True)
    def op(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield from recording(context)

    @dg.multi_asset(
        specs=[dg.AssetSpec(name, partitions_def=BOTH, skippable=True) for name in ("later", "never")],
        check_specs=[dg.AssetCheckSpec(name, asset="later", partitions_def=BOTH) for name in ("held", "kept")],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def announced() -> Iterator[Any]:
        yield from ()

    made = [each for key in ("a", "b", "a") for each in (([rows], key), ([op], key))]
    runs = [dg.materialize(assets, partition_key=key, instance=instance) for assets, key in made]
    ends = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "b"}
    runs.append(dg.materialize([announced], tags=ends, instance=instance))
    assert all(run.success for run in runs)
    storage: Any = instance.event_log_storage
    with storage.index_connection() as connection:
        tables = {
            table.name: [dict(row) for row in connection.execute(sqlalchemy.select(table)).mappings()]
            for table in SqlEventLogStorageMetadata.sorted_tables
            if table.name in TABLES
        }
    tables["the runs' own logs"] = [
        {"event": dg.serialize_value(entry)} for run in runs for entry in instance.all_logs(run.run_id)
    ]
    places: dict[int, str] = {}
    for row in tables["event_logs"]:
        kind = f"{row['dagster_event_type']} {row['asset_key']} {row['partition']}".replace('"', "")
        places[row["id"]] = f"{kind}, number {sum(place.startswith(kind) for place in places.values())}"
    return {name: [_of_no_run(row, places) for row in rows if _is_of_assets(row)] for name, rows in tables.items()}


def _is_of_assets(row: dict[str, Any]) -> bool:
    return "event" not in row or bool(re.search("ASSET_MATERIALIZATION|ASSET_CHECK_EVALUATION", row["event"]))


def _of_no_run(row: dict[str, Any], places: dict[int, str]) -> dict[str, Any]:
    same: dict[str, Any] = {
        name: _ID.sub("?", value) if isinstance(value, str) else value for name, value in row.items()
    }
    for name in [name for name in same if name.endswith("timestamp") or name == "id"]:
        same[name] = same[name] is not None
    for name in [name for name in same if name.endswith("_id") and isinstance(same[name], int)]:
        same[name] = places[same[name]]
    for name in {name for name in ("event", "evaluation_event", "last_materialization") if same.get(name)}:
        text = _GIVEN.sub("", _FIGURE.sub(r'"\1": 0', same[name]))
        same[name] = json.loads(_PLACE.sub(lambda found: f'{found[1]}"{places[int(found[2])]}"', text))
        if name == "evaluation_event":
            # Dagster repeats all partitions of the run in the row of each; a command does not.
            same[name]["dagster_event"]["event_specific_data"].pop("partitions_subset", None)
    return same


@pytest.mark.filterwarnings("ignore::dagster.PreviewWarning")
def test_it_is_what_dagster_records(new_instance: Callable[[str], dg.DagsterInstance]) -> None:
    ours, dagsters = recorded(new_instance("ours"), by_us), recorded(new_instance("dagsters"), by_dagster)
    assert {name for name, rows in ours.items() if rows} == {*TABLES, "the runs' own logs"}
    for name, rows in dagsters.items():
        assert _sorted(ours[name]) == _sorted(rows), name


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
