from pathlib import Path

import pytest

from imgmig_dagster.errors import StateChanged
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.state.writes import LastWrite, last_write, writing
from imgmig_dagster.window import is_after

MARCH = "2024-03-01"
T0, T1, T2, T3 = (f"2025-01-01T00:00:0{second}.000+00:00" for second in range(4))


@pytest.fixture
def store(tmp_path: Path) -> LocalStateStore:
    return LocalStateStore(tmp_path)


def test_a_write_is_open_until_it_has_come_to_its_end(store: LocalStateStore) -> None:
    assert last_write(store, MARCH) is None
    with writing(store, MARCH, "retry", "run-1", ["a"]):
        during = last_write(store, MARCH)
    after = last_write(store, MARCH)

    assert during
    assert after
    assert (during.by, during.run_id, during.ended_at, during.earlier_until) == ("retry", "run-1", None, None)
    assert after.ended_at
    assert list(after.ids or ()) == ["a"]


def test_it_stays_open_when_it_breaks_off_and_the_next_one_knows_when_it_may_have_written(
    store: LocalStateStore,
) -> None:
    with pytest.raises(ZeroDivisionError), writing(store, MARCH, "repair", "run-1", []):
        raise ZeroDivisionError
    broken = last_write(store, MARCH)
    assert broken
    assert broken.ended_at is None
    with writing(store, MARCH, "repair", "run-2", []):
        pass
    following = last_write(store, MARCH)
    assert following
    assert following.earlier_until == following.began_at


def test_a_run_that_was_taken_over_does_not_end_the_others_write(store: LocalStateStore) -> None:
    with pytest.raises(StateChanged), writing(store, MARCH, "repair", "run-1"):  # noqa: SIM117
        with pytest.raises(ZeroDivisionError), writing(store, MARCH, "repair", "run-2"):
            raise ZeroDivisionError
    written = last_write(store, MARCH)
    assert written
    assert (written.run_id, written.ended_at) == ("run-2", None)


def test_partitions_and_orphans_have_records_of_their_own(store: LocalStateStore) -> None:
    with writing(store, None, "repair", "run-1"):
        pass
    assert last_write(store, MARCH) is None
    assert last_write(store, None)


@pytest.mark.parametrize(
    ("write", "spared"),
    [
        (LastWrite("migration", "r", T0, T1), True),  # before the moment
        (LastWrite("migration", "r", T2, T3), False),  # of the whole window
        (LastWrite("repair", "r", T2, T3, ["a"]), True),
        (LastWrite("repair", "r", T2, T3, ["a", "x"]), False),  # of another key, too
        (LastWrite("repair", "r", T2, T3, ["a"], earlier_until=T0), True),
        (LastWrite("repair", "r", T2, T3, ["a"], earlier_until=T2), False),  # not the only one
        (LastWrite("repair", "r", T2, None, ["a"]), False),
    ],
)
def test_which_keys_were_spared_since_a_moment(write: LastWrite, spared: bool) -> None:
    between = "2025-01-01T00:00:01.500+00:00"
    assert is_after(between, T1)
    assert write.spared_others_since(between, {"a", "b"}) is spared
