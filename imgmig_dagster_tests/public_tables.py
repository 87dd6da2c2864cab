"""What becomes of the tables in which public applications keep files: each is drafted, migrated, verified and damaged.

`docs/public-tables.md` holds the results; `integration/test_public_tables.py` writes it. The tables are not part of
this repository: see the page.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from psycopg import sql

from imgmig_dagster.drafting.draft import draft
from imgmig_dagster.mapping.declaration.loading import Declaration, parse
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.self_test.run import SelfTestResult, run_self_test
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.partitions import partitions_of
from imgmig_dagster.state.failures import FailureLedger
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.steps.census import take_census
from imgmig_dagster.target.open_target import WritableTarget
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster.verification.verification_result import VerificationResult
from imgmig_dagster_tests.arrange import NO_WAIT, access
from imgmig_dagster_tests.runs import Run

PAGE: Final = Path(__file__).parents[1] / "docs" / "public-tables.md"
SCHEMAS: Final = Path(__file__).parents[2] / "shared" / "schemas"
TABLES: Final = {
    "activestorage": ("real_activestorage.active_storage_blobs",),
    "directus": ("real_directus.directus_files",),
    "discourse": ("real_discourse.uploads",),
    "django_filer": ("real_filer.filer_file", "real_filer.filer_image"),
    "ente": ("real_ente.files", "real_ente.object_keys"),
    "gitlab": ("real_gitlab.uploads", "real_gitlab.uploads_9ba88c4165"),
    "immich": ("real_immich.asset", "real_immich.asset_exif"),
    "lemmy": ("real_lemmy.local_image",),
    "mastodon": ("real_mastodon.media_attachments",),
    "medialibrary": ("real_medialibrary.media",),
    "nextcloud": ("real_nextcloud.oc_filecache",),
    "outline": ("real_outline.attachments",),
    "payload": ("real_payload.media",),
    "strapi": ("real_strapi.files",),
    "synapse": ("real_synapse.local_media_repository", "real_synapse.remote_media_cache"),
    "wagtail": ("real_wagtail.wagtailimages_image",),
}
CORRUPTIONS: Final = 150
_SEED: Final = 1
NULL: Final = {"NULL": True}


@dataclass(frozen=True)
class Outcome:
    """What became of one table by its draft, as it was drafted. `filled` are the fields that some item has."""

    place: str
    mapping: TableMapping
    filled: frozenset[str]
    partitions: str
    rows: int
    rejected: Counter[str]
    verified: Sequence[VerificationResult]
    census: CensusResult
    trial: SelfTestResult

    @property
    def match(self) -> int:
        """How many rows equal their items."""
        return sum(each.match for each in self.verified)

    @property
    def line(self) -> str:
        """The table's line of the page."""
        application, _, name = self.place.removeprefix("real_").partition(".")
        order = self.mapping.order.column or "identity"
        rejected = ", ".join(f"{rows} {why}" for why, rows in sorted(self.rejected.items())) or "0"
        types = ", ".join(sorted({each.type.value for each in self.mapping.fields}))
        census = self.census
        harmful = [each for each in self.trial.judgement.kinds if each.harmful]
        planted, named = (sum(getattr(each, what) for each in harmful) for what in ("planted", "named"))
        return (
            f"| {application}: `{name}` | `{order}`, {self.partitions} | nothing | {self.rows} | {rejected} "
            f"| {self.match} | {census.missing} missing, {census.orphans} orphan items, {census.differing} differ: "
            f"{census.other_entities} | {types} | {named} of {planted} |"
        )


class PublicTables:
    """The tables of one application, in a sandbox's PostgreSQL, on their way into one DynamoDB table."""

    def __init__(self, services: Any, file: str, target: str, folder: Path) -> None:
        self._services = services
        self._target = target
        self._folder = folder
        self._access = access(services.dynamodb_url)
        services.owner.execute((SCHEMAS / f"{file}.sql").read_text(encoding="utf-8"))
        schema = sql.Identifier(TABLES[file][0].partition(".")[0])
        for what in ("USAGE ON SCHEMA {}", "SELECT ON ALL TABLES IN SCHEMA {}"):
            services.owner.execute(sql.SQL(f"GRANT {what} TO imgmig_reader").format(schema))

    def examine(self, place: str) -> Outcome:
        """Draft, migrate, verify and count one table; then corrupt copies of its rows."""
        schema, _, table = place.partition(".")
        connections = ReadOnlyConnections(self._services.environment["IMGMIG_SOURCE_URL"])
        text = draft(connections, self._access, schema, table, self._target, "UTC").text
        declared = parse(text, place)
        windows = partitions_of(declared.partitions, declared.mapping.order).windows()
        state = LocalStateStore(self._folder / place)
        with SourceReader(connections, schema, table, declared.mapping) as reader:
            target = WritableTarget(access=self._access, table=self._target, mapping=declared.mapping, retry=NO_WAIT)
            held = reader.rows_per_window(windows)
            runs = [Run(reader, target, state, each, "run-1") for each in windows if each.partition in held]
            for run in runs:
                run.migrate()
            ledgers = [FailureLedger(state, run.window.partition).entries() for run in runs]
            return Outcome(
                place,
                reader.mapping,
                self._filled(reader.mapping),
                _partitions(declared),
                reader.count_all(),
                Counter(failure.code for ledger in ledgers for failure in ledger.values()),
                [run.verify() for run in runs],
                runs[0].look(lambda work: take_census(work, windows)),
                run_self_test(self._services.sandbox, _SEED, CORRUPTIONS, reader.mapping),
            )

    def _filled(self, mapping: TableMapping) -> frozenset[str]:
        pages = self._services.dynamodb.get_paginator("scan").paginate(TableName=self._target)
        items = [item for page in pages for item in page["Items"] if mapping.row_id(item) is not None]
        return frozenset(
            field.name for field in mapping.fields if any("NULL" not in (field.of(item) or NULL) for item in items)
        )


def _partitions(declared: Declaration) -> str:
    buckets = declared.partitions.buckets
    # Not how many windows: there are more next month.
    what = f"{buckets} buckets" if buckets else str(declared.partitions.grain)
    undated = ", and the rows without a time" if declared.mapping.order.has_undated else ""
    return f"{what}{undated}"
