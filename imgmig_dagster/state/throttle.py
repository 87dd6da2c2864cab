"""How fast runs may read and write, changed while they run, from any machine that reaches the state store."""

from dataclasses import dataclass, replace

from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record, save_record
from imgmig_dagster.state.store import StateStore


@dataclass(frozen=True)
class Throttle:
    """What an operator asked for: a ceiling in units per second of all runs together, None for the settings' own."""

    rate: float | None = None
    paused: bool = False


def read_throttle(store: StateStore) -> Throttle:
    """What applies to the stage now.

    Raises:
        StateError: the file cannot be read.
    """
    return load_record(store, names.THROTTLE, Throttle) or Throttle()


def change_throttle(store: StateStore, **changes: float | bool | None) -> Throttle:
    """Change some of what applies to the stage, and leave the rest."""
    changed = replace(read_throttle(store), **changes)  # type: ignore[arg-type]
    save_record(store, names.THROTTLE, changed)
    return changed
