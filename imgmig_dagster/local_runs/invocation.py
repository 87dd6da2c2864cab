"""Commands that execute runs in their own process, and how other processes learn that such a process is gone.

Dagster's run launcher knows only the workers that it launched, so a command announces itself, in two ways. It holds a
lock, which the kernel drops when the process dies. It also beats in Dagster's storage, for processes on other machines.
"""

import contextlib
import fcntl
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dagster as dg

from imgmig_dagster.local_runs.dagster_internals import note, noted, report_failed
from imgmig_dagster.window import now, seconds_between

# The UI's lists do not show tags below `.dagster/`.
_TAG: Final = ".dagster/imgmig/invocation"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_BEAT_EVERY_S: Final = 30.0
DEAD_AFTER_S: Final = 300
"""After this silence a process counts as dead for those who cannot check its lock."""


@dataclass(frozen=True)
class Invocation:
    """One command. `place` is its lock's folder on a running kernel: the same path elsewhere is another place."""

    id: str
    place: str

    @classmethod
    def of(cls, run: dg.DagsterRun) -> "Invocation | None":
        """The command that executes the run; None for a run that Dagster launched.

        Dagster copies tags to the runs that re-execute a run, so the tag holds the id of its own run.
        """
        run_id, _, rest = run.tags.get(_TAG, "").partition("/")
        invocation, _, place = rest.partition("/")
        return cls(invocation, place) if run_id == run.run_id and place else None

    def tags(self, run_id: str) -> Mapping[str, str]:
        """The tag that marks a run as executed by this command."""
        return {_TAG: f"{run_id}/{self.id}/{self.place}"}

    @property
    def _beat(self) -> str:
        return f"imgmig/invocation/{self.id}"

    def beat(self, instance: dg.DagsterInstance, moment: str) -> None:
        """Announce that it is alive."""
        note(instance, self._beat, moment)

    def is_silent(self, instance: dg.DagsterInstance, moment: str) -> bool:
        """Whether it has been silent for `DEAD_AFTER_S`: another machine can know no more."""
        last = noted(instance, self._beat)
        return last is not None and seconds_between(last, moment) > DEAD_AFTER_S


class Lifeline:
    """The locks of the invocations in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        kernel = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else uuid.uuid4().hex
        found = folder.stat()
        self._place = f"{kernel}:{found.st_dev}:{found.st_ino}"

    @contextlib.contextmanager
    def hold(self, instance: dg.DagsterInstance) -> Iterator[Invocation]:
        """A new invocation, alive as long as the context lasts."""
        invocation = Invocation(uuid.uuid4().hex, self._place)
        path, ended = self._folder / invocation.id, threading.Event()
        invocation.beat(instance, now())
        beating = threading.Thread(target=Heart(invocation, instance).beat_until, args=(ended,), daemon=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            beating.start()
            try:
                yield invocation
            finally:
                ended.set()
                beating.join()
                path.unlink(missing_ok=True)

    def is_dead(self, invocation: Invocation, instance: dg.DagsterInstance) -> bool:
        """Whether its process is gone, as far as this place can know."""
        if invocation.place != self._place:
            return invocation.is_silent(instance, now())
        path = self._folder / invocation.id
        try:
            with path.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        except PermissionError:  # another user's, with a umask of 077
            return invocation.is_silent(instance, now())
        path.unlink(missing_ok=True)
        return True


class Heart:
    """Beats for an invocation, and stops its process if one of its runs is terminated in the UI."""

    def __init__(self, invocation: Invocation, instance: dg.DagsterInstance) -> None:
        self._invocation = invocation
        self._instance = instance
        self._terminating: set[str] = set()

    def beat(self) -> None:
        """Announce that the process is alive. Interrupt it, as Ctrl-C does, if it has to end and has not begun to."""
        self._invocation.beat(self._instance, now())
        canceling = self._instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.CANCELING]))
        runs = [record.dagster_run for record in canceling]
        ours = {run.run_id for run in runs if Invocation.of(run) == self._invocation}
        # After Ctrl-C a run is also canceling, but not at the next beat any more.
        if ours & self._terminating:
            # To the main thread: a signal taken by another thread does not interrupt a wait of the main one.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        self._terminating = ours - self._terminating

    def beat_until(self, ended: threading.Event) -> None:
        """Beat as long as the command lasts."""
        while not ended.wait(_BEAT_EVERY_S):
            # While Dagster's storage is unavailable nobody can read a beat either.
            with contextlib.suppress(Exception):
                self.beat()


def fail_dead_runs(instance: dg.DagsterInstance, lifeline: Lifeline | None = None) -> list[str]:
    """Mark the runs of dead commands as failed, and return their ids.

    With `lifeline`, the locks of that folder tell at once. Otherwise, and for commands of other places, silence does.
    """
    dead = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=_IN_PROGRESS)):
        invocation = Invocation.of(record.dagster_run)
        if invocation is None:
            continue
        if lifeline.is_dead(invocation, instance) if lifeline else invocation.is_silent(instance, now()):
            report_failed(instance, record.dagster_run, GONE)
            dead.append(record.dagster_run.run_id)
    return dead


GONE: Final = "The imgmig process of this run is gone. Run the command again: it resumes"
_IN_PROGRESS: Final = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
    dg.DagsterRunStatus.NOT_STARTED,
]
