"""Dagster's event log in SQLite, kept open by a command: the same events, for other processes too."""

from pathlib import Path

import dagster as dg

from imgmig_dagster.local_runs.instance import open_instance
from imgmig_dagster.local_runs.sqlite_events import KeptOpenEventLogStorage


def test_what_is_recorded_through_files_that_stay_open_is_there_for_another_process(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with open_instance(tmp_path) as kept, dg.DagsterInstance.from_config(str(tmp_path)) as other:
        assert isinstance(kept.event_log_storage, KeptOpenEventLogStorage)
        run_ids = [dg.materialize([_asset(name)], instance=kept).run_id for name in ("first", "second")]
        for run_id in run_ids:
            assert [entry.message for entry in other.all_logs(run_id)] == [
                entry.message for entry in kept.all_logs(run_id)
            ]
        assert {key.to_user_string() for key in other.get_asset_keys()} == {"first", "second"}
        # And the other way round.
        dg.materialize([_asset("third")], instance=other)
        assert kept.get_latest_materialization_event(dg.AssetKey("third"))


def test_a_storage_that_dagster_yaml_names_is_taken_as_it_is(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "dagster.yaml").write_text(f"storage: {{sqlite: {{base_dir: {elsewhere}}}}}\n")
    with open_instance(tmp_path) as instance:
        dg.materialize([_asset("first")], instance=instance)
    assert (elsewhere / "history" / "runs" / "index.db").exists()
    assert not (tmp_path / "history").exists()


def _asset(name: str) -> dg.AssetsDefinition:
    @dg.asset(name=name)
    def made() -> None: ...

    return made
