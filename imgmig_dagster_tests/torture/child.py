"""What a process of the campaign runs: one pass, to its end or to a point where it dies."""

import json
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.state.lease import LEASE_SECONDS
from imgmig_dagster.state.s3 import S3StateStore
from imgmig_dagster.state.store import LocalStateStore, StateStore
from imgmig_dagster_tests.arrange import Migration, Source, Target, access
from imgmig_dagster_tests.torture.points import Point, Trap

PAGE_SIZE = 250
CODE = "import sys; from imgmig_dagster_tests.torture.child import main; main(sys.argv[1])"


@dataclass(frozen=True)
class Place:
    """Where the state is: a folder, or a prefix of a bucket at `s3_url`.

    A short lease shortens the wait of a run that takes over from a dead process.
    """

    folder: str | None = None
    s3_url: str | None = None
    bucket: str = ""
    prefix: str = ""
    lease_seconds: float = LEASE_SECONDS

    def open(self) -> StateStore:
        if self.folder is not None:
            return LocalStateStore(Path(self.folder))
        client = access(str(self.s3_url)).client("s3")
        return S3StateStore(client, self.bucket, self.prefix, lease_seconds=self.lease_seconds)


@dataclass(frozen=True)
class Orders:
    """One run: of what, how, and where it dies (or stops)."""

    source_url: str
    schema: str
    table: str
    target: str
    target_url: str
    place: Place
    write_mode: str
    run_id: str
    point: str | None = None
    nth: int = 1
    signal: int = signal.SIGKILL

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def main(orders_json: str) -> None:
    """Carry out the orders, and print what came of them."""
    given = json.loads(orders_json)
    orders = Orders(**{**given, "place": Place(**given["place"])})
    if orders.point is not None:
        Trap(Point(orders.point), orders.nth, signal.Signals(orders.signal)).set()
    migration = Migration(
        Source(None, orders.source_url, orders.schema, orders.table),  # type: ignore[arg-type]
        Target(None, orders.target, orders.target_url),
        orders.place.open(),
    )
    try:
        result = migration.migrate(write_mode=WriteMode(orders.write_mode), run_id=orders.run_id, page_size=PAGE_SIZE)
    except ImgmigError as error:
        _say({"error": type(error).__name__, "message": str(error)})
        raise SystemExit(error.exit_code) from None
    _say({**asdict(result), "outcomes": dict(result.outcomes)})


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
