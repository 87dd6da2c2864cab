"""A stage of a test's own: tables, a state folder, the variables that name them, and Dagster's jobs over them."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.state import names
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import Source, Target, image

FEBRUARY = "2024-02-01"
MARCH = "2024-03-01"
APRIL = "2024-04-01"
RANGE = [FEBRUARY, MARCH, APRIL]

# Dagster prints every event to standard error otherwise, and a failed test's report is lost among them.
_ADVICE = {"what_to_do", *(f"job_{number}" for number in range(1, 9))}
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def failure_of(result: dg.ExecuteInProcessResult) -> Any:
    """What Dagster recorded of the one step that failed."""
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    return failure


@dataclass
class Platform:
    """`environment` is the whole environment that a command needs; `instance` records the runs of this process.

    The instance may hold other tests' runs: `run_ids` are this one's.
    """

    source: Source
    target: Target
    state: LocalStateStore
    environment: dict[str, str]
    instance: dg.DagsterInstance
    monkeypatch: pytest.MonkeyPatch
    run_ids: list[str] = field(default_factory=list)

    @cached_property
    def definitions(self) -> dg.Definitions:
        return build_definitions(Stage.DEV)

    def set(self, **variables: str) -> None:
        """Set variables for runs of this process and for commands alike."""
        self.environment.update(variables)
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)

    def through(self, url: str) -> None:
        """Reach DynamoDB by way of a proxy."""
        self.set(AWS_ENDPOINT_URL_DYNAMODB=url)

    def run(
        self, job: str, partition: str | None = None, config: Mapping[str, Any] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Execute a job in this process; a run that fails is returned like any other."""
        return self._run(job, config, {"dagster/partition": partition} if partition else {})

    def run_range(
        self, job: str, first: str, last: str, config: Mapping[str, Any] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Execute a job over a range of partitions, as a backfill does."""
        return self._run(
            job,
            config,
            {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
        )

    def _run(self, job: str, config: Mapping[str, Any] | None, tags: Mapping[str, str]) -> dg.ExecuteInProcessResult:
        definition = self.definitions.resolve_job_def(job)
        assets = {asset: {"config": values} for asset, values in (config or {}).items()}
        own = (
            definition.partitioned_config.get_run_config_for_partition_key(MARCH)
            if definition.partitioned_config and tags
            else {}
        )
        result = definition.execute_in_process(
            instance=self.instance,
            tags=tags,
            run_config={**own, **({"ops": assets} if assets else {}), **_QUIET},
            raise_on_error=False,
        )
        self.run_ids.append(result.run_id)
        return result

    def succeed(self, job: str, partition: str | None = None) -> dg.ExecuteInProcessResult:
        """Execute a job, which has to succeed."""
        result = self.run(job, partition)
        assert result.success
        return result

    def event_log(self) -> str:
        """All that Dagster stored of the runs: their configs, tags, events and errors."""
        stored = []
        for run_id in self.run_ids:
            run = self.instance.get_run_by_id(run_id)
            assert run
            stored.append(dg.serialize_value(run))
            stored += [dg.serialize_value(entry) for entry in self.instance.all_logs(run_id)]
        return "\n".join(stored)

    def change_item(self, number: int, attribute: str, value: dict[str, str]) -> None:
        """Change one attribute of an item by hand, past all of our code."""
        item = self.target.item(number)
        assert item is not None
        self.target.put({**item, attribute: value})


def dagster_home(folder: Path, text: str = "telemetry: {enabled: false}\n") -> Path:
    """The folder, made with this dagster.yaml."""
    folder.mkdir()
    (folder / "dagster.yaml").write_text(text)
    return folder


def images_of(month: int, numbers: Iterable[int]) -> list[dict[str, Any]]:
    """Source rows created on the tenth of a month of 2024; their ids are those of `image(number)`."""
    return [image(number, created_at=f"2024-{month:02}-10T00:00:00.{number:06}Z") for number in numbers]


def saved_review(state: LocalStateStore, stage: str, issues: Collection[str] = ()) -> dict[str, Any]:
    """What the spot check's page saves of the last sample where a person finds all images fine but `issues`."""
    stored = state.read(names.SPOT_CHECK)
    assert stored
    sample = json.loads(stored.content)
    return {
        "stage": stage,
        "run_id": sample["run_id"],
        "seed": str(sample["seed"]),
        "reviewer": "",
        "reviewed_at": "2025-01-02T10:50:00.000Z",
        "images": [
            {"row_id": each["row_id"], "fine": each["row_id"] not in issues, "remark": "private remark"}
            for each in sample["pairs"]
        ],
    }


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """The check evaluations of a run, by name."""
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def verdicts_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Whether each check of a run held, by name."""
    return {name: found.passed for name, found in checks_of(result).items()}


def facts_of(result: dg.ExecuteInProcessResult, check: str) -> dict[str, Any]:
    """The plain values of a check's metadata, without what it says to do next."""
    found = checks_of(result)[check].metadata
    return _plain({name: value for name, value in found.items() if name not in _ADVICE})


def metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """The plain values of the metadata of an asset's one materialization."""
    events = [event.materialization for event in result.get_asset_materialization_events()]
    (found,) = [event for event in events if event.asset_key == dg.AssetKey(asset)]
    return _plain(found.metadata)


def _plain(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, Any]:
    return {
        name: [dict(record.data) for record in value.records]
        if isinstance(value, dg.TableMetadataValue)
        else value.value
        for name, value in metadata.items()
    }
