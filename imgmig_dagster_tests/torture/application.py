"""A migration beside an application that writes to both sides as fast as it can, and what came of it."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import psycopg

from imgmig_dagster.sandbox.dual_writer import OWN_ATTRIBUTE, DualWriter, Journal
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import Migration, Source, Target, image
from imgmig_dagster_tests.conftest import create_table
from imgmig_dagster_tests.fault_proxy import FaultProxy
from imgmig_dagster_tests.torture.ground import Ground

SETTLE_SECONDS = 0.5
_FOR_EVER_S = 3_600.0
_HOT_ROWS = 10_000

Worked = TypeVar("Worked")
Connect = Callable[[], "psycopg.Connection[Any]"]


@dataclass
class Beside:
    """What the application wrote in `seconds`, what the passes counted, and what must not be."""

    written: Mapping[str, int]
    seconds: float
    beside: Mapping[str, int]
    after: Mapping[str, int]
    retried: Mapping[str, int]
    violations: list[str] = field(default_factory=list)


def migrate_beside_the_application(migration: Migration, connect: Connect, page_size: int) -> Beside:
    """One pass while the application writes, and once it stops another one, for rows committed behind the cursor."""
    run = replace(migration.run(page_size=page_size), recheck_delay_s=SETTLE_SECONDS)
    with run.source:
        started = time.monotonic()
        journal, beside = beside_the_application(migration.target, connect, math.inf, run.migrate)
        seconds = time.monotonic() - started
        after = run.migrate()
        retried = run.retry_failures()
    found = Beside(journal.counts, seconds, beside.outcomes, after.outcomes, retried.outcomes)
    found.violations += _undone(journal, migration.target)
    verified, census = migration.verify(), migration.census()
    if not verified.passed:
        found.violations.append(f"verification: {verified.verdicts} {verified.by_attribute}")
    if not census.passed:
        found.violations.append(f"census: {census}")
    return found


def beside_the_application(
    target: Target, connect: Connect, rate: float, work: Callable[[], Worked]
) -> tuple[Journal, Worked]:
    """Do the work while the application writes to the same rows and items; what both came to."""
    application = DualWriter(connect, target.client, target.name)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(application.run, rate, _FOR_EVER_S, stop)
        try:
            result = work()
        finally:
            stop.set()
        return writing.result(), result


def _undone(journal: Journal, target: Target) -> list[str]:
    """What of the application's writes is not in the table any more."""
    items = {key.removeprefix("IMAGE#"): item for key, item in target.items().items()}
    lost = [row_id for row_id in journal.versions if row_id not in items]
    lowered = [
        row_id
        for row_id, version in journal.versions.items()
        if row_id in items and int(items[row_id]["version"]["N"]) < version
    ]
    own = {row_id: items.get(row_id, {}).get(OWN_ATTRIBUTE, {}).get("S") for row_id in journal.own}
    faults = {
        "resurrected": [row_id for row_id in journal.deleted if row_id in items],
        "lost": lost,
        "version lowered": [*journal.lowered, *lowered],
        "attribute lost": [row_id for row_id, viewer in journal.own.items() if own[row_id] != viewer],
    }
    return [f"{fault}: {len(ids)}, such as {ids[:3]}" for fault, ids in faults.items() if ids]


def hot_rows(ground: Ground) -> Beside:
    """10,000 rows, all of which the application writes to."""
    owner = ground.source.owner
    owner.execute("CREATE SCHEMA hot")
    owner.execute("CREATE TABLE hot.images (LIKE images INCLUDING ALL)")
    owner.execute("GRANT USAGE ON SCHEMA hot TO imgmig_reader")
    owner.execute("GRANT SELECT ON hot.images TO imgmig_reader")
    source = Source(owner, ground.source.url, "hot", "images")
    source.insert(image(number) for number in range(_HOT_ROWS))
    create_table(ground.dynamodb, "hot")
    with FaultProxy(ground.url) as proxy:
        target = Target(ground.dynamodb, "hot", proxy.url)
        migration = Migration(source, target, LocalStateStore(ground.folder / "hot"))
        return migrate_beside_the_application(migration, lambda: connection_of(ground.environment, "hot"), 1_000)


def connection_of(environment: Mapping[str, str], schema: str) -> psycopg.Connection[Any]:
    """A connection of the application, whose table is in that schema."""
    return psycopg.connect(
        host=environment["PGHOST"],
        port=environment["PGPORT"],
        user=environment["PGUSER"],
        dbname=environment["PGDATABASE"],
        options=f"-c search_path={schema}",
    )
