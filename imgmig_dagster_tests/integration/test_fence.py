"""A run that no longer owns its partition sends nothing more; what it sent late invalidates what was verified since.

The run is a process of its own with its state in S3. It is stopped by SIGSTOP, its lease runs out, a successor migrates
and verifies, and then it goes on.
"""

import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from imgmig_dagster.errors import PartitionBusy
from imgmig_dagster.reporting.certificate import certify
from imgmig_dagster.reporting.model import RunFacts, SummaryReport, build_report
from imgmig_dagster.reporting.partition_summary import Verdict
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.state import names
from imgmig_dagster.state.records import save_record
from imgmig_dagster.target.in_flight import FIRST_LIMIT
from imgmig_dagster.window import now
from imgmig_dagster_tests.arrange import MARCH, Migration, Source, Target, access, image, row_id
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, FaultProxy, Held
from imgmig_dagster_tests.orchestration.commands import CommandServer, Finished, Running, shared_server, wait_until
from imgmig_dagster_tests.switch import Switch, switch
from imgmig_dagster_tests.torture.child import CODE, PAGE_SIZE, Orders, Place
from imgmig_dagster_tests.torture.passes import wait_until_stopped

ROWS = 300
BUCKET = "fence-state"
LEASE_S = 1.0
AT_ONCE = FIRST_LIMIT
WRITES = {WriteMode.BATCH: ("BatchWriteItem",), WriteMode.CONDITIONAL: NEW_ITEMS}

# The interpreter tells of each call just before it is made.
STOPPED_AT_THE_SOCKET = """
import os, signal, socket, sys
from imgmig_dagster_tests.torture.child import main

def stop(frame, event, called):
    if event == "c_call" and called.__name__ == "send" and isinstance(called.__self__, socket.socket):
        if b"DynamoDB_20120810.BatchExecuteStatement" in bytes(frame.f_locals.get("data", b"")):
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGSTOP)

sys.setprofile(stop)
main(sys.argv[1])
"""


