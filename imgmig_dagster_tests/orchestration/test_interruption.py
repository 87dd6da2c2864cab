"""A migration that is stopped or killed in its middle: what it leaves in Dagster, and how it goes on."""

import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from imgmig_dagster_tests.arrange import image, item_of
from imgmig_dagster_tests.fault_proxy import FaultProxy, holds
from imgmig_dagster_tests.orchestration.arrange import APRIL, FEBRUARY, MARCH, Platform, dagster_home, images_of
from imgmig_dagster_tests.orchestration.commands import CommandServer, Finished, Running, wait_until

ROWS, CHECKPOINT = 1_500, 1_000
# The checkpoint covers 40 batches of 25; the requests after the 50th have to wait.
BATCHES_LET_THROUGH = 50
WRITTEN_BEFORE = 25 * BATCHES_LET_THROUGH
AT_ONCE = 4

LAST_RUNS = """
import json, dagster as dg
with dg.DagsterInstance.get() as instance:
    print(json.dumps({run.run_id: run.status.value for run in instance.get_runs(limit=5)}))
"""


class Stalled:
    """A migration that waits at the proxy for `go_on`, its checkpoint being written."""

    def __init__(self, platform: Platform, proxy: FaultProxy, commands: CommandServer, folder: Path) -> None:
        self._platform, self._proxy, self.commands, self._folder = platform, proxy, commands, folder
        self.go_on = threading.Event()
        self.command: Running = commands.start("migrate", environment=platform.environment, folder=folder)
        wait_until(lambda: self.checkpointed_rows() == CHECKPOINT)
        # All that it may have under way: none arrives when it has ended.
        wait_until(lambda: len(proxy.of("BatchWriteItem")) == BATCHES_LET_THROUGH + AT_ONCE)

    def checkpointed_rows(self) -> int:
        stored = self._platform.state.read(f"{MARCH}/migration-progress.json")
        return sum(orjson.loads(stored.content)["checkpoint"]["outcomes"].values()) if stored else 0

    def imgmig(self, *arguments: str) -> Finished:
        return self.commands.run(*arguments, environment=self._platform.environment, folder=self._folder)

    def last_runs(self) -> dict[str, str]:
        """The statuses of the runs that were made last, by id, the latest first."""
        found = self.commands.run(environment=self._platform.environment, code=LAST_RUNS)
        runs: dict[str, str] = json.loads(found.stdout)
        return runs

    def resume(self) -> dict[str, Any]:
        """Run the same command again; of the rows after the checkpoint exactly those without an item are written."""
        self.go_on.set()
        before = len(self._proxy.calls)
        finished = self.imgmig("migrate", "--json")
        assert finished.exit_code == 0
        written = [row for call in self._proxy.calls[before:] if call.operation == "BatchWriteItem" for row in call.ids]
        assert len(written) == len(set(written)) == ROWS - WRITTEN_BEFORE
        return finished.document


@pytest.fixture
def stalled(platform: Platform, proxy: FaultProxy, commands: CommandServer, tmp_path: Path) -> Iterator[Stalled]:
    """A migration of 1,500 images, of which 1,250 are written and 1,000 covered by the checkpoint."""
    platform.source.insert(image(number) for number in range(ROWS))
    platform.through(proxy.url)
    platform.set(IMGMIG_PAGE_SIZE="250", IMGMIG_REQUESTS_IN_FLIGHT=str(AT_ONCE))
    go_on = threading.Event()
    proxy.before(
        lambda: go_on.wait(300),
        "BatchWriteItem",
        times=1_000,
        when=lambda _call: len(proxy.of("BatchWriteItem")) > BATCHES_LET_THROUGH and not go_on.is_set(),
    )
    stalled = Stalled(platform, proxy, commands, tmp_path)
    stalled.go_on = go_on
    yield stalled
    go_on.set()


def assert_exact(platform: Platform, document: dict[str, Any]) -> None:
    """Every image was counted once, and is in the target as it has to be."""
    found_identical = WRITTEN_BEFORE - CHECKPOINT
    assert (document["total"], document["skipped"], document["failed"]) == (ROWS, found_identical, 0)
    (finished,) = document["partitions"]
    assert (finished["resumes"], finished["rows_in_window"]) == (1, ROWS)
    assert platform.target.items() == {f"IMAGE#{image(number)['id']}": item_of(number) for number in range(ROWS)}


STATUS = """
import dagster as dg
from imgmig_dagster.defs.build import tables_of
from imgmig_dagster.stage.stages import Stage
key, partitions = "2024-03-01", tables_of(Stage.DEV)[0].definition
with dg.DagsterInstance.get() as instance:
    print(instance.get_status_by_partition(dg.AssetKey("migrated_images"), [key], partitions)[key].value)
"""


