"""A person's review of a spot check: recorded from a file, observed in Dagster, asked for before a cutover."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg
import pytest

from imgmig_dagster_tests.arrange import row_id
from imgmig_dagster_tests.orchestration.arrange import (
    MARCH,
    Platform,
    facts_of,
    images_of,
    metadata_of,
    saved_review,
    verdicts_of,
)
from imgmig_dagster_tests.orchestration.commands import CommandServer, Finished
from imgmig_dagster_tests.orchestration.test_schedules import request_of

Review: TypeAlias = Callable[..., Finished]


@pytest.fixture
def review(platform: Platform, commands: CommandServer, tmp_path: Path) -> Review:
    """Saves what the page would save of the last sample, with `changes`, and records it by the command line."""

    def run(*arguments: str, issues: tuple[str, ...] = (), **changes: Any) -> Finished:
        file = tmp_path / "review.json"
        file.write_text(json.dumps({**saved_review(platform.state, "dev", issues), **changes}))
        return commands.run("spot-check", "--review", str(file), *arguments, environment=platform.environment)

    return run


@pytest.fixture
def verified(platform: Platform) -> Platform:
    platform.source.insert(images_of(3, range(5)))
    platform.succeed("migrate", MARCH)
    platform.succeed("verify", MARCH)
    platform.succeed("census")
    return platform


def readiness(platform: Platform) -> dict[str, Any]:
    found = facts_of(platform.succeed("report"), "ready_for_cutover")
    return {name: found[name] for name in ("verdict", "cutover", "blockers")}


def test_a_cutover_asks_for_a_review_of_the_last_sample_without_an_issue(verified: Platform, review: Review) -> None:
    assert readiness(verified) == {"verdict": "PASS", "cutover": "NOT READY", "blockers": 1}, "there is no spot check"
    verified.succeed("draw_spot_check")
    assert readiness(verified) == {"verdict": "PASS", "cutover": "NOT READY", "blockers": 1}, "it was not reviewed"
    found = review("--json", issues=(row_id(2),))
    assert (found.exit_code, found.document) == (1, {"images": 5, "issues": [row_id(2)]})
    assert readiness(verified) == {"verdict": "PASS", "cutover": "NOT READY", "blockers": 1}, "one image is not fine"
    accepted = review()
    assert accepted.exit_code == 0
    assert "Recorded: 5 images reviewed, 0 with an issue. Next: imgmig report --stage dev" in accepted.stdout
    assert readiness(verified) == {"verdict": "PASS", "cutover": "READY", "blockers": 0}
    verified.run("draw_spot_check", config={"spot_check": {"keep_last": False}})
    assert readiness(verified) == {"verdict": "PASS", "cutover": "NOT READY", "blockers": 1}, (
        "the review is of an older sample"
    )


def test_materializing_everything_keeps_a_review_until_a_person_asks_for_a_new_sample(
    verified: Platform, review: Review, commands: CommandServer
) -> None:
    verified.succeed("draw_spot_check")
    assert review().exit_code == 0
    page = verified.state.read("spot-check.html")

    everything = verified.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=verified.instance, tags={"dagster/partition": MARCH}, raise_on_error=False
    )

    made = {
        event.asset_key and event.asset_key.to_user_string() for event in everything.get_asset_materialization_events()
    }
    assert {"migrated_images", "verification_report", "spot_check", "migration_report"} <= made
    assert metadata_of(everything, "spot_check")["last_sample_kept"] is True
    assert verified.state.read("spot-check.html") == page
    readied = {"verdict": "PASS", "cutover": "READY", "blockers": 0}
    assert readiness(verified) == readied

    verified.succeed("draw_spot_check")
    assert readiness(verified) == readied, "nor does the job, by default"
    assert commands.run("spot-check", environment=verified.environment).exit_code == 0
    assert readiness(verified) == {**readied, "cutover": "NOT READY", "blockers": 1}


def test_the_sample_of_each_day_takes_the_place_of_a_reviewed_one_only_if_it_is_not_clean(
    verified: Platform, review: Review
) -> None:
    daily = request_of(verified, "spot_check_daily")
    config = {"spot_check": daily.run_config["ops"]["spot_check"]["config"]}

    verified.run("draw_spot_check", config=config)
    assert review().exit_code == 0, "there was none before: this is one to review"
    assert verified.run("draw_spot_check", config=config).success
    assert readiness(verified) == {"verdict": "PASS", "cutover": "READY", "blockers": 0}

    verified.change_item(2, "width", {"N": "1"})
    found = verdicts_of(verified.run("draw_spot_check", config=config))
    assert not found["spot_check_is_clean"]
    assert readiness(verified) == {"verdict": "PASS", "cutover": "NOT READY", "blockers": 1}, (
        "the sample that stands has a difference"
    )
    verified.change_item(2, "width", {"N": "640"})
    verified.run("draw_spot_check", config=config)
    assert readiness(verified) == {"verdict": "PASS", "cutover": "NOT READY", "blockers": 1}, (
        "it agrees again, and nobody has reviewed it"
    )


def test_a_review_is_observed_in_dagster_without_its_remarks(verified: Platform, review: Review) -> None:
    verified.succeed("draw_spot_check")
    assert review(issues=(row_id(2),), reviewer="A Person").exit_code == 1
    stored = verified.state.read("spot-check-review.json")
    assert stored
    recorded = json.loads(stored.content)
    assert (recorded["reviewer"], recorded["images"][0]["remark"]) == ("A Person", "private remark")
    with dg.DagsterInstance.from_config(verified.environment["DAGSTER_HOME"]) as instance:
        (event,) = instance.fetch_observations(dg.AssetKey("spot_check"), limit=1).records
    observed = event.asset_observation
    assert observed
    facts = {name: value.value for name, value in observed.metadata.items() if name != "images_with_issues"}
    assert facts == {"reviewed_run": recorded["run_id"], "seed": recorded["seed"], "images": 5, "issues": 1}
    assert row_id(2) in dg.serialize_value(observed)
    assert "private remark" not in dg.serialize_value(observed)
    assert "A Person" not in dg.serialize_value(observed)


def test_a_review_that_does_not_fit_is_refused_and_the_recorded_one_stays(verified: Platform, review: Review) -> None:
    verified.succeed("draw_spot_check")
    assert review().exit_code == 0
    before = verified.state.read("spot-check-review.json")
    refused = review(run_id="another")
    assert refused.exit_code == 2
    assert "the review is of another sample (run another" in refused.stderr
    mixed = review("--seed", "7")
    assert mixed.exit_code == 2
    assert "--review records a review and draws nothing: leave out --count and --seed" in mixed.stderr
    assert verified.state.read("spot-check-review.json") == before
