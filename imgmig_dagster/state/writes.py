"""When our own runs last wrote to a partition's items: what was verified before says nothing of them."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import orjson

from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.window import is_after, now


@dataclass(frozen=True)
class LastWrite:
    """A run that wrote, or may have written. `by` is ``migration``, ``retry`` or ``repair``.

    `ended_at` is None for a run that has not come to its end: it goes on, or broke off. `ids` are the only keys that
    it worked on, None for a whole window. `earlier_until` is the end of the write before it, None where there was none.
    """

    by: str
    run_id: str
    began_at: str
    ended_at: str | None = None
    ids: Sequence[str] | None = None
    earlier_until: str | None = None

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
    """What wrote last to a partition; None for the partition: to items without a row.

    Raises:
        StateError: the record cannot be read; it is never taken for an absent one.
    """
    return load_record(store, names.last_write(partition), LastWrite)


@contextmanager
def writing(
    store: StateStore, partition: str | None, by: str, run_id: str, ids: Sequence[str] | None = None
) -> Iterator[None]:
    """Record that a run may write while the context lasts; the record stays open if it ends by an error.

    The caller holds the partition's lock.

    Raises:
        StateChanged: another run has taken over.
    """
    earlier, began_at = last_write(store, partition), now()
    # Of a run that broke off nobody knows when it wrote last: it may have been just now.
    until = (earlier.ended_at or began_at) if earlier else None
    record = LastWrite(by, run_id, began_at, ids=ids, earlier_until=until)
    name = names.last_write(partition)
    version = store.write(name, orjson.dumps(record))
    yield
    store.write(name, orjson.dumps(replace(record, ended_at=now())), replacing=version)