def test_ctrl_c_ends_a_migration_cleanly_and_the_same_command_resumes_it(platform: Platform, stalled: Stalled) -> None:
    def shown_in_the_ui() -> str:
        return stalled.commands.run(environment=platform.environment, code=STATUS).stdout.strip()

    assert_stops(stalled, signal.SIGINT)
    assert shown_in_the_ui() == "FAILED", "of a canceled run Dagster shows what was there before"
    (shown,) = stalled.imgmig("status", "--json").document["partitions"]
    assert (shown["interrupted"], shown["migrated"]) == (True, None)
    assert_exact(platform, stalled.resume())
    assert shown_in_the_ui() == "MATERIALIZED"


def test_a_termination_from_outside_is_as_good_as_ctrl_c(stalled: Stalled) -> None:
    assert_stops(stalled, signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_any_other_command_with_the_same_exit_code(
    platform: Platform, commands: CommandServer, number: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        port = silent.getsockname()[1]
        platform.set(IMGMIG_SOURCE_URL=f"postgresql://imgmig@127.0.0.1:{port}/images")
        command = commands.start("status", environment=platform.environment)
        with silent.accept()[0]:
            command.send(number)
            finished = command.wait()

    assert finished.exit_code == 130
    assert finished.told == "error: stopped. Give the same command again to go on\n"


def test_a_second_migration_says_at_once_who_is_at_work_and_the_first_goes_on(
    platform: Platform, stalled: Stalled
) -> None:
    second = stalled.imgmig("migrate")
    assert (second.exit_code, second.stderr.count("error: ")) == (4, 1)
    assert f"process {stalled.command.pid} on host" in second.stderr
    assert "success rate" not in second.stdout
    stalled.go_on.set()
    first = stalled.command.wait()
    assert (first.exit_code, first.told) == (0, "")
    assert len(platform.target.items()) == ROWS


def assert_stops(stalled: Stalled, number: signal.Signals) -> None:
    """The signal cancels the run, and the command says how to go on."""
    stalled.command.send(number)
    finished = stalled.command.wait()
    assert finished.exit_code == 130
    assert "stopped; nothing is lost. Run the same command again to resume" in finished.stderr
    assert "Traceback" not in finished.stdout + finished.stderr
    assert next(iter(stalled.last_runs().values())) == "CANCELED"


def test_a_killed_migration_is_marked_as_failed_by_the_command_that_resumes_it(
    platform: Platform, stalled: Stalled
) -> None:
    run_id, status = next(iter(stalled.last_runs().items()))
    assert status == "STARTED"
    busy = stalled.imgmig("migrate", "--json")
    assert busy.exit_code == 4
    (told,) = busy.document["errors"]
    assert re.search(rf"another run holds .* \(process {stalled.command.pid} on host \S+, since 20.* UTC\)", told)
    assert stalled.last_runs()[run_id] == "STARTED", "its process lives: nobody may declare it dead"

    stalled.command.send(signal.SIGKILL)
    assert stalled.command.wait().exit_code == -signal.SIGKILL
    (shown,) = stalled.imgmig("status", "--json").document["partitions"]
    assert shown["interrupted"]
    resumed = stalled.resume()
    assert stalled.last_runs()[run_id] == "FAILURE"
    assert_exact(platform, resumed)


MATERIALIZED = """
import json, dagster as dg
with dg.DagsterInstance.get() as instance:
    print(json.dumps(sorted(instance.get_materialized_partitions(dg.AssetKey("migrated_images")))))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_range_that_is_stopped_keeps_its_finished_partitions_and_resumes_the_others(
    platform: Platform, proxy: FaultProxy, commands: CommandServer, tmp_path: Path, number: signal.Signals
) -> None:
    platform.source.insert([*images_of(2, range(3)), *images_of(3, range(10, 13)), *images_of(4, range(20, 23))])
    platform.through(proxy.url)
    home = dagster_home(tmp_path / "dagster")
    platform.set(DAGSTER_HOME=str(home))
    go_on = threading.Event()
    proxy.before(lambda: go_on.wait(300), "BatchWriteItem", when=holds(image(10)["id"]))

    def imgmig(*arguments: str) -> Finished:
        return commands.run(*arguments, environment=platform.environment, folder=tmp_path)

    def materialized() -> set[str]:
        return set(json.loads(commands.run(environment=platform.environment, code=MATERIALIZED).stdout))

    assert materialized() == set()
    command = commands.start("migrate", environment=platform.environment, folder=tmp_path)
    wait_until(lambda: materialized() == {FEBRUARY, APRIL})
    command.send(number)
    go_on.set()
    finished = command.wait()
    assert finished.exit_code == (130 if number == signal.SIGINT else -number)
    again = imgmig("migrate", "--json")
    assert again.exit_code == 0
    assert [each["partition"] for each in again.document["partitions"]] == [FEBRUARY, MARCH, APRIL]
    assert len(platform.target.items()) == 9
    assert materialized() == {FEBRUARY, MARCH, APRIL}
