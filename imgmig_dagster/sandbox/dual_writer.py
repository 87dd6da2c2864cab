"""An application that goes on writing while its rows are migrated: PostgreSQL first, then DynamoDB.

It inserts, updates (whole records and single fields) and deletes, on several threads whose clocks are off by up to
half a second; some updates leave the time of modification alone. Every write of an item raises its version, if it has
one, as the migration assumes of the application. What it writes is of `image_records`, or of `declared_records`.
"""

import json
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.sandbox.image_records import ImageRecords

if TYPE_CHECKING:
    import psycopg

MAX_CLOCK_ERROR_S: Final = 0.5
THREADS: Final = 4
# On a busy machine a write takes up to 100 ms from one side to the other.
_MOST_THREADS: Final = 10
_WRITES_PER_THREAD: Final = 10
# An attribute that no migration declares: it must survive every change that the migration makes to the item.
OWN_ATTRIBUTE: Final = "lastViewedBy"
_WEIGHTS: Final = {"insert": 2, "update": 4, "touch": 3, "delete": 1}


@dataclass
class Journal:
    """What the application did: enough to say afterwards whether any of it was overwritten.

    `versions` holds the last version that the application itself saw of each item, `own` the ids whose items it gave
    `OWN_ATTRIBUTE`, `deleted` the ids that it deleted.
    """

    counts: Counter[str] = field(default_factory=Counter)
    versions: dict[str, int] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    lowered: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(vars(self), default=sorted))


class Records(Protocol):
    """One table's rows as an application writes them, and what it then writes to their items.

    An item's values are boto3's; an empty one is left out of the item. None says that there is no such row any more.
    """

    @property
    def version(self) -> str | None:
        """The attribute that each write raises."""

    def key(self, row_id: str) -> Item:
        """The key of a row's item."""

    def ids(self, connection: "psycopg.Connection[Any]") -> Iterable[str]:
        """The ids of all rows."""

    def kinds(self, connection: "psycopg.Connection[Any]") -> Sequence[str]:
        """Which of the kinds of writes the table allows. Raises `SandboxError` where it allows none."""

    def insert(
        self, beside: str, chance: random.Random, connection: "psycopg.Connection[Any]", now: datetime
    ) -> tuple[str, Item] | None:
        """A new row, made when the row `beside` was: behind the migration's cursor, or before it."""

    def update(
        self, row_id: str, chance: random.Random, connection: "psycopg.Connection[Any]", now: datetime
    ) -> Item | None:
        """Some columns, and the time of it: a partial item where the row was not migrated yet."""

    def touch(self, row_id: str, chance: random.Random, connection: "psycopg.Connection[Any]") -> Item | None:
        """One column, and the time left alone, as by a script in a hurry."""

    def delete(self, row_id: str, connection: "psycopg.Connection[Any]") -> None:
        """Delete the row."""


