"""How often our runs have written to a partition's items, and which run wrote last.

Evidence and the census note the number at their beginning (`writes_so_far`), and count only while it is the same. It is
a count and not a time, because the clocks of two machines differ. A run notes that it writes, and that it has ended
(`writing`); one that sent no write leaves the number unchanged. A run that had lost its lock also leaves a mark, which
counts too. `rules.invalidation` judges evidence by it.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

import orjson

from imgmig_dagster.errors import ImgmigError, StateUnavailable
from imgmig_dagster.fence import UNFENCED, Fence
from imgmig_dagster.rules.invalidation import LastWrite
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_lines, load_record, load_versioned
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.window import now as system_now

_FIRST_BELOW: Final = 2**40


def last_write(store: StateStore, partition: str | None) -> LastWrite | None:
    """The last run that wrote to a partition's items, or may have; None for the partition: to orphan items.

    Raises:
        StateError: the record cannot be read; it is never taken for an absent one.
    """
    recorded = load_record(store, names.last_write(partition), LastWrite)
    marks = load_lines(store, names.late_writes(partition), LastWrite)
    last = recorded
    if marks and (recorded is None or not (recorded.is_open or recorded.number > marks[-1].number)):
        last = marks[-1]
    return replace(last, number=(recorded.number if recorded else 0) + len(marks)) if last else None


def writes_so_far(store: StateStore, partition: str | None) -> int | None:
    """How often the partition was written to; None while a write goes on, or if one broke off.

    Raises:
        StateError: see `last_write`.
    """
    last = last_write(store, partition)
    return 0 if last is None else None if last.is_open else last.number


@contextmanager
def writing(
    store: StateStore,
    partition: str | None,
    by: str,
    run_id: str,
    ids: Sequence[str] | None = None,
    fence: Fence = UNFENCED,
    has_written: Callable[[], bool] = lambda: True,
    now: Callable[[], str] = system_now,
) -> Iterator[None]:
    """Record that a run may write while the context lasts; the record stays open if it ends by an error.

    The caller holds the lock of `fence`. A write that may have been carried out after the lock was lost is marked.
    `has_written` says at the end whether any write was sent: if none was, nothing is counted.

    Raises:
        StateChanged: another run has taken over.
        StateUnavailable: the state store is away; also for the mark, and then the message says so.
    """
    name = names.last_write(partition)
    earlier, version = load_versioned(store, name, LastWrite)
    before = earlier.number if earlier else _first(store, partition)
    record = LastWrite(by, run_id, now(), ids=ids, number=before + 1)
    version = store.write(name, orjson.dumps(record), replacing=version)
    with fence.marking(lambda: _mark(store, partition, replace(record, ids=None, late=True), now)):
        yield
    ended = replace(record, ended_at=now())
    if not has_written():
        # A write that broke off may have happened, and is counted already.
        ended = earlier if earlier and not earlier.is_open else replace(ended, number=before)
    store.write(name, orjson.dumps(ended), replacing=version)


def _first(store: StateStore, partition: str | None) -> int:
    """Where a count begins: at 0, or at a random number if there were writes and their record is gone.

    A count that began at 0 again could reach the number that earlier evidence has noted.
    """
    is_lost = store.list(names.passes(partition)) if partition else store.read(names.ORPHAN_REPAIR)
    return secrets.randbelow(_FIRST_BELOW) if is_lost else 0


def _mark(store: StateStore, partition: str | None, late: LastWrite, now: Callable[[], str]) -> None:
    name = names.late_writes(partition)
    with suppress(ImgmigError):
        # The number that has begun by now shows whether anything has written since.
        recorded = load_record(store, names.last_write(partition), LastWrite)
        late = replace(late, number=recorded.number) if recorded else late
    try:
        store.append(name, orjson.dumps(replace(late, ended_at=now())) + b"\n")
    except ImgmigError as error:
        what, again = "items without a row", "imgmig repair --delete-orphans"
        if partition:
            what, again = f"partition {partition}", f"imgmig migrate --partition {partition}"
        raise StateUnavailable(
            f"{what}: this {late.by} lost its lock, may have written since, and could not note that in "
            f"{store.locate(name)}. What was verified since then may be wrong, and reports do not know of it: once the "
            f"state store answers, run {again}, then imgmig verify. The cause: {error}"
        ) from None