@pytest.fixture(scope="session")
def commands(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CommandServer:
    return shared_server(request, tmp_path_factory)


class Stage:
    """A run that is stopped, and the run that works on its partition in between."""

    def __init__(self, s3_url: str, source: Source, target: Target, commands: CommandServer, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._commands = commands
        access(s3_url).client("s3").create_bucket(Bucket=BUCKET)
        self._place = Place(s3_url=s3_url, bucket=BUCKET, prefix=target.name, lease_seconds=LEASE_S)
        self.migration = Migration(source, target, self._place.open())

    def start(self, write_mode: WriteMode, code: str = CODE, state_by: Switch | None = None) -> Running:
        source = self.migration.source
        place = replace(self._place, s3_url=f"http://127.0.0.1:{state_by.port}") if state_by else self._place
        orders = Orders(
            source_url=source.url,
            schema=source.schema,
            table=source.table,
            target=self.migration.target.name,
            target_url=self.proxy.url,
            place=place,
            write_mode=write_mode.value,
            run_id="suspended",
        )
        return self._commands.start(orders.to_json(), environment={}, code=code)

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

    def stop_with_writes_under_way(self, write_mode: WriteMode) -> tuple[Running, Held]:
        """A run that is stopped while it waits for the answers to as many writes as it may have under way.

        They have arrived at the proxy, and wait to be let in.
        """
        held = self.proxy.hold(AT_ONCE, *WRITES[write_mode])
        running = self.start(write_mode)
        held.wait_for_all()
        running.send(signal.SIGSTOP)
        wait_until_stopped(running)
        return running, held


def woken(running: Running) -> Finished:
    running.send(signal.SIGCONT)
    return running.wait()


@pytest.fixture
def stage(services: Services, source: Source, target: Target, commands: CommandServer, proxy: FaultProxy) -> Stage:
    source.insert(image(number) for number in range(ROWS))
    return Stage(services.environment["AWS_ENDPOINT_URL_S3"], source, target, commands, proxy)


def successor_and_application(stage: Stage, write_mode: WriteMode, gone: Sequence[int]) -> None:
    """A successor migrates, the application changes every row and deletes some, on both sides, and all is proved."""
    migration = stage.migration
    try:
        migration.migrate(write_mode=write_mode, run_id="successor")
    except PartitionBusy:
        # A beat of the lease that had left before the run was stopped has arrived: it was the last one.
        migration.migrate(write_mode=write_mode, run_id="successor")
    migration.source.execute("UPDATE {t} SET original_filename = 'new.jpg', updated_at = now()")
    for number in gone:
        migration.source.delete(number)
        migration.target.delete(number)
    migration.migrate(run_id="successor-2")
    stage.verify()
    assert stage.report().verdict is Verdict.PASS


@pytest.mark.parametrize("write_mode", WriteMode)
def test_a_run_that_wakes_after_its_successor_sends_nothing(stage: Stage, write_mode: WriteMode) -> None:
    running, writes = stage.stop_with_writes_under_way(write_mode)
    writes.let_in()
    gone, target = range(ROWS - 50, ROWS), stage.migration.target
    successor_and_application(stage, write_mode, gone)
    sent = len(stage.proxy.calls)

    ended = woken(running)

    assert stage.proxy.calls[sent:] == []
    assert [number for number in gone if target.item(number) is not None] == []
    assert {item["originalFilename"]["S"] for item in target.items().values()} == {"new.jpg"}
    assert (ended.exit_code, ended.document["error"]) == (2, "StateChanged")
    assert "this run sends nothing more" in ended.document["message"]


@pytest.mark.parametrize("write_mode", WriteMode)
def test_a_run_that_is_cut_off_from_its_state_and_let_back_sends_nothing(
    stage: Stage, services: Services, write_mode: WriteMode
) -> None:
    s3 = int(services.environment["AWS_ENDPOINT_URL_S3"].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", 0)) as nobody_answers, switch(s3) as cable:
        writes = stage.proxy.hold(AT_ONCE, *WRITES[write_mode])
        running = stage.start(write_mode, state_by=cable)
        writes.wait_for_all()
        cable.to(nobody_answers.getsockname()[1])
        ran_out_at = time.monotonic() + LEASE_S
        wait_until(lambda: time.monotonic() > ran_out_at)
        sent = len(stage.proxy.calls)
        writes.let_in()  # others wait for their answers
        with stage.migration.state.exclusive(names.write_lock(MARCH.partition)):
            cable.to(s3)
            ended = running.wait()

    assert stage.proxy.calls[sent:] == []
    assert (ended.exit_code, ended.document["error"]) == (2, "StateChanged")
    assert "this run sends nothing more" in ended.document["message"]


@pytest.mark.parametrize("write_mode", WriteMode)
def test_a_write_that_was_on_its_way_in_between_invalidates_what_was_proved(
    stage: Stage, write_mode: WriteMode
) -> None:
    running, writes = stage.stop_with_writes_under_way(write_mode)
    sent_before = {row for call in writes.calls for row in call.ids}
    late = [number for number in range(ROWS) if row_id(number) in sent_before]
    successor_and_application(stage, write_mode, gone=late if write_mode is WriteMode.CONDITIONAL else [])
    sent = len(stage.proxy.calls)

    writes.let_in()
    ended = woken(running)

    assert {item["originalFilename"]["S"] for item in map(stage.migration.target.item, late) if item} != {"new.jpg"}
    assert stage.proxy.calls[sent:] == []
    assert (ended.exit_code, ended.document["error"]) == (2, "StateChanged")
    assert_nothing_counts_any_more(stage)


def test_a_run_that_is_stopped_between_the_fence_and_the_socket_sends_that_write_alone_and_invalidates_what_was_proved(
    stage: Stage,
) -> None:
    running = stage.start(WriteMode.CONDITIONAL, STOPPED_AT_THE_SOCKET)
    wait_until_stopped(running)
    # All of the first page, of which the write is.
    successor_and_application(stage, WriteMode.CONDITIONAL, gone=range(PAGE_SIZE))
    assert stage.proxy.writes == []

    ended = woken(running)

    assert [len(call.ids) for call in stage.proxy.writes] == [25]
    assert len(stage.migration.target.items()) == ROWS - PAGE_SIZE + 25
    assert (ended.exit_code, ended.document["error"]) == (2, "StateChanged")
    assert_nothing_counts_any_more(stage)


def assert_nothing_counts_any_more(stage: Stage) -> None:
    report = stage.report()
    blockers = " ".join(each.what for each in report.blockers)
    assert report.verdict is Verdict.NOT_VERIFIED
    assert "because a migration that had lost its lock may have written after it began" in blockers
    assert f"no longer counts: partition {MARCH.partition} may have been written to since it began" in blockers
    assert certify(report).verdict is Verdict.NOT_VERIFIED


def test_a_run_that_wakes_and_has_no_successor_goes_on(stage: Stage) -> None:
    running, writes = stage.stop_with_writes_under_way(WriteMode.BATCH)
    writes.let_in()
    ran_out_at = time.monotonic() + LEASE_S
    wait_until(lambda: time.monotonic() > ran_out_at)

    ended = woken(running)

    assert ended.exit_code == 0
    assert stage.migration.state.read(names.late_writes(MARCH.partition)) is None
    stage.verify()
    assert stage.report().verdict is Verdict.PASS
