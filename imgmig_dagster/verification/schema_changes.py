"""What has changed in the schema of either side since the first migration.

`source.catalog` and `target.target_table` refuse a schema that a run cannot use.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from imgmig_dagster.errors import StateChanged
from imgmig_dagster.mapping.ignored_columns import shown
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record, save_record
from imgmig_dagster.state.store import ABSENT, StateStore
from imgmig_dagster.target.index_keys import IndexKey, unfit_keys
from imgmig_dagster.target.target_table import TargetIdentity

_REJECTS: Final = "from now on DynamoDB rejects"


@dataclass(frozen=True)
class SeenSchema:
    """Both sides at a time: the source's columns with their types, whether an index keeps its ids unique, and the keys
    of the target's indexes."""

    seen_at: str
    columns: Mapping[str, str]
    ids_are_indexed: bool
    index_keys: Sequence[IndexKey]


@dataclass(frozen=True)
class SchemaDrift:
    """What has changed `since` the first migration, a sentence each; with a fault nothing can be proved."""

    since: str = ""
    changes: Sequence[str] = field(default_factory=list)
    faults: Sequence[str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """All of it for a terminal, the faults last."""
        return [f"changed since the first migration ({self.since}): {each}" for each in (*self.changes, *self.faults)]


def see_schema(source: SourceReader, target: TargetIdentity, moment: str) -> SeenSchema:
    """Both sides as they are now.

    Raises:
        SourceError: the table cannot be read.
    """
    return SeenSchema(moment, source.column_types(), source.table.id_is_indexed, target.index_keys)


def note_schema(store: StateStore, source: SourceReader, target: TargetIdentity, moment: str) -> None:
    """Keep what the first migration sees; later ones keep nothing.

    Raises:
        SourceError: the table cannot be read; StateError: the file cannot be written.
    """
    if store.read(names.SCHEMA) is None:
        seen = see_schema(source, target, moment)
        with suppress(StateChanged):  # of partitions that begin at once, one keeps it
            save_record(store, names.SCHEMA, seen, replacing=ABSENT)


def schema_drift(store: StateStore, source: SourceReader, target: Callable[[], TargetIdentity]) -> SchemaDrift:
    """What has changed since the first migration; nothing if there was none, and then neither side is asked.

    Raises:
        SourceError, TargetError: a side cannot be asked; StateError: what was seen first cannot be read.
    """
    before = load_record(store, names.SCHEMA, SeenSchema)
    if before is None:
        return SchemaDrift()
    return drift_between(before, see_schema(source, target(), before.seen_at), source.mapping)


def drift_between(before: SeenSchema, now: SeenSchema, mapping: TableMapping) -> SchemaDrift:
    """What has changed from one to the other."""
    faults = []
    if before.ids_are_indexed and not now.ids_are_indexed:
        columns = mapping.identity_shown
        faults.append(
            f"no index keeps {columns} unique any longer, and two rows may become one item: create the unique index "
            "again"
        )
    changes = [*_changed_columns(before.columns, now.columns), *_changed_indexes(before, now, mapping)]
    return SchemaDrift(before.seen_at, changes, faults)


def _changed_columns(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys([*before, *now]):
        if name not in before:
            yield f"the source has a new column {shown(name)} ({now[name]})"
        elif name not in now:
            yield f"the source's column {shown(name)} ({before[name]}) is gone"
        elif before[name] != now[name]:
            yield f"the source's column {shown(name)} was {before[name]}, and is {now[name]}"


def _changed_indexes(before: SeenSchema, now: SeenSchema, mapping: TableMapping) -> Iterator[str]:
    old, new = _by_index(before.index_keys), _by_index(now.index_keys)
    for index in sorted({*old, *new}):
        if index not in new:
            yield f"the target's index {index} is gone"
        elif old.get(index) != new[index]:
            keys = " and ".join(f"{key.attribute} ({key.type})" for key in new[index])
            how = "is new, with" if index not in old else "has another key,"
            yield f"the target's index {index} {how} {keys}{_consequence(new[index], mapping)}"


def _by_index(keys: Sequence[IndexKey]) -> dict[str, list[IndexKey]]:
    found: dict[str, list[IndexKey]] = {}
    for key in keys:
        found.setdefault(key.index, []).append(key)
    return found


def _consequence(keys: Sequence[IndexKey], mapping: TableMapping) -> str:
    found = unfit_keys(keys, mapping)
    if found.wrong:
        return f": {_REJECTS} every item: {'; '.join(found.wrong)}"
    if found.null:
        return f": {_REJECTS} items of rows that are NULL there, unless it is declared as `null: left_out`"
    return f": {_REJECTS} items of rows with an empty text there" if found.unfit else ""
