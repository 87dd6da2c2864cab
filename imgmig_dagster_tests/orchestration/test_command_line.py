"""The command line, each command in a process of its own: what it prints, and what it ends with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from imgmig_dagster.cli.app import app
from imgmig_dagster.cli.choice import chosen_partitions
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.tables import stage_tables
from imgmig_dagster_tests.arrange import image, row_id
from imgmig_dagster_tests.conftest import Services, create_table
from imgmig_dagster_tests.fault_proxy import FaultProxy, error
from imgmig_dagster_tests.orchestration.arrange import APRIL, FEBRUARY, MARCH, Platform, images_of
from imgmig_dagster_tests.orchestration.commands import CommandServer, Imgmig, Running

NOTHING_LISTENS = "127.0.0.1:9"


@pytest.fixture(scope="module", autouse=True)
def without_postgresql(commands: CommandServer, services: Services) -> Running:
    """A command whose PostgreSQL is away: it tries again for eight seconds, while other tests run."""
    environment = {
        **services.environment,
        "IMGMIG_SOURCE_URL": f"postgresql://imgmig@{NOTHING_LISTENS}/images",
        "IMGMIG_STATE_URL": "file:///nonexistent",
    }
    return commands.start("status", environment=environment)


def all_commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from all_commands(command, (*path, name))
        else:
            yield (*path, name)


COMMANDS = list(all_commands(typer.main.get_group(app)))


def test_the_commands_of_the_requirements_are_there() -> None:
    assert {" ".join(path) for path in COMMANDS} >= {
        *("demo", "dry-run", "migrate", "verify", "spot-check", "retry-failures", "status", "report", "ui"),
        *(f"sandbox {name}" for name in ("start", "status", "env", "seed", "reset", "stop")),
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_of_it(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "Example" in shown.output
    assert f"imgmig {' '.join(path)}" in shown.output.partition("Example")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["migrate", "--stage", "production"], "STAGE is 'production'; choose one of dev, staging, prod"),
        (["migrate", "--partition", "2024-03"], "there is no partition '2024-03': they go from 2024-01-01 to "),
        (["migrate", "--partition", "2023-01-01"], "An earlier first one is set by IMGMIG_PARTITION_START"),
        (["dry-run", "--from", "yesterday"], "--from 'yesterday' is no date such as 2024-03-01"),
        (["verify", "--to", "2019-12-31"], "--to 2019-12-31 is in no partition: they go from 2024-01-01"),
        (["status", "--json=maybe"], "--json"),
        (["migrate", "--from", "2024-03-01", "--to", "2024-02-01"], "--from is later than --to"),
        (["migrate", "--from", "2024-03-01", "--partition", MARCH], "give --partition, or --from and --to, not both"),
        (["migrate", "--force"], "No such option: --force"),
        (["spot-check", "--count", "0"], "--count"),
        (["ui", "--port", "0"], "--port"),
        (["migrat"], "No such command 'migrat'"),
        (["sandbox", "seed"], "say what to seed: --images 15432, or --csv FILE"),
        (["sandbox", "seed", "--images", "5", "--csv", "a.csv"], "say what to seed"),
        (["sandbox", "seed", "--images", "0"], "--images"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(imgmig: Imgmig, arguments: list[str], message: str) -> None:
    refused = imgmig(*arguments)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert refused.stdout == ""


def test_the_stage_comes_from_its_variable_and_missing_settings_are_named(platform: Platform, imgmig: Imgmig) -> None:
    for name in ("IMGMIG_SOURCE_URL", "IMGMIG_TARGET_TABLE", "IMGMIG_STATE_URL"):
        del platform.environment[name]
    platform.environment["STAGE"] = "prod"
    refused = imgmig("status")
    assert refused.exit_code == 2
    assert all(f"{name} is missing" in refused.stderr for name in ("url in [source]", "table in [target]"))
    assert "imgmig init --stage prod writes stages/prod.toml" in refused.stderr
    platform.environment["STAGE"] = "production"
    assert imgmig("status").exit_code == 2
    assert "settings of stage staging" in imgmig("status", "--stage", "staging").stderr, "--stage wins"


def test_a_clean_migration_ends_with_0_at_every_step_and_its_documents_hold_the_counts(
    platform: Platform, imgmig: Imgmig
) -> None:
    platform.source.insert([*images_of(2, range(5)), *images_of(4, range(10, 17))])
    planned = imgmig("dry-run", "--json")
    assert planned.exit_code == 0
    found = planned.document
    assert (found["rows"], found["would_write"], found["rejected"], found["errors"]) == (12, 12, 0, [])
    assert [each["partition"] for each in found["partitions"]] == [FEBRUARY, APRIL]
    assert platform.target.items() == {}

    status = imgmig("status", "--json")
    assert [(each["partition"], each["rows_now"], each["migrated"]) for each in status.document["partitions"]] == [
        (FEBRUARY, 5, None),
        (APRIL, 7, None),
    ]

    migrated = imgmig("migrate", "--json")
    assert migrated.exit_code == 0
    found = migrated.document
    assert (found["total"], found["migrated"], found["skipped"], found["failed"]) == (12, 12, 0, 0)
    assert (found["success_rate"], found["outcomes"]) == (1.0, {"written": 12})
    assert len(platform.target.items()) == 12

    verified = imgmig("verify", "--json")
    assert verified.exit_code == 0
    found = verified.document
    assert (found["verdict"], found["cutover"]) == ("PASS", "NOT READY")
    assert found["verdicts"] == {"match": 12, "mismatch": 0, "missing": 0, "unverified": 0}
    assert (found["mismatches"], found["errors"]) == ([], [])
    census = found["census"]
    assert (census["source_rows"], census["target_items"], census["missing"], census["orphans"]) == (12, 12, 0, 0)

    drawn = imgmig("spot-check", "--count", "4", "--seed", "7", "--json")
    assert drawn.exit_code == 0
    assert (drawn.document["images"], drawn.document["seed"], drawn.document["differing"]) == (4, 7, [])
    assert Path(drawn.document["page"]).is_file()

    reported = imgmig("report", "--json")
    assert (reported.exit_code, reported.document["verdict"]) == (0, "PASS")

    found = imgmig("status", "--json").document["partitions"]
    assert [(each["migrated"], each["failed"], each["verdict"]) for each in found] == [(5, 0, "PASS"), (7, 0, "PASS")]

    assert imgmig("migrate", "--json").document["migrated"] == 0
    found = imgmig("status", "--json").document["partitions"]
    assert [(each["migrated"], each["in_target"]) for each in found] == [(0, 5), (0, 7)]


def test_people_get_tables_and_lines(platform: Platform, imgmig: Imgmig) -> None:
    platform.source.insert(images_of(3, range(5)))
    planned = imgmig("migrate", "--dry-run")
    assert (planned.exit_code, planned.told) == (0, "")
    assert "A migration would write 5 of 5 rows: 5 write units" in planned.stdout
    assert "Nothing was written." in planned.stdout
    assert platform.target.items() == {}
    migrated = imgmig("migrate")
    assert (migrated.exit_code, migrated.told) == (0, "")
    assert "Total 5, migrated 5, skipped 0, failed 0" in migrated.stdout
    assert "success rate 100.00%" in migrated.stdout
    reported = imgmig("report")
    assert reported.exit_code == 1, "not verified yet"
    assert "blocked by: Partition 2024-03-01 was migrated and not verified (5 rows)" in reported.stdout
    assert "Verdict: NOT VERIFIED. Cutover: NOT READY. Report: " in reported.stdout
    shown = imgmig("status")
    assert shown.exit_code == 0
    assert MARCH in shown.stdout


def test_a_changed_field_is_named_by_verify_which_ends_with_1(platform: Platform, imgmig: Imgmig) -> None:
    platform.source.insert(images_of(3, range(5)))
    assert imgmig("migrate").exit_code == 0
    platform.change_item(2, "width", {"N": "1"})
    verified = imgmig("verify")
    assert verified.exit_code == 1
    assert f"mismatch: {row_id(2)}: width" in verified.stdout
    assert "1 differing" in verified.stdout
    assert "Verdict: FAIL" in verified.stdout
    document = imgmig("verify", "--partition", MARCH, "--json")
    assert document.exit_code == 1
    assert document.document["mismatches"] == [{"key": row_id(2), "field": "width", "verdict": "mismatch"}]
    drawn = imgmig("spot-check", "--json")
    assert (drawn.exit_code, drawn.document["differing"]) == (1, [row_id(2)])
    # The next pass brings the item up to date.
    again = imgmig("migrate", "--json")
    assert (again.exit_code, again.document["outcomes"]) == (0, {"identical": 4, "updated": 1})


def test_partitions_are_chosen_by_key_or_by_range(platform: Platform, imgmig: Imgmig) -> None:
    for month in range(1, 6):
        platform.source.insert(images_of(month, [month]))
    named = imgmig("dry-run", "--json", "--partition", APRIL, "--partition", FEBRUARY)
    assert [each["partition"] for each in named.document["partitions"]] == [FEBRUARY, APRIL]
    ranged = imgmig("dry-run", "--json", "--from", "2024-02-15", "--to", MARCH)
    assert [each["partition"] for each in ranged.document["partitions"]] == [FEBRUARY, MARCH]


@pytest.mark.parametrize(
    ("keys", "first", "last", "chosen"),
    [
        (None, None, None, ["2024-01-01", FEBRUARY, MARCH, "2024-06-01"]),
        ([MARCH, MARCH, "2024-01-01"], None, None, ["2024-01-01", MARCH]),
        (["2024-09-01"], None, None, ["2024-09-01"]),  # an empty one, by name
        (None, "2024-03-31", None, [MARCH, "2024-06-01"]),
        (None, None, "2024-02-29T23:59:59.999999", ["2024-01-01", FEBRUARY]),
        (None, "2024-02-01T00:30:00+01:00", "2024-02-01", ["2024-01-01", FEBRUARY]),  # in UTC still January
        (None, FEBRUARY, FEBRUARY, [FEBRUARY]),
    ],
)
def test_without_names_partitions_are_those_of_the_range_that_hold_rows_or_are_known(
    platform: Platform, keys: list[str] | None, first: str | None, last: str | None, chosen: list[str]
) -> None:
    for month in (1, 2, 3):
        platform.source.insert(images_of(month, [month]))
    platform.state.write("2024-06-01/evidence.json", b"{}")
    windows = stage_tables(Stage.DEV)[0].partitions.windows()
    with platform.source.reader() as reader:
        assert chosen_partitions(windows, reader, platform.state, keys, first, last, "") == chosen


def test_a_range_without_a_row_is_refused_and_not_a_success(platform: Platform, imgmig: Imgmig) -> None:
    platform.source.insert(images_of(3, [1]))
    ended = imgmig("verify", "--from", "2024-04-01", "--to", "2024-05-31")
    assert ended.exit_code == 2
    assert "no partition holds a row there" in ended.stderr


def test_rejected_rows_end_commands_with_1_until_they_are_mended_and_retried(
    platform: Platform, imgmig: Imgmig
) -> None:
    platform.source.insert([*images_of(3, range(4)), image(4, updated_at="infinity")])
    planned = imgmig("dry-run", "--json")
    assert (planned.exit_code, planned.document["rejected"]) == (1, 1)
    migrated = imgmig("migrate")
    assert migrated.exit_code == 1
    assert f"{MARCH}: {row_id(4)}: updated_at: " in migrated.stdout
    retried = imgmig("retry-failures", "--json")
    assert (retried.exit_code, retried.document["left"]) == (1, 1)
    assert [each["row_id"] for each in retried.document["failures"][MARCH]] == [row_id(4)]
    assert [each["failed"] for each in imgmig("status", "--json").document["partitions"]] == [1]

    platform.source.update(4)
    mended = imgmig("retry-failures", "--json")
    assert (mended.exit_code, mended.document["left"]) == (0, 0)
    idle = imgmig("retry-failures")
    assert (idle.exit_code, idle.stdout) == (0, "No ledger holds a row.\n")
    assert len(platform.target.items()) == 5


def test_a_checkpoint_of_a_target_that_is_gone_is_refused_and_started_over(
    platform: Platform, imgmig: Imgmig, proxy: FaultProxy
) -> None:
    platform.source.insert(images_of(3, range(30)))
    direct = platform.environment["AWS_ENDPOINT_URL_DYNAMODB"]
    platform.through(proxy.url)
    proxy.inject(error("AccessDeniedException"), "BatchWriteItem")
    stopped = imgmig("migrate")
    assert stopped.exit_code == 2
    assert "AccessDeniedException" in stopped.stdout
    platform.through(direct)
    platform.target.client.delete_table(TableName=platform.target.name)
    create_table(platform.target.client, platform.target.name)

    refused = imgmig("migrate", "--json")
    assert refused.exit_code == 2
    assert refused.document["total"] == 0
    (told,) = refused.document["errors"]
    assert "is refused: it is of another migration: target_created_at was " in told
    assert told.endswith("add --partition 2024-03-01 --start-over to imgmig migrate")
    assert platform.target.items() == {}
    over = imgmig("migrate", "--partition", MARCH, "--start-over", "--json")
    assert (over.exit_code, over.document["migrated"]) == (0, 30)
    assert len(platform.target.items()) == 30


def test_a_run_that_an_error_ended_does_not_show_the_counts_of_an_earlier_one(
    platform: Platform, imgmig: Imgmig
) -> None:
    platform.source.insert(images_of(3, range(5)))
    for command in ("dry-run", "migrate", "verify"):
        assert imgmig(command, "--partition", MARCH).exit_code == 0
    platform.set(IMGMIG_TARGET_TABLE="no-such-table")
    planned, migrated, verified = (imgmig(command, "--json") for command in ("dry-run", "migrate", "verify"))
    for finished in (planned, migrated, verified):
        assert finished.exit_code == 2
        assert finished.document["partitions"] == []
        assert "check table in [target]" in finished.document["errors"][0]
    assert (planned.document["rows"], migrated.document["total"], verified.document["verdicts"]) == (0, 0, {})
    assert migrated.document["success_rate"] is None


def test_an_error_of_one_partition_lets_the_others_go_on(platform: Platform, imgmig: Imgmig) -> None:
    platform.source.insert([*images_of(2, range(5)), *images_of(4, range(10, 17))])
    platform.state.write(f"{FEBRUARY}/migration-progress.json", b"{torn")
    finished = imgmig("migrate", "--json")
    assert finished.exit_code == 2
    assert len(finished.document["errors"]) == 1
    assert [each["partition"] for each in finished.document["partitions"]] == [APRIL]
    assert len(platform.target.items()) == 7


@pytest.mark.parametrize("arguments", [["dry-run"], ["verify"], ["spot-check"], ["report"]], ids=str)
def test_without_dynamodb_commands_end_with_3(platform: Platform, imgmig: Imgmig, arguments: list[str]) -> None:
    platform.source.insert([*images_of(2, range(5)), *images_of(4, range(10, 17))])
    platform.through(f"http://{NOTHING_LISTENS}")
    finished = imgmig(*arguments, "--json")
    assert finished.exit_code == 3
    errors = finished.document["errors"]
    assert errors
    assert all("DynamoDB cannot be reached" in told for told in errors)


def test_without_postgresql_commands_end_with_3(without_postgresql: Running) -> None:
    finished = without_postgresql.wait()
    assert finished.exit_code == 3
    assert finished.stdout == ""
    assert "PostgreSQL cannot be reached" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_reader_that_has_seen_enough_ends_no_migration(platform: Platform, commands: CommandServer) -> None:
    platform.source.insert([*images_of(2, range(5)), *images_of(4, range(10, 17))])
    code = (
        "import os; ends = os.pipe(); os.close(ends[0]); os.dup2(ends[1], 1)\n"
        "from imgmig_dagster.cli import main; main()"
    )
    for arguments in (("migrate",), ("status",), ("status", "--json")):
        finished = commands.run(*arguments, environment=platform.environment, code=code)
        assert (finished.exit_code, finished.told) == (0, "")
    assert len(platform.target.items()) == 12
