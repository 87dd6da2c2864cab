"""How far a pass over a partition has come, and whether its checkpoint can be trusted.

`walk.coverage` uses it; `row_log` holds the results row by row.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import orjson

from imgmig_dagster.errors import CheckpointRefused
from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.state import names
from imgmig_dagster.state.row_log import PartsOfRuns
from imgmig_dagster.state.store import ABSENT, StateStore
from imgmig_dagster.traffic import TrafficRecord

FORMAT: Final = 3


@dataclass(frozen=True)
class Checkpoint:
    """A pass in progress. The target confirmed everything up to `cursor`, and `outcomes` counts it.

    `fingerprint` names what the pass works on (mapping, source, target, window, ...). `first_pass` is False if an
    earlier pass over this window finished, so that items may exist. `segments` names the files of the row log.
    `deleting` are the ids whose items the pass has begun to delete, because their rows are gone. `elapsed_s` and all
    later fields add up all runs of the pass.
    """

    run_id: str
    fingerprint: Mapping[str, str]
    started_at: str
    first_pass: bool
    cursor: Cursor | None = None
    outcomes: Mapping[str, int] = field(default_factory=dict)
    segments: PartsOfRuns = ()
    deleting: Sequence[str] = ()
    elapsed_s: float = 0.0
    resumes: int = 0
    retries: int = 0
    throttles: int = 0
    write_units: float = 0.0
    read_units: float = 0.0
    traffic: TrafficRecord = field(default_factory=TrafficRecord)

    @property
    def rows(self) -> int:
        """The rows that the checkpoint covers."""
        return sum(self.outcomes.values())


class CheckpointFile:
    """The checkpoint of one partition, owned by one run at a time.

    A run that takes over writes its own run id. If the earlier run still lives, it finds another version than its own,
    and stops with `StateChanged`.
    """

    def __init__(self, store: StateStore, partition: str, name: str = names.MIGRATION_PROGRESS) -> None:
        self._store = store
        self._partition = partition
        self._name = f"{partition}/{name}"
        self._version = ABSENT

    def open(
        self, run_id: str, fingerprint: Mapping[str, str], started_at: str, start_over: bool = False
    ) -> Checkpoint:
        """Resume the interrupted pass, or begin a new one, and own the file from here on.

        `start_over` drops an interrupted pass. It may have written, so the new one is not a first pass.

        Raises:
            CheckpointRefused: the file is torn or altered, or of something other than `fingerprint`.
        """
        found = self._store.read(self._name)
        self._version = found.version if found else ABSENT
        if found is None or start_over:
            first_pass = found is None and not self.finished_passes()
            checkpoint = Checkpoint(run_id, dict(fingerprint), started_at, first_pass)
        else:
            interrupted = self._parse(found.content)
            self._check(interrupted.fingerprint, fingerprint)
            checkpoint = replace(interrupted, run_id=run_id, resumes=interrupted.resumes + 1)
        self.save(checkpoint)
        return checkpoint

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint; `StateChanged` if another run has taken over."""
        self._version = self._store.write(self._name, _serialize(checkpoint), replacing=self._version)

    def archive(self, checkpoint: Checkpoint, finished_at: str, summary: Mapping[str, Any]) -> None:
        """The pass is finished: keep its record; the next pass begins at the window's start.

        `StateChanged` if another run has taken over: the checkpoint belongs to it.
        """
        record = {**asdict(checkpoint), "finished_at": finished_at, **summary}
        self._store.write(names.finished_pass(self._partition, finished_at, checkpoint.run_id), _json(record))
        self.remove()

    def remove(self) -> None:
        """Remove the checkpoint: nothing is left to resume. `StateChanged` if another run has taken over."""
        self._store.delete(self._name, replacing=self._version)
        self._version = ABSENT

    def is_open(self) -> bool:
        """Whether a pass has begun and not finished."""
        return self._store.read(self._name) is not None

    def finished_passes(self) -> list[str]:
        """The names of the records of finished passes, oldest first."""
        return self._store.list(names.passes(self._partition))

    def last_finished(self) -> dict[str, Any] | None:
        """The record of the pass that finished last."""
        names = self.finished_passes()
        found = self._store.read(names[-1]) if names else None
        if found is None:
            return None
        record: dict[str, Any] = orjson.loads(found.content)
        return record

    def _parse(self, content: bytes) -> Checkpoint:
        try:
            document = orjson.loads(content)
            body = document["checkpoint"]
            if document["format"] != FORMAT:
                raise self._refused(f"it is of format {document['format']}, and this version reads {FORMAT}")
            if document["sha256"] != hashlib.sha256(_json(body)).hexdigest():
                raise self._refused("it was altered, or written in part: its checksum does not fit")
            cursor, segments = body.pop("cursor"), body.pop("segments")
            traffic = TrafficRecord(**body.pop("traffic"))
            return Checkpoint(
                **body,
                cursor=(cursor[0], cursor[1]) if cursor else None,
                segments=tuple((run_id, written) for run_id, written in segments),
                traffic=traffic,
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, IndexError, ValueError):
            raise self._refused("it is torn or altered: it cannot be read") from None

    def _check(self, found: Mapping[str, str], current: Mapping[str, str]) -> None:
        changed = [name for name in sorted({*found, *current}) if found.get(name) != current.get(name)]
        if changed:
            details = "; ".join(f"{name} was {found.get(name)}, is {current.get(name)}" for name in changed)
            raise self._refused(f"it is of another migration: {details}")

    def _refused(self, cause: str) -> CheckpointRefused:
        return CheckpointRefused(
            f"partition {self._partition}: the checkpoint {self._store.locate(self._name)} is refused: {cause}. "
            f"To start this partition over, which is always safe, add --partition {self._partition} --start-over to "
            "imgmig migrate"
        )


def _serialize(checkpoint: Checkpoint) -> bytes:
    body = asdict(checkpoint)
    return orjson.dumps(
        {"format": FORMAT, "sha256": hashlib.sha256(_json(body)).hexdigest(), "checkpoint": body},
        option=orjson.OPT_INDENT_2,
    )


def _json(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
