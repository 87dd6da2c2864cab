"""A pass that dies resumes to an exact result, and a checkpoint that no longer fits is refused."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from imgmig_dagster.errors import CheckpointRefused, SourceUnavailable, TargetRefused
from imgmig_dagster.sandbox.aws_process import Moto, endpoint_url
from imgmig_dagster.sandbox.process import attach_or_start
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import Migration, Source, Target, image, item_of, row_id
from imgmig_dagster_tests.conftest import Services, create_table
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, Call, FaultProxy, Forward, Reply, error, slow

FOREVER = 1_000_000
REPOSITORY = Path(__file__).parents[2]

PASS = """
import json, sys
from pathlib import Path
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import Migration, Source, Target

source_url, schema, table, target, proxy_url, state, write_mode, page_size = sys.argv[1:]
migration = Migration(
    Source(None, source_url, schema, table), Target(None, target, proxy_url), LocalStateStore(Path(state))
)
result = migration.migrate(write_mode=WriteMode(write_mode), page_size=int(page_size), run_id="killed")
print(json.dumps(dict(result.outcomes)))
"""


def in_a_process(migration: Migration, proxy: FaultProxy, write_mode: WriteMode) -> subprocess.Popen[str]:
    source, state = migration.source, migration.state.locate("")
    arguments = [
        source.url,
        source.schema,
        source.table,
        migration.target.name,
        proxy.url,
        state,
        write_mode.value,
        "100",
    ]
    command = [sys.executable, "-c", PASS, *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("write_mode", list(WriteMode))
def test_a_pass_killed_in_the_middle_resumes_to_an_exact_result(
    migration: Migration, proxy: FaultProxy, write_mode: WriteMode
) -> None:
    rows, kill_at = 1_600, 1_120
    migration.source.insert(image(number) for number in range(rows))
    reached = threading.Event()
    written = 0

    async def count(call: Call, forward: Forward) -> Reply:
        nonlocal written
        answered = await forward(call.body)
        written += len(call.keys)
        if written >= kill_at:
            reached.set()
            # Carried out, but never answered: the run learns of nothing more before it is killed.
            await asyncio.Event().wait()
        return answered

    proxy.inject(count, "BatchWriteItem" if write_mode is WriteMode.BATCH else NEW_ITEMS, times=FOREVER)
    with in_a_process(migration, proxy, write_mode) as process:
        assert reached.wait(timeout=300)
        process.kill()
        assert process.wait() == -9
    assert kill_at <= written < rows
    proxy.clear()
    assert migration.checkpoint is not None
    covered = sum(migration.checkpoint["outcomes"].values())
    assert 1_000 <= covered <= written

    result = migration.migrate(proxy.url, write_mode=write_mode, run_id="resumed", page_size=100)

    assert result.resumes == 1
    assert result.total == result.rows_in_window == rows
    assert result.failed == 0
    assert set(result.outcomes) <= {"written", "inserted", "identical"}
    assert row_id(0) not in {identifier for call in proxy.calls for identifier in call.ids}
    assert sum(len(call.keys) for call in proxy.writes) <= rows - covered
    assert migration.target.items() == {f"IMAGE#{row_id(n)}": item_of(n) for n in range(rows)}
    assert migration.checkpoint is None
    assert migration.ledger == {}


def interrupt(migration: Migration, proxy: FaultProxy, after_rows: int = 1_000) -> None:
    """Let a pass over 1,300 rows die once that many are written."""
    migration.source.insert(image(number) for number in range(1_300))
    proxy.outage(
        # Counted as they arrive, 25 a batch: the last batches of the third hundred after the checkpoint.
        when=lambda call: call.operation == "BatchWriteItem" and 25 * len(proxy.writes) > after_rows + 150,
        answer=error("AccessDeniedException"),
    )
    with pytest.raises(TargetRefused):
        migration.migrate(proxy.url, write_mode=WriteMode.BATCH, page_size=100)
    proxy.clear()


def test_a_pass_that_the_target_ended_resumes_behind_its_checkpoint(migration: Migration, proxy: FaultProxy) -> None:
    interrupt(migration, proxy)
    checkpoint = migration.checkpoint
    assert checkpoint is not None
    assert checkpoint["outcomes"] == {"written": 1_000}
    assert checkpoint["cursor"][1] == row_id(999)
    standing = migration.target.items().keys()

    result = migration.migrate(proxy.url, write_mode=WriteMode.BATCH, page_size=100, run_id="run-2")

    behind = len(standing) - 1_000
    assert behind > 0
    assert (result.outcomes, result.resumes) == ({"written": 1_300 - behind, "identical": behind}, 1)
    assert {key for call in proxy.writes for key in call.keys} == migration.target.items().keys() - standing
    assert len(migration.target.items()) == 1_300


def test_starting_over_looks_before_it_writes(migration: Migration, proxy: FaultProxy) -> None:
    interrupt(migration, proxy)
    standing = len(migration.target.items())

    result = migration.migrate(proxy.url, start_over=True, write_mode=WriteMode.BATCH, page_size=100, run_id="run-2")

    assert result.outcomes == {"identical": standing, "written": 1_300 - standing}
    assert result.resumes == 0
    assert sum(len(call.keys) for call in proxy.writes) == 1_300 - standing


def test_a_source_that_goes_away_ends_the_pass_and_the_next_run_resumes(
    migration: Migration, proxy: FaultProxy
) -> None:
    migration.source.insert(image(number) for number in range(1_500))

    def lose_the_table() -> None:
        migration.source.execute("REVOKE CONNECT ON DATABASE images FROM imgmig_reader")
        migration.source.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'imgmig_reader'"
        )

    proxy.after(lose_the_table, "BatchWriteItem", when=lambda call: row_id(1_100) in call.ids)
    try:
        with pytest.raises(SourceUnavailable, match="cannot be reached"):
            migration.migrate(proxy.url, write_mode=WriteMode.BATCH, page_size=100)
    finally:
        migration.source.execute("GRANT CONNECT ON DATABASE images TO imgmig_reader")
    assert migration.checkpoint is not None

    result = migration.migrate(write_mode=WriteMode.BATCH, page_size=100, run_id="run-2")

    # What was written behind the checkpoint is found.
    assert (sum(result.outcomes.values()), result.resumes) == (1_500, 1)
    assert set(result.outcomes) == {"written", "identical"}
    assert len(migration.target.items()) == 1_500


@pytest.fixture
def own_moto(tmp_path: Path) -> Iterator[Moto]:
    """A DynamoDB that the test may restart."""
    moto = Moto(tmp_path)
    yield moto
    moto.stop()


def test_a_target_that_forgot_everything_is_not_believed_to_hold_the_checkpoints_rows(
    source: Source, state: LocalStateStore, own_moto: Moto
) -> None:
    def started() -> Target:
        listener = attach_or_start(own_moto, None)
        client = boto3.session.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        ).client("dynamodb", endpoint_url=endpoint_url(listener.port))
        create_table(client, "images-dev")
        return Target(client, "images-dev", endpoint_url(listener.port))

    before = Migration(source, started(), state)
    with FaultProxy(before.target.url) as proxy:
        interrupt(before, proxy)
    before.target.client.close()
    own_moto.stop()
    after = Migration(source, started(), state)

    with pytest.raises(CheckpointRefused) as caught:
        after.migrate(write_mode=WriteMode.BATCH)
    assert "it is of another migration: target_created_at was" in str(caught.value)
    assert "add --partition 2024-03-01 --start-over to imgmig migrate" in str(caught.value)
    assert after.target.items() == {}

    assert after.migrate(start_over=True, write_mode=WriteMode.BATCH).outcomes == {"written": 1_300}
    assert len(after.target.items()) == 1_300
    after.target.client.close()


def test_a_checkpoint_of_another_source_table_is_refused(migration: Migration, proxy: FaultProxy) -> None:
    interrupt(migration, proxy)
    schema = migration.source.schema
    migration.source.execute(f'CREATE TABLE "{schema}".other (LIKE {{t}} INCLUDING ALL)')
    migration.source.execute(f'GRANT SELECT ON "{schema}".other TO imgmig_reader')
    other = Source(migration.source.owner, migration.source.url, migration.source.schema, "other")

    with pytest.raises(CheckpointRefused, match=r"source was .*\.images, is .*\.other"):
        Migration(other, migration.target, migration.state).migrate()


@pytest.mark.parametrize("damage", ["torn", "altered"])
def test_a_damaged_checkpoint_is_refused_before_anything_is_written(
    migration: Migration, proxy: FaultProxy, services: Services, damage: str
) -> None:
    interrupt(migration, proxy)
    path = Path(migration.state.locate("2024-03-01/migration-progress.json"))
    document = json.loads(path.read_bytes())
    document["checkpoint"]["cursor"] = [0, row_id(1_299)]
    path.write_bytes(path.read_bytes()[:-30] if damage == "torn" else json.dumps(document).encode())

    # What the interrupted run sent last may reach its own proxy late.
    with FaultProxy(services.dynamodb_url) as fresh:
        with pytest.raises(CheckpointRefused, match=damage):
            migration.migrate(fresh.url)
        assert fresh.writes == []


def test_the_time_of_all_runs_of_a_pass_is_counted(migration: Migration, proxy: FaultProxy) -> None:
    proxy.inject(slow(0.02), "BatchWriteItem", times=3)
    interrupt(migration, proxy)
    assert migration.checkpoint is not None
    before = migration.checkpoint["elapsed_s"]

    result = migration.migrate(write_mode=WriteMode.BATCH, run_id="run-2")

    assert result.duration_s > before > 0
    assert result.rate == pytest.approx(1_300 / result.duration_s)
