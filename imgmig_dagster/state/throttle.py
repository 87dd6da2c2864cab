"""How fast runs may read and write, changed while they run, from any machine that reaches the state store."""

from dataclasses import dataclass, replace

from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record, save_record
from imgmig_dagster.state.store import StateStore


@dataclass(frozen=True)
class Throttle:
    """What an operator asked for: a ceiling in units per second of all runs together, None for the settings' own.

    `paused_by` is who paused it, and `paused_at` when; both are empty in what an earlier version wrote.
    """

    rate: float | None = None
    paused: bool = False
    paused_by: str = ""
    paused_at: str = ""

    def line(self, stage: str) -> str:
        """Whether the stage is paused, by whom and since when, and what ends that."""
        if not self.paused:
            return "no longer paused"
        who = f" by {self.paused_by} at {self.paused_at[:19].replace('T', ' ')} UTC" if self.paused_by else ""
        return f"paused{who}: imgmig throttle resume --stage {stage}"


def read_throttle(store: StateStore) -> Throttle:
    """What applies to the stage now.

    Raises:
        StateError: the file cannot be read.
    """
    return load_record(store, names.THROTTLE, Throttle) or Throttle()


def change_throttle(store: StateStore, **changes: float | bool | str | None) -> Throttle:
    """Change some of what applies to the stage, and leave the rest."""
    changed = replace(read_throttle(store), **changes)  # type: ignore[arg-type]
    save_record(store, names.THROTTLE, changed)
    return changed
