"""The failure ledger: the rows of a partition that are not in the target, and why. Values only on request."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final

import orjson

from imgmig_dagster.errors import CheckpointRefused, SettingsError, StateChanged
from imgmig_dagster.state import names
from imgmig_dagster.state.index import read_ahead
from imgmig_dagster.state.store import ABSENT, StateStore, Versioned

HELD_BACK: Final = "DeleteHeldBack"
"""The code of a row that is gone and whose item exists: deleting so many at once needs a confirmation."""


@dataclass(frozen=True)
class Failure:
    """One row. `permanent`: it can never be written as it is; otherwise a retry may succeed.

    `field` is a source column, None where the item as a whole is at fault. `value` is the row's value of it, kept only
    where `keep_values` in [reports] says so.
    """

    row_id: str
    field: str | None
    code: str
    reason: str
    permanent: bool
    value: str | None = None


def held_back(failures: Mapping[str, Failure]) -> list[str]:
    """The ids whose items are deleted once a person confirms their number."""
    return [row_id for row_id, failure in failures.items() if failure.code == HELD_BACK]


def confirmed_deletes(store: StateStore, partitions: Sequence[str], number: int | None) -> Mapping[str, int | None]:
    """What a confirmed `number` of deletes means for each partition: the deletes that its ledger holds back.

    Raises:
        SettingsError: together the partitions hold back another number.
    """
    if number is None:
        return dict.fromkeys(partitions)
    store = read_ahead(store, partitions)
    held = {each: len(held_back(FailureLedger(store, each).entries())) for each in partitions}
    if (total := sum(held.values())) != number:
        remedy = f"--confirm-deletes {total} (in run config: confirm_deletes) deletes them" if total else "leave it out"
        raise SettingsError(
            f"{number:,} are confirmed, and {total:,} deletes are held back in the ledgers of these partitions. "
            f"Nothing was done; {remedy}"
        )
    return {each: count or None for each, count in held.items()}


class FailureLedger:
    """The ledger of one partition: one entry per key, however often it failed."""

    def __init__(self, store: StateStore, partition: str) -> None:
        self._store = store
        self._partition = partition
        self.name = f"{partition}/{names.FAILURES}"

    def entries(self) -> dict[str, Failure]:
        """The failures by row id.

        Raises:
            CheckpointRefused: the file cannot be read; it is never taken for an empty one.
        """
        return self._parse(self._store.read(self.name))

    def record(self, failures: Sequence[Failure], resolved_ids: Iterable[str] = ()) -> None:
        """Add these failures, and remove the ids that are resolved."""
        resolved = set(resolved_ids)
        while True:
            found = self._store.read(self.name)
            entries = self._parse(found)
            updated = {
                **{row_id: entry for row_id, entry in entries.items() if row_id not in resolved},
                **{failure.row_id: failure for failure in failures},
            }
            if updated == entries:
                return
            ordered = [asdict(updated[row_id]) for row_id in sorted(updated)]
            content = orjson.dumps({"failures": ordered}, option=orjson.OPT_INDENT_2)
            # Another run's entries, written between our read and our write, must not be lost.
            with suppress(StateChanged):
                self._store.write(self.name, content, replacing=found.version if found else ABSENT)
                return

    def _parse(self, found: Versioned | None) -> dict[str, Failure]:
        if found is None:
            return {}
        try:
            return {entry["row_id"]: Failure(**entry) for entry in orjson.loads(found.content)["failures"]}
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise CheckpointRefused(
                f"partition {self._partition}: the ledger {self._store.locate(self.name)} cannot be read. Move it "
                f"away, and migrate the partition again: add --partition {self._partition} to imgmig migrate"
            ) from None
