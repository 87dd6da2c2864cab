"""How the writes of our own runs are counted, by which evidence knows whether it still counts."""

from pathlib import Path

import orjson
import pytest

from imgmig_dagster.errors import StateChanged
from imgmig_dagster.rules.invalidation import LastWrite
from imgmig_dagster.state import names
from imgmig_dagster.state.records import save_record
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.state.writes import last_write, writes_so_far, writing

MARCH = "2024-03-01"
T0, T1, T2 = (f"2025-01-01T00:00:0{second}.000+00:00" for second in range(3))


@pytest.fixture
def store(tmp_path: Path) -> LocalStateStore:
    return LocalStateStore(tmp_path)


def write(store: LocalStateStore, run_id: str = "run", sends: bool = True, partition: str | None = MARCH) -> None:
    with writing(store, partition, "repair", run_id, ["a"], has_written=lambda: sends):
        pass


def break_off(store: LocalStateStore) -> None:
    with pytest.raises(ZeroDivisionError), writing(store, MARCH, "repair", "broken", []):
        raise ZeroDivisionError


def mark(store: LocalStateStore, number: int) -> None:
    late = LastWrite("migration", "late", T0, T1, late=True, number=number)
    store.append(names.late_writes(MARCH), orjson.dumps(late) + b"\n")


def test_a_write_is_open_until_it_has_come_to_its_end(store: LocalStateStore) -> None:
    assert (last_write(store, MARCH), writes_so_far(store, MARCH)) == (None, 0)
    with writing(store, MARCH, "retry", "run-1", ["a"], now=lambda: T2):
        during, open_number = last_write(store, MARCH), writes_so_far(store, MARCH)
    after = last_write(store, MARCH)

    assert during == LastWrite("retry", "run-1", T2, None, ["a"], number=1)
    assert open_number is None
    assert after == LastWrite("retry", "run-1", T2, T2, ["a"], number=1)
    assert writes_so_far(store, MARCH) == 1


def test_each_write_counts_up_and_one_that_sent_nothing_leaves_all_as_it_was(store: LocalStateStore) -> None:
    write(store, sends=False)
    assert writes_so_far(store, MARCH) == 0
    write(store, "first")
    write(store, "second")
    before = store.read(names.last_write(MARCH))
    write(store, "third", sends=False)

    assert writes_so_far(store, MARCH) == 2
    assert store.read(names.last_write(MARCH)) == before


def test_what_broke_off_may_have_written_and_counts_once_the_next_one_has_ended(store: LocalStateStore) -> None:
    write(store)
    break_off(store)
    assert writes_so_far(store, MARCH) is None
    write(store, "resumed", sends=False)
    written = last_write(store, MARCH)

    assert written
    assert (written.run_id, written.number, written.is_open) == ("resumed", 2, False)


def test_a_run_that_was_taken_over_does_not_end_the_others_write(store: LocalStateStore) -> None:
    with pytest.raises(StateChanged), writing(store, MARCH, "repair", "run-1"):
        break_off(store)
    written = last_write(store, MARCH)
    assert written
    assert (written.run_id, written.ended_at, written.number) == ("broken", None, 2)


def test_a_mark_counts_whenever_it_is_made(store: LocalStateStore) -> None:
    mark(store, number=0)
    assert writes_so_far(store, MARCH) == 1
    write(store)
    assert writes_so_far(store, MARCH) == 2
    mark(store, number=0)
    assert writes_so_far(store, MARCH) == 3
    break_off(store)
    mark(store, number=2)
    assert writes_so_far(store, MARCH) is None


@pytest.mark.parametrize(("marked_at", "last"), [(0, "run"), (1, "late"), (2, "late")])
def test_the_last_write_is_a_mark_unless_something_has_written_since(
    store: LocalStateStore, marked_at: int, last: str
) -> None:
    write(store)
    mark(store, marked_at)
    written = last_write(store, MARCH)
    assert written
    assert written.run_id == last


def test_partitions_and_orphans_have_records_of_their_own(store: LocalStateStore) -> None:
    write(store, partition=None)
    assert (writes_so_far(store, MARCH), writes_so_far(store, None)) == (0, 1)


def test_a_record_of_before_writes_were_counted_is_read(store: LocalStateStore) -> None:
    earlier = {"by": "migration", "run_id": "r", "began_at": T0, "ended_at": T1, "ids": None, "earlier_until": T0}
    save_record(store, names.last_write(MARCH), earlier)
    assert writes_so_far(store, MARCH) == 0
    write(store)
    assert writes_so_far(store, MARCH) == 1


def test_a_count_that_was_lost_does_not_come_to_a_number_of_before(store: LocalStateStore) -> None:
    store.write(names.finished_pass(MARCH, T0, "run"), b"{}")
    numbers = set()
    for _time in range(3):
        store.delete(names.last_write(MARCH))
        write(store)
        numbers.add(writes_so_far(store, MARCH))
    assert len(numbers) == 3
    assert min(number or 0 for number in numbers) > 100


@pytest.mark.parametrize(
    ("write", "spared"),
    [
        (LastWrite("migration", "r", T0, T1, number=7), True),  # what was seen
        (LastWrite("migration", "r", T0, T1, number=8), False),  # of the whole window
        (LastWrite("migration", "r", T0, T1, number=6), False),  # nobody knows what happened
        (LastWrite("repair", "r", T0, T1, ["a"], number=8), True),
        (LastWrite("repair", "r", T0, T1, ["a", "x"], number=8), False),  # of another key, too
        (LastWrite("repair", "r", T0, T1, ["a"], number=9), False),  # not the only one
        (LastWrite("repair", "r", T0, None, ["a"], number=8), False),
    ],
)
def test_which_keys_were_spared_since_a_number(write: LastWrite, spared: bool) -> None:
    assert write.spared_others_since(7, {"a", "b"}) is spared
    assert not write.spared_others_since(None, {"a", "b"})
