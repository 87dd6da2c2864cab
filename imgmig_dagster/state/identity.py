"""Which state this is: an id that is made once and kept, so that a moved state is still the same."""

import secrets
from dataclasses import dataclass

from imgmig_dagster.errors import StateChanged, StateError
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import ABSENT, StateStore


@dataclass(frozen=True)
class StateIdentity:
    """A stage's state; `place` is where it is now, a folder or a URL."""

    id: str
    place: str


@dataclass(frozen=True)
class _Kept:
    id: str


def known_identity(store: StateStore) -> StateIdentity | None:
    """Which state this is, if anything was ever written to it.

    Raises:
        StateError: its id cannot be read.
    """
    kept = load_record(store, names.STATE_ID, _Kept)
    return StateIdentity(kept.id, store.locate("")) if kept else None


def make_identity(store: StateStore) -> StateIdentity:
    """Which state this is. If several runs begin at once, one of them names it.

    Raises:
        StateError: its id cannot be read or written.
    """
    try:
        content = b'{"id": "%s"}' % secrets.token_hex(8).encode()
        store.write(names.STATE_ID, content, replacing=ABSENT)
    except StateChanged:
        pass  # it is named already
    found = known_identity(store)
    if found is None:
        raise StateError(f"{store.locate(names.STATE_ID)} is gone although it was just written: give the command again")
    return found
