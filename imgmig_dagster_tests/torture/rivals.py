"""Two runs of one partition at once: the second is refused; one that was taken for dead does no harm, sends nothing."""

import signal
import threading
from dataclasses import replace

from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.state.lease import LEASE_SECONDS
from imgmig_dagster.state.writes import last_write
from imgmig_dagster_tests.arrange import MARCH
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS
from imgmig_dagster_tests.orchestration.commands import Running, wait_until
from imgmig_dagster_tests.torture.child import Place
from imgmig_dagster_tests.torture.ground import Ground
from imgmig_dagster_tests.torture.passes import Findings, Pass, Way, wait_until_stopped
from imgmig_dagster_tests.torture.points import Point

STOPPING_POINTS = (Point.BEFORE_CHECKPOINT, Point.AFTER_CHECKPOINT, Point.BEFORE_RECORD)


def second_is_refused(ground: Ground, way: Way) -> Findings:
    """While one run is alive, another one of the same partition ends at once, and the first is none the worse."""
    go_on = threading.Event()
    with Pass(ground, way) as work:
        # A lease of the real length: the first run waits for the target, and its heartbeat goes on.
        place = replace(work.place, lease_seconds=LEASE_SECONDS)
        work.proxy.before(lambda: go_on.wait(300), "BatchWriteItem" if way.write_mode is WriteMode.BATCH else NEW_ITEMS)
        first = work.start("first", place)
        wait_until(lambda: work.proxy.writes)
        second = work.start("second", place).wait()
        go_on.set()
        refused = second.exit_code != 0 and second.document["error"] == "PartitionBusy"
        work.findings.hold(refused, f"a second run was not refused: {second.exit_code} {second.stdout}")
        work.look_at_the_end(first.wait())
        return work.findings


def orphan_does_no_harm(ground: Ground, way: Way, point: Point, successor_ends_first: bool) -> Findings:
    """A run stands still for longer than its lease, a successor takes over, and then it goes on."""
    with Pass(ground, way) as work:
        orphan = _stopped(work, "orphan", point, nth=1 if point is Point.BEFORE_RECORD else 3)
        if successor_ends_first:
            successor = work.start("successor")
            finished = successor.wait()
            orphan.send(signal.SIGCONT)
            ended = orphan.wait()
        else:
            successor = _stopped(work, "successor", Point.AFTER_CHECKPOINT, nth=1)
            before = work.checkpoint
            orphan.send(signal.SIGCONT)
            ended = orphan.wait()
            work.findings.hold(work.checkpoint == before, f"{point.value}: the orphan moved its successor's checkpoint")
            successor.send(signal.SIGCONT)
            finished = successor.wait()
        # Past its last row it may also find its pass finished by its successor, whose files are gone.
        stopped = ended.exit_code != 0 and ended.document["error"] in ("StateChanged", "CheckpointRefused")
        work.findings.hold(stopped, f"{point.value}: the orphan ended with {ended.exit_code}: {ended.stdout}")
        work.look_at_the_end(finished, most_records=2, after_late_writes=True)
        return work.findings


def sleeper_sends_nothing(ground: Ground, way: Way) -> Findings:
    """A run stands still while writes are under way; once a successor has ended it goes on, and leaves a mark."""
    with Pass(ground, way) as work:
        sleeper = work.stop_while_it_writes("sleeper")
        finished = work.start("successor").wait()
        sent = len(work.proxy.calls)
        sleeper.send(signal.SIGCONT)
        ended, hold = sleeper.wait(), work.findings.hold
        sent_late = work.proxy.calls[sent:]
        hold(
            not sent_late, f"the sleeper sent {len(sent_late)} requests, such as {[each.ids for each in sent_late[:1]]}"
        )
        stopped = ended.exit_code != 0 and ended.document["error"] == "StateChanged"
        hold(stopped, f"the sleeper ended with {ended.exit_code}: {ended.stdout}")
        written = last_write(work.state, MARCH.partition)
        hold(written is not None and written.late, f"the sleeper left no mark: {written}")
        work.look_at_the_end(finished, after_late_writes=True)
        return work.findings


def _stopped(work: Pass, run_id: str, point: Point, nth: int, place: Place | None = None) -> Running:
    """A run that stands still at a point."""
    running = work.start(run_id, point=point.value, nth=nth, place=place, signal=int(signal.SIGSTOP))
    wait_until_stopped(running)
    return running
