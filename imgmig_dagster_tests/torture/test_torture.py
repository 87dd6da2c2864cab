"""A short campaign; `make torture` is the long one."""

import pytest

from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster_tests.torture import campaign
from imgmig_dagster_tests.torture.events import death_before_the_event
from imgmig_dagster_tests.torture.ground import Ground
from imgmig_dagster_tests.torture.passes import Way
from imgmig_dagster_tests.torture.points import Point
from imgmig_dagster_tests.torture.rivals import orphan_does_no_harm, second_is_refused, sleeper_sends_nothing

LOCAL, S3 = Way(on_s3=False, write_mode=WriteMode.BATCH), Way(on_s3=True, write_mode=WriteMode.BATCH)


@pytest.mark.parametrize("way", [LOCAL, S3], ids=str)
def test_a_pass_that_dies_at_every_point_comes_to_an_exact_result(ground: Ground, way: Way) -> None:
    findings = campaign.every_point(ground, way, seed=1)

    assert findings.violations == []
    assert set(findings.kills) >= set(Point) - {Point.RANDOM, Point.BEFORE_EVENT}


def test_a_second_run_of_a_partition_is_refused(ground: Ground) -> None:
    assert second_is_refused(ground, LOCAL).violations == []


def test_a_run_that_wakes_up_after_its_successor_sends_nothing(ground: Ground) -> None:
    assert sleeper_sends_nothing(ground, S3).violations == []


def test_a_command_that_dies_before_the_event_is_repeated(ground: Ground) -> None:
    assert death_before_the_event(ground, LOCAL).violations == []


@pytest.mark.parametrize(
    ("point", "successor_ends_first"),
    [(Point.BEFORE_CHECKPOINT, True), (Point.AFTER_CHECKPOINT, False), (Point.BEFORE_RECORD, False)],
)
def test_a_run_that_was_taken_for_dead_does_no_harm(ground: Ground, point: Point, successor_ends_first: bool) -> None:
    assert orphan_does_no_harm(ground, S3, point, successor_ends_first).violations == []
