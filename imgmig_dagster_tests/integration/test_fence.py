"""A run that no longer owns its partition sends nothing more, and what it sent late voids what was verified meanwhile.

The run is a process of its own with its state in S3. It is stopped by SIGSTOP, its lease runs out, a successor migrates
and verifies, and then it goes on.
"""

import asyncio
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]
import pytest

from imgmig_dagster.reporting.certificate import certify
from imgmig_dagster.reporting.model import RunFacts, SummaryReport, build_report
from imgmig_dagster.reporting.partitions import ReportVerdict
from imgmig_dagster.stage import WriteMode
from imgmig_dagster.state import names
from imgmig_dagster.state.records import save_record
from imgmig_dagster.window import now
from imgmig_dagster_tests.arrange import MARCH, Migration, Source, Target, access, image, row_id
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.fault_proxy import Call, FaultProxy, Forward, Reply
from imgmig_dagster_tests.orchestration.commands import CommandServer, Finished, Running, shared_server, wait_until
from imgmig_dagster_tests.torture.child import CODE, Orders, Place

ROWS = 300
BUCKET = "fence-state"
LEASE_S = 1.0
WRITES = {WriteMode.BATCH: "BatchWriteItem", WriteMode.CONDITIONAL: "PutItem"}


@pytest.fixture(scope="session")
def commands(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CommandServer:
    return shared_server(request, tmp_path_factory)


class Stage:
    """A run that is stopped, and whoever works on its partition meanwhile."""

    def __init__(self, s3_url: str, source: Source, target: Target, commands: CommandServer, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._commands = commands
        access(s3_url).client("s3").create_bucket(Bucket=BUCKET)
        self._place = Place(s3_url=s3_url, bucket=BUCKET, prefix=target.name, lease_seconds=LEASE_S)
        self.migration = Migration(source, target, self._place.open())

    def start(self, write_mode: WriteMode) -> Running:
        source = self.migration.source
        orders = Orders(
            source_url=source.url,
            schema=source.schema,
            table=source.table,
            target=self.migration.target.name,
            target_url=self.proxy.url,
            place=self._place,
            write_mode=write_mode.value,
            run_id="suspended",
        )
        return self._commands.start(orders.to_json(), environment={}, code=CODE)

    def report(self) -> SummaryReport:
        """What a report says of the stage."""
        migration = self.migration
        with migration.source.reader() as reader:
            counted_at = now()
            counted = reader.rows_per_window([migration.window])
            digests = {partition: reader.inventory(migration.window).digest for partition in counted}
            facts = RunFacts("report", now(), counted_at, migration.today(reader).identity, {}, {})
        rows = {migration.window.partition: counted.get(migration.window.partition, 0)}
        return build_report(migration.state, "dev", [migration.window], rows, facts, digests)

    def verify(self) -> None:
        """Both proofs."""
        assert self.migration.verify().passed
        save_record(self.migration.state, names.CENSUS, self.migration.census())

    def stop_at_the_first_write(self, write_mode: WriteMode, hold: threading.Event | None = None) -> "Stopped":
        """A run that is stopped when its first write has arrived; with `hold` the write itself waits for that."""
        started, arrived, carried_out = list[Running](), list[Call](), threading.Event()
        is_known = threading.Event()

        async def stop(call: Call, forward: Forward) -> Reply:
            arrived.append(call)
            await asyncio.to_thread(is_known.wait)
            started[0].send(signal.SIGSTOP)
            if hold is not None:
                await asyncio.to_thread(hold.wait)
            reply = await forward(call.body)
            carried_out.set()
            return reply

        self.proxy.inject(stop, WRITES[write_mode])
        started.append(self.start(write_mode))
        is_known.set()
        wait_until(lambda: psutil.Process(started[0].pid).status() == psutil.STATUS_STOPPED)
        return Stopped(started[0], arrived[0].ids, carried_out)


@dataclass(frozen=True)
class Stopped:
    """A run that stands still. Its first write is of these ids."""

    running: Running
    ids: list[str]
    carried_out: threading.Event

    def wakes(self) -> Finished:
        self.running.send(signal.SIGCONT)
        return self.running.wait()


@pytest.fixture
def stage(services: Services, source: Source, target: Target, commands: CommandServer, proxy: FaultProxy) -> Stage:
    source.insert(image(number) for number in range(ROWS))
    return Stage(services.environment["AWS_ENDPOINT_URL_S3"], source, target, commands, proxy)


def successor_and_application(stage: Stage, write_mode: WriteMode, gone: Sequence[int]) -> None:
    """A successor migrates, the application changes every row and deletes some, on both sides, and all is proved."""
    migration = stage.migration
    migration.migrate(write_mode=write_mode, run_id="successor")
    migration.source.execute("UPDATE {t} SET original_filename = 'new.jpg', updated_at = now()")
    for number in gone:
        migration.source.delete(number)
        migration.target.delete(number)
    migration.migrate(run_id="successor-2")
    stage.verify()
    assert stage.report().verdict is ReportVerdict.PASS


@pytest.mark.parametrize("write_mode", WriteMode)
def test_a_run_that_wakes_after_its_successor_sends_nothing(stage: Stage, write_mode: WriteMode) -> None:
    stopped = stage.stop_at_the_first_write(write_mode)
    gone, target = range(ROWS - 50, ROWS), stage.migration.target
    successor_and_application(stage, write_mode, gone)
    sent = len(stage.proxy.calls)

    ended = stopped.wakes()

    assert stage.proxy.calls[sent:] == []
    assert [number for number in gone if target.item(number) is not None] == []
    assert {item["originalFilename"]["S"] for item in target.items().values()} == {"new.jpg"}
    assert (ended.exit_code, ended.document["error"]) == (2, "StateChanged")
    assert "this run sends nothing more" in ended.document["message"]


@pytest.mark.parametrize("write_mode", WriteMode)
def test_a_write_that_was_on_its_way_meanwhile_voids_what_was_proved(stage: Stage, write_mode: WriteMode) -> None:
    hold = threading.Event()
    stopped = stage.stop_at_the_first_write(write_mode, hold)
    late = [number for number in range(ROWS) if row_id(number) in stopped.ids]
    successor_and_application(stage, write_mode, gone=late if write_mode is WriteMode.CONDITIONAL else [])
    sent = len(stage.proxy.calls)

    hold.set()
    stopped.carried_out.wait(60)
    ended = stopped.wakes()

    assert {item["originalFilename"]["S"] for item in map(stage.migration.target.item, late) if item} != {"new.jpg"}
    assert stage.proxy.calls[sent:] == []
    assert (ended.exit_code, ended.document["error"]) == (2, "StateChanged")
    report = stage.report()
    lacking = " ".join(each.what for each in report.lacking)
    assert report.verdict is ReportVerdict.NOT_VERIFIED
    assert "because a migration that had lost its lock may have written after it began" in lacking
    assert f"no longer counts: partition {MARCH.partition} may have been written to since it began" in lacking
    assert certify(report).verdict is ReportVerdict.NOT_VERIFIED


def test_a_run_that_wakes_and_has_no_successor_goes_on(stage: Stage) -> None:
    stopped = stage.stop_at_the_first_write(WriteMode.BATCH)
    ran_out_at = time.monotonic() + LEASE_S
    wait_until(lambda: time.monotonic() > ran_out_at)

    ended = stopped.wakes()

    assert ended.exit_code == 0
    assert stage.migration.state.read(names.late_writes(MARCH.partition)) is None
    stage.verify()
    assert stage.report().verdict is ReportVerdict.PASS
