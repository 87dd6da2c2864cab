"""When our own runs last wrote to a partition's items: what was verified before says nothing of them.

A run notes that it writes, and that it has ended (`writing`). One that was taken for dead and woke up may have written
when its successor had ended long since: it leaves a mark besides. `last_write` gives the later of both.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import orjson

from imgmig_dagster.errors import ImgmigError, StateUnavailable
from imgmig_dagster.fence import UNFENCED, Fence
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_lines, load_record
from imgmig_dagster.state.store import ABSENT, StateStore
from imgmig_dagster.window import is_after, now


@dataclass(frozen=True)
class LastWrite:
    """A run that wrote, or may have written. `by` is ``migration``, ``retry`` or ``repair``.

    `ended_at` is None for a run that has not come to its end: it goes on, or broke off. `ids` are the only keys that
    it worked on, None for a whole window. `earlier_until` is the end of the write before it, None where there was none.
    `late`: it had lost its lock, and nobody knows what it had sent until then, or what of that arrived.
    """

    by: str
    run_id: str
    began_at: str
    ended_at: str | None = None
    ids: Sequence[str] | None = None
    earlier_until: str | None = None
    late: bool = False

    def __str__(self) -> str:
        return f"{self.by} that had lost its lock" if self.late else self.by

    def ended_before(self, moment: str) -> bool:
        """Whether nothing was written from `moment` on."""
        return self.ended_at is not None and is_after(moment, self.ended_at)

    def spared_others_since(self, moment: str, ids: Collection[str]) -> bool:
        """Whether no other keys than these were written from `moment` on."""
        if self.ended_at is None or self.ended_before(moment):
            return self.ended_at is not None
        alone = self.earlier_until is None or is_after(moment, self.earlier_until)
        return alone and self.ids is not None and set(self.ids) <= set(ids)


def last_write(store: StateStore, partition: str | None) -> LastWrite | None:
    """What wrote last to a partition's items, or may have; None for the partition: to items without a row.

    Raises:
        StateError: the record cannot be read; it is never taken for an absent one.
    """
    recorded = load_record(store, names.last_write(partition), LastWrite)
    writes = [*load_lines(store, names.late_writes(partition), LastWrite), *([recorded] if recorded else [])]
    if not writes:
        return None
    *earlier, last = sorted(writes, key=lambda each: each.ended_at or "open, and after every time")
    until = max([last.earlier_until or "", *(each.ended_at or "" for each in earlier)])
    return replace(last, earlier_until=until or None)


@contextmanager
def writing(
    store: StateStore,
    partition: str | None,
    by: str,
    run_id: str,
    ids: Sequence[str] | None = None,
    fence: Fence = UNFENCED,
) -> Iterator[None]:
    """Record that a run may write while the context lasts; the record stays open if it ends by an error.

    The caller holds the lock of `fence`. A write that may have been carried out after the lock was lost is marked.

    Raises:
        StateChanged: another run has taken over.
        StateUnavailable: the state store is away; also for the mark, and then the message says so.
    """
    name = names.last_write(partition)
    found = store.read(name)
    earlier, began_at = last_write(store, partition), now()
    # Of a run that broke off nobody knows when it wrote last: it may have been just now.
    until = (earlier.ended_at or began_at) if earlier else None
    record = LastWrite(by, run_id, began_at, ids=ids, earlier_until=until)
    version = store.write(name, orjson.dumps(record), replacing=found.version if found else ABSENT)
    with fence.marking(lambda: _mark(store, partition, replace(record, ids=None, late=True))):
        yield
    store.write(name, orjson.dumps(replace(record, ended_at=now())), replacing=version)


def _mark(store: StateStore, partition: str | None, late: LastWrite) -> None:
    name = names.late_writes(partition)
    try:
        store.append(name, orjson.dumps(replace(late, ended_at=max(now(), store.now()))) + b"\n")
    except ImgmigError as error:
        what, again = "items without a row", "imgmig repair --delete-orphans"
        if partition:
            what, again = f"partition {partition}", f"imgmig migrate --partition {partition}"
        raise StateUnavailable(
            f"{what}: this {late.by} lost its lock, may have written since, and could not note that in "
            f"{store.locate(name)}. What was verified meanwhile may be wrong, and reports do not know of it: once the "
            f"state store answers, run {again}, then imgmig verify. The cause: {error}"
        ) from None
