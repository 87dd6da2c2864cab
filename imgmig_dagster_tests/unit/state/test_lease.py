"""A lease as its holder and its fence know it; its file is on a local store, whose writes are conditional too."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from imgmig_dagster.clock import awake_or_not
from imgmig_dagster.errors import StateChanged, StateUnavailable
from imgmig_dagster.fence import Fence
from imgmig_dagster.rules.invalidation import LastWrite
from imgmig_dagster.state import names
from imgmig_dagster.state.fenced import FencedStateStore
from imgmig_dagster.state.lease import LEASE_SECONDS, Lease
from imgmig_dagster.state.records import load_lines
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.state.writes import writing

MARCH = "2024-03-01"
LOCK = names.write_lock(MARCH)


@dataclass
class Held:
    """A lease that its holder has taken; its time passes only as the test says."""

    store: LocalStateStore
    now: float = 0.0

    def __post_init__(self) -> None:
        self.lease = Lease(self.store, LOCK, clock=lambda: self.now)
        self.lease.acquire()
        self.fence: Fence = self.lease.fence

    @property
    def content(self) -> bytes:
        found = self.store.read(LOCK)
        return found.content if found else b""

    def is_taken_over(self, released: bool = False) -> None:
        self.store.write(LOCK, b"" if released else b'{"owner": "another", "beat": 1}')

    def stands_still(self) -> None:
        """Until another run has taken over."""
        self.is_taken_over()
        self.now += LEASE_SECONDS

    def send(self, answered: bool = True, is_read: bool = False) -> None:
        async def send() -> None:
            await self.fence.let_out(is_read)
            if answered:
                await self.fence.answered(is_read)

        asyncio.run(send())


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    held = Held(LocalStateStore(tmp_path))
    yield held
    held.lease.release()


def work(held: Held, *steps: Callable[[], object]) -> None:
    """A run that does so while it writes to the partition."""
    with writing(held.store, MARCH, "migration", "run-1", fence=held.fence):
        for step in steps:
            step()


def late_writes(held: Held) -> list[LastWrite]:
    return load_lines(held.store, names.late_writes(MARCH), LastWrite)


def test_the_clock_goes_on_while_the_machine_is_suspended() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= awake_or_not() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_holder_that_stood_still_goes_on_if_nobody_has_taken_over(held: Held) -> None:
    before = held.content
    held.now += 100 * LEASE_SECONDS

    held.send()

    assert held.content != before, "the lease was renewed before anything left"
    renewed = held.content
    held.send()
    assert held.content == renewed, "and is relied on again"


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize("released", [True, False], ids=["released by now", "held"])
def test_once_another_run_has_taken_over_nothing_leaves(held: Held, released: bool, is_read: bool) -> None:
    held.is_taken_over(released)
    held.now += LEASE_SECONDS

    with pytest.raises(StateChanged, match=r"another run has taken over .*run\.lock .* sends nothing more"):
        held.send(is_read=is_read)
    held.now -= LEASE_SECONDS
    with pytest.raises(StateChanged):
        held.send(is_read=is_read)


def test_a_lock_of_the_next_holder_is_left_alone(held: Held) -> None:
    held.is_taken_over()
    held.lease.release()

    assert b"another" in held.content


def test_what_was_answered_in_time_leaves_no_mark(held: Held) -> None:
    with pytest.raises(StateChanged):
        work(held, held.send, partial(held.send, answered=False, is_read=True), held.stands_still, held.send)

    assert late_writes(held) == []


def test_a_write_whose_answer_comes_late_leaves_a_mark(held: Held) -> None:
    async def send_and_stand_still() -> None:
        await held.fence.let_out(is_read=False)
        held.stands_still()
        await held.fence.answered(is_read=False)

    with pytest.raises(StateChanged):
        work(held, lambda: asyncio.run(send_and_stand_still()))

    # At once, and again when everything had come to rest.
    assert [(each.by, each.run_id, each.late) for each in late_writes(held)] == [("migration", "run-1", True)] * 2


def test_a_write_that_was_never_answered_leaves_a_mark_however_the_run_ends(held: Held) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work(held, partial(held.send, answered=False), held.stands_still, fail)

    assert late_writes(held)


def test_a_clock_that_stood_still_with_the_machine_is_not_believed(held: Held) -> None:
    with pytest.raises(StateChanged):
        work(held, held.send, held.is_taken_over, held.lease._renew)  # as the next beat does

    assert late_writes(held)


def test_a_mark_that_cannot_be_made_is_told(held: Held, tmp_path: Path) -> None:
    in_the_way = tmp_path / names.late_writes(MARCH)

    with pytest.raises(StateUnavailable, match="may have written since, and could not note that") as caught:
        work(held, partial(held.send, answered=False), in_the_way.mkdir, held.stands_still, held.send)

    assert f"run imgmig migrate --partition {MARCH}, then imgmig verify" in str(caught.value)
    assert (caught.value.exit_code, caught.value.retryable) == (3, True)


def test_nothing_of_the_state_is_replaced_once_the_lock_is_lost(held: Held) -> None:
    fenced = FencedStateStore(held.store, held.fence)
    fenced.write("p/a.json", b"ours")
    held.is_taken_over()
    held.now += LEASE_SECONDS

    with pytest.raises(StateChanged):
        fenced.write("p/a.json", b"ours again")
    with pytest.raises(StateChanged):
        fenced.delete("p/a.json")
    found = fenced.read("p/a.json")
    assert found
    assert found.content == b"ours"
    fenced.append("audit.jsonl", b"what became of it\n")
    assert fenced.list("p") == ["p/a.json"]


def test_a_lock_of_the_file_system_is_lost_with_its_file(tmp_path: Path) -> None:
    store = LocalStateStore(tmp_path)
    with store.exclusive(LOCK) as fence:
        fence.check()
        (tmp_path / LOCK).unlink()
        with store.exclusive(LOCK) as successors:
            successors.check()
            with pytest.raises(StateChanged):
                fence.check()
