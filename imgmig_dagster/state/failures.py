"""The failure ledger: the rows of a partition that are not in the target, and why. No row's values."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import orjson

from imgmig_dagster.errors import CheckpointRefused
from imgmig_dagster.state.store import StateStore


@dataclass(frozen=True)
class Failure:
    """One row. `permanent`: it can never be written as it is; otherwise a retry may succeed.

    `field` is a source column, None where the item as a whole is at fault.
    """

    row_id: str
    field: str | None
    code: str
    reason: str
    permanent: bool


class FailureLedger:
    """The ledger of one partition: one entry per key, however often it failed."""

    def __init__(self, store: StateStore, partition: str) -> None:
        self._store = store
        self._partition = partition
        self.name = f"{partition}/migration-failures.json"

    def entries(self) -> dict[str, Failure]:
        """The failures by row id.

        Raises:
            CheckpointRefused: the file cannot be read; it is never taken for an empty one.
        """
        found = self._store.read(self.name)
        if found is None:
            return {}
        try:
            return {entry["row_id"]: Failure(**entry) for entry in orjson.loads(found.content)["failures"]}
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise CheckpointRefused(
                f"partition {self._partition}: the ledger {self._store.locate(self.name)} cannot be read. Move it "
                f"away and migrate the partition again: imgmig migrate --partition {self._partition}"
            ) from None

    def record(self, failures: Iterable[Failure], settled_ids: Iterable[str] = ()) -> None:
        """Add these failures, and strike out the ids that are dealt with."""
        entries = self.entries()
        settled = set(settled_ids)
        updated: Mapping[str, Failure] = {
            **{row_id: entry for row_id, entry in entries.items() if row_id not in settled},
            **{failure.row_id: failure for failure in failures},
        }
        if updated == entries:
            return
        if not updated:
            self._store.delete(self.name)
            return
        ordered = [asdict(updated[row_id]) for row_id in sorted(updated)]
        self._store.write(self.name, orjson.dumps({"failures": ordered}, option=orjson.OPT_INDENT_2))
