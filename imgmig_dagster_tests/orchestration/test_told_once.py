"""What is wrong with a stage is the same for each of its partitions: it is reported once, and ends the command."""

from imgmig_dagster_tests.orchestration.arrange import Platform, images_of
from imgmig_dagster_tests.orchestration.commands import CommandServer


def test_what_is_wrong_with_the_stage_ends_the_loop_and_is_told_once(
    platform: Platform, commands: CommandServer
) -> None:
    platform.source.insert([*images_of(2, range(5)), *images_of(4, range(10, 17))])
    platform.set(IMGMIG_TARGET_TABLE="no-such-table")
    assert len(commands.run("migrate", "--json", environment=platform.environment).document["errors"]) == 1
    assert commands.run("verify", environment=platform.environment).stdout.count("check table in [target]") == 1