class DualWriter:
    """The application. `connect` is as a role that may write; `dynamodb` a boto3 client, safe for threads.

    Rows are written one at a time under a lock per id, as by an application that serializes the writers of a record.
    """

    def __init__(
        self,
        connect: "Callable[[], psycopg.Connection[Any]]",
        dynamodb: Any,
        table: str,
        seed: int = 0,
        records: Records | None = None,
    ) -> None:
        self._connect = connect
        self._records = records or ImageRecords()
        self._dynamodb = dynamodb
        self._table = table
        self._seed = seed
        self._journal = Journal()
        self._guard = threading.Lock()
        self._ids = _Ids([])
        self._weights: dict[str, int] = {}

    def run(self, rate: float, seconds: float, stop: threading.Event | None = None) -> Journal:
        """Write about `rate` times a second for `seconds`, or until `stop` is set; returns what was done.

        An infinite rate is as fast as `THREADS` threads are. An error of PostgreSQL or DynamoDB ends it: an application
        that stopped silently would test nothing.
        """
        stop = stop or threading.Event()
        with self._connect() as connection:
            self._ids = _Ids(self._records.ids(connection))
            self._weights = {kind: _WEIGHTS[kind] for kind in self._records.kinds(connection)}
        deadline = time.monotonic() + seconds
        threads = THREADS
        if math.isfinite(rate):
            threads = max(THREADS, min(_MOST_THREADS, math.ceil(rate / _WRITES_PER_THREAD)))
        with ThreadPoolExecutor(threads) as pool:
            writing = [pool.submit(self._write, number, rate / threads, deadline, stop) for number in range(threads)]
            for each in writing:
                each.result()
        return self._journal

    def _write(self, number: int, rate: float, deadline: float, stop: threading.Event) -> None:
        try:
            self._write_until(number, rate, deadline, stop)
        except BaseException:
            stop.set()
            raise

    def _write_until(self, number: int, rate: float, deadline: float, stop: threading.Event) -> None:
        chance = random.Random(f"dual-writer {self._seed} {number}")  # noqa: S311
        clock_error = timedelta(seconds=chance.uniform(-MAX_CLOCK_ERROR_S, MAX_CLOCK_ERROR_S))
        with self._connect() as connection:
            connection.autocommit = True
            due = time.monotonic()
            while time.monotonic() < deadline and not stop.is_set():
                kind = chance.choices(list(self._weights), list(self._weights.values()))[0]
                self._write_once(kind, chance, connection, clock_error)
                due += 1 / rate
                stop.wait(max(0.0, due - time.monotonic()))

    def _write_once(
        self, kind: str, chance: random.Random, connection: "psycopg.Connection[Any]", clock_error: timedelta
    ) -> None:
        with self._guard:
            row_id = self._ids.hold(chance)
        if row_id is None:
            return
        now = datetime.now(tz=timezone.utc) + clock_error
        try:
            if kind == "insert":
                self._insert(row_id, chance, connection, now)
            elif kind == "update":
                self._set_item(row_id, self._records.update(row_id, chance, connection, now))
            elif kind == "touch":
                self._touch(row_id, chance, connection)
            else:
                self._delete(row_id, connection)
        finally:
            with self._guard:
                self._ids.release(row_id)
                self._journal.counts[kind] += 1

    def _insert(self, beside: str, chance: random.Random, connection: "psycopg.Connection[Any]", now: datetime) -> None:
        made = self._records.insert(beside, chance, connection, now)
        if made is not None:
            row_id, values = made
            self._set_item(row_id, values)
            with self._guard:
                self._ids.add(row_id)

    def _touch(self, row_id: str, chance: random.Random, connection: "psycopg.Connection[Any]") -> None:
        values, viewer = self._records.touch(row_id, chance, connection), f"viewer-{chance.getrandbits(16)}"
        if values is not None:
            self._set_item(row_id, {**values, OWN_ATTRIBUTE: {"S": viewer}})
            with self._guard:
                self._journal.own[row_id] = viewer

    def _delete(self, row_id: str, connection: "psycopg.Connection[Any]") -> None:
        self._records.delete(row_id, connection)
        self._dynamodb.delete_item(TableName=self._table, Key=self._records.key(row_id))
        with self._guard:
            self._journal.deleted.add(row_id)
            self._journal.versions.pop(row_id, None)
            self._journal.own.pop(row_id, None)
            self._ids.remove(row_id)

    def _set_item(self, row_id: str, values: Item | None) -> None:
        """Set attributes, remove those that are empty, and raise the version, even if the item does not exist yet."""
        if values is None:
            return
        names = {f"#{index}": name for index, name in enumerate(values)}
        given = {f":{index}": value for index, value in enumerate(values.values()) if value}
        sets = [f"#{index} = :{index}" for index, value in enumerate(values.values()) if value]
        removed = [f"#{index}" for index, value in enumerate(values.values()) if not value]
        version = self._records.version
        if version is not None:
            names["#version"], given[":one"] = version, {"N": "1"}
        parts = {"SET": sets, "REMOVE": removed, "ADD": ["#version :one"] if version else []}
        reply = self._dynamodb.update_item(
            TableName=self._table,
            Key=self._records.key(row_id),
            UpdateExpression=" ".join(f"{word} {', '.join(part)}" for word, part in parts.items() if part),
            ExpressionAttributeNames=names,
            **({"ExpressionAttributeValues": given} if given else {}),
            ReturnValues="UPDATED_NEW",
        )
        if version is None:
            return
        raised = int(reply["Attributes"][version]["N"])
        with self._guard:
            if raised <= self._journal.versions.get(row_id, 0):
                self._journal.lowered.append(row_id)
            self._journal.versions[row_id] = raised


class _Ids:
    """The ids that there are, and those that are being written to; drawing, adding and removing one costs the same."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._drawn = list(ids)
        self._places = {row_id: place for place, row_id in enumerate(self._drawn)}
        self._held: set[str] = set()

    def hold(self, chance: random.Random) -> str | None:
        """A random one; None if there is none, or another thread holds it."""
        row_id = chance.choice(self._drawn) if self._drawn else None
        if row_id is None or row_id in self._held:
            return None
        self._held.add(row_id)
        return row_id

    def release(self, row_id: str) -> None:
        self._held.discard(row_id)

    def add(self, row_id: str) -> None:
        self._places[row_id] = len(self._drawn)
        self._drawn.append(row_id)

    def remove(self, row_id: str) -> None:
        place, last = self._places.pop(row_id), self._drawn.pop()
        if last != row_id:
            self._drawn[place] = last
            self._places[last] = place
