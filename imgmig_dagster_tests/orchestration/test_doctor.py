"""``imgmig doctor``: a table for people, a document for machines, and what it ends with."""

from pathlib import Path

from imgmig_dagster_tests.arrange import image
from imgmig_dagster_tests.orchestration.arrange import Platform
from imgmig_dagster_tests.orchestration.commands import CommandServer


def test_a_healthy_stage_a_broken_one_and_one_that_is_away(
    commands: CommandServer, platform: Platform, tmp_path: Path
) -> None:
    platform.source.insert([image(1)])
    platform.set(AWS_ENDPOINT_URL=platform.environment["AWS_ENDPOINT_URL_DYNAMODB"])

    healthy = commands.run("doctor", environment=platform.environment, folder=tmp_path)
    assert (healthy.exit_code, healthy.stderr) == (0, "")
    assert "Stage dev: " in healthy.stdout
    assert "0 fail" in healthy.stdout
    assert "aws dynamodb update-continuous-backups" in " ".join(healthy.stdout.split()), "a remedy"

    broken = {**platform.environment, "IMGMIG_TARGET_TABLE": "no-such-table"}
    told = commands.run("doctor", "--json", environment=broken, folder=tmp_path)
    assert told.exit_code == 1
    found = {(each["service"], each["thing"]): each["health"] for each in told.document["diagnoses"]}
    assert (found["DynamoDB", "table"], found["PostgreSQL", "table"]) == ("fail", "ok")
    assert told.document["fail"] == list(found.values()).count("fail")

    away = {**platform.environment, "IMGMIG_SOURCE_URL": "postgresql://nobody@127.0.0.1:1/x"}
    told = commands.run("doctor", "--json", environment=away, folder=tmp_path)
    assert told.exit_code == 3
    (gone,) = [each for each in told.document["diagnoses"] if each["unreachable"]]
    assert gone["service"] == "PostgreSQL"
