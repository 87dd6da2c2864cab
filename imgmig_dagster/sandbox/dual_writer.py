"""An application that goes on writing while its images are migrated: PostgreSQL first, then DynamoDB.

It inserts, updates (whole records and single fields) and deletes, on several threads whose clocks are off by up to
half a second; some updates leave `updated_at` alone. Every write of an item raises its `version`, as the migration
assumes of the application.
"""

import json
import math
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import psycopg

MAX_CLOCK_ERROR_S: Final = 0.5
THREADS: Final = 4
# On a machine that does much besides, a write takes up to 100 ms from one side to the other.
_MOST_THREADS: Final = 10
_WRITES_PER_THREAD: Final = 10
# An attribute that no migration declares: it must survive whatever the migration does to the item.
OWN_ATTRIBUTE: Final = "lastViewedBy"
_WEIGHTS: Final = {"insert": 2, "update": 4, "touch": 3, "delete": 1}


@dataclass
class Journal:
    """What the application did: enough to say afterwards whether anything of it was undone.

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
        document = {
            "counts": dict(self.counts),
            "versions": self.versions,
            "own": self.own,
            "deleted": sorted(self.deleted),
            "lowered": self.lowered,
        }
        path.write_text(json.dumps(document))


class DualWriter:
    """The application. `source_url` is of a role that may write; `dynamodb` a boto3 client, safe for threads.

    Rows are written one at a time under a lock per id, as by an application that serializes the writers of a record.
    """

    def __init__(
        self, connect: "Callable[[], psycopg.Connection[Any]]", dynamodb: Any, table: str, seed: int = 0
    ) -> None:
        self._connect = connect
        self._dynamodb = dynamodb
        self._table = table
        self._seed = seed
        self._journal = Journal()
        self._guard = threading.Lock()
        self._ids = _Ids([])

    def run(self, rate: float, seconds: float, stop: threading.Event | None = None) -> Journal:
        """Write about `rate` times a second for `seconds`, or until `stop` is set; returns what was done.

        An infinite rate is as fast as `THREADS` threads are. An error of PostgreSQL or DynamoDB ends it: an application
        that stands still in silence tests nothing.
        """
        stop = stop or threading.Event()
        with self._connect() as connection:
            self._ids = _Ids(str(row[0]) for row in connection.execute("SELECT id FROM images ORDER BY id"))
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
                kind = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
                self._write_once(kind, chance, connection, clock_error)
                due += 1 / rate
                stop.wait(max(0.0, due - time.monotonic()))

    def _write_once(
        self, kind: str, chance: random.Random, connection: "psycopg.Connection[Any]", clock_error: timedelta
    ) -> None:
        row_id = self._pick(chance)
        if row_id is None:
            return
        now = datetime.now(tz=timezone.utc) + clock_error
        try:
            if kind == "insert":
                self._insert(str(uuid.uuid4()), row_id, connection, now)
            elif kind == "update":
                self._update(row_id, chance, connection, now)
            elif kind == "touch":
                self._touch(row_id, chance, connection)
            else:
                self._delete(row_id, connection)
        finally:
            with self._guard:
                self._ids.release(row_id)
                self._journal.counts[kind] += 1

    def _pick(self, chance: random.Random) -> str | None:
        with self._guard:
            return self._ids.hold(chance)

    def _insert(self, row_id: str, beside: str, connection: "psycopg.Connection[Any]", now: datetime) -> None:
        """A new image, created when the image `beside` was: behind the migration's cursor, or before it."""
        row = {
            "user_id": str(uuid.uuid5(uuid.NAMESPACE_OID, row_id)),
            "original_filename": f"{row_id[:8]}.png",
            "s3_key": f"uploads/{row_id}.png",
            "mime_type": "image/png",
            "size_bytes": 4_096,
        }
        found = connection.execute(
            "INSERT INTO images (id, user_id, created_at, updated_at, original_filename, s3_key, s3_bucket,"
            " mime_type, size_bytes) SELECT %(id)s, %(user_id)s, created_at, %(now)s, %(original_filename)s,"
            " %(s3_key)s, 'images-dev', %(mime_type)s, %(size_bytes)s"
            " FROM images WHERE id = %(beside)s RETURNING created_at",
            {**row, "id": row_id, "now": now, "beside": beside},
        ).fetchone()
        if found is None:
            return
        self._set_item(
            row_id,
            {
                "userId": {"S": row["user_id"]},
                "createdAt": {"S": _iso(found[0])},
                "updatedAt": {"S": _iso(now)},
                "originalFilename": {"S": row["original_filename"]},
                "s3Key": {"S": row["s3_key"]},
                "s3Bucket": {"S": "images-dev"},
                "thumbnailS3Key": {"NULL": True},
                "mimeType": {"S": "image/png"},
                "sizeBytes": {"N": "4096"},
                "width": {"NULL": True},
                "height": {"NULL": True},
            },
        )
        with self._guard:
            self._ids.add(row_id)

    def _update(self, row_id: str, chance: random.Random, connection: "psycopg.Connection[Any]", now: datetime) -> None:
        """A new thumbnail and size, and the time of it: a partial item where the image was not migrated yet."""
        thumbnail, width = f"thumbnails/{chance.getrandbits(32):08x}.jpg", chance.randrange(1, 4_000)
        updated = connection.execute(
            "UPDATE images SET thumbnail_s3_key = %s, width = %s, updated_at = %s WHERE id = %s RETURNING id",
            (thumbnail, width, now, row_id),
        ).fetchone()
        if updated is not None:
            values = {"thumbnailS3Key": {"S": thumbnail}, "width": {"N": str(width)}, "updatedAt": {"S": _iso(now)}}
            self._set_item(row_id, values)

    def _touch(self, row_id: str, chance: random.Random, connection: "psycopg.Connection[Any]") -> None:
        """One field, and `updated_at` left alone, as by a script in a hurry."""
        size, viewer = chance.randrange(2**40), f"viewer-{chance.getrandbits(16)}"
        updated = connection.execute(
            "UPDATE images SET size_bytes = %s WHERE id = %s RETURNING id", (size, row_id)
        ).fetchone()
        if updated is not None:
            self._set_item(row_id, {"sizeBytes": {"N": str(size)}, OWN_ATTRIBUTE: {"S": viewer}})
            with self._guard:
                self._journal.own[row_id] = viewer

    def _delete(self, row_id: str, connection: "psycopg.Connection[Any]") -> None:
        connection.execute("DELETE FROM images WHERE id = %s", (row_id,))
        self._dynamodb.delete_item(TableName=self._table, Key=_key(row_id))
        with self._guard:
            self._journal.deleted.add(row_id)
            self._journal.versions.pop(row_id, None)
            self._journal.own.pop(row_id, None)
            self._ids.remove(row_id)

    def _set_item(self, row_id: str, values: dict[str, Any]) -> None:
        """Set attributes and raise the version, whatever of the item is there."""
        names = {f"#{index}": name for index, name in enumerate(values)}
        sets = ", ".join(f"#{index} = :{index}" for index in range(len(values)))
        reply = self._dynamodb.update_item(
            TableName=self._table,
            Key=_key(row_id),
            UpdateExpression=f"SET {sets} ADD #version :one",
            ExpressionAttributeNames={**names, "#version": "version"},
            ExpressionAttributeValues={
                **{f":{index}": value for index, value in enumerate(values.values())},
                ":one": {"N": "1"},
            },
            ReturnValues="UPDATED_NEW",
        )
        version = int(reply["Attributes"]["version"]["N"])
        with self._guard:
            if version <= self._journal.versions.get(row_id, 0):
                self._journal.lowered.append(row_id)
            self._journal.versions[row_id] = version


class _Ids:
    """The ids that there are, and those that are being written to; drawing, adding and removing one costs the same."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._drawn = list(ids)
        self._places = {row_id: place for place, row_id in enumerate(self._drawn)}
        self._held: set[str] = set()

    def hold(self, chance: random.Random) -> str | None:
        """One by lot; None if there is none, or somebody holds it."""
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


def _key(row_id: str) -> dict[str, Any]:
    return {"PK": {"S": f"IMAGE#{row_id}"}, "SK": {"S": "METADATA"}}


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1_000:03d}Z"
