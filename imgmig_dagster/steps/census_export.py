"""Reads the target of a census from an export to S3. An interrupted census finds its export again: it pays once.

`target.exports` holds the export itself, and compares its files with its manifest.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from imgmig_dagster.errors import TargetRefused
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record, save_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.writes import last_write
from imgmig_dagster.target.exports import Export, ExportDamaged, TableExports
from imgmig_dagster.verification.census_results import ORPHANS
from imgmig_dagster.verification.verification_result import Identity

_POLL_S: Final = 20.0
# DynamoDB knows a token for 8 hours. An older export is of a moment that nobody needs any more.
_KEEPS: Final = timedelta(hours=8)


@dataclass(frozen=True)
class ExportRequest:
    """What was asked for, kept until its census is taken. `writes` is as in a census, at the moment of the request."""

    token: str
    arn: str
    asked_at: str
    identity: Identity
    writes: Mapping[str, int | None]


async def ask_for_export(
    work: ReadingWork, exports: TableExports, identity: Identity, writes: Mapping[str, int | None]
) -> ExportRequest:
    """The export that an interrupted census asked for, if we have written nothing since; otherwise a new one.

    Raises:
        TargetError, SettingsError: see `TableExports`.
    """
    known = await asyncio.to_thread(load_record, work.state, names.CENSUS_EXPORT, ExportRequest)
    if known is None or not _counts(known, work.clock.now(), identity, writes):
        # Kept before it is sent: the next run after a crash sends the same token.
        known = ExportRequest(str(uuid.uuid4()), "", work.clock.now(), identity, writes)
        await asyncio.to_thread(save_record, work.state, names.CENSUS_EXPORT, known)
    if not known.arn:
        export = await asyncio.to_thread(exports.ask, identity.target, known.token)
        known = replace(known, arn=export.arn)
        await asyncio.to_thread(save_record, work.state, names.CENSUS_EXPORT, known)
    return known


async def completed(
    work: ReadingWork, exports: TableExports, request: ExportRequest, tell: Callable[[str], None]
) -> Export:
    """Wait until the export is complete: minutes, or tens of them.

    Raises:
        TargetRefused: it has failed, or is no longer known. The next census asks for another one.
        TargetError: see `TableExports`.
    """
    while True:
        try:
            export = await asyncio.to_thread(exports.find, request.arn)
        except ExportDamaged:
            await forget(work)
            raise
        if export.status == "COMPLETED":
            return export
        if export.status != "IN_PROGRESS":
            await forget(work)
            raise TargetRefused(
                f"the export {request.arn} has failed: {export.failure or export.status}. Run the census again, which "
                "asks for another one; if it fails again, look at the bucket of export_url in [target]"
            )
        tell(f"Census: DynamoDB exports the table since {request.asked_at}; this takes minutes, or tens of them")
        await work.clock.sleep(_POLL_S)


def begun_at(request: ExportRequest, as_of: str) -> str:
    """From when on the target was not looked at: an export may be of a moment before the request."""
    return min(request.asked_at, as_of, key=datetime.fromisoformat)


def writes_seen(store: StateStore, request: ExportRequest, as_of: str) -> dict[str, int | None]:
    """Our writes that the export holds, as in a census: None if one ended after the export's moment."""
    if begun_at(request, as_of) == request.asked_at:
        return dict(request.writes)

    def holds(partition: str) -> bool:
        last = last_write(store, None if partition == ORPHANS else partition)
        return last is None or (last.ended_at is not None and _is_after(as_of, last.ended_at))

    return {partition: number if holds(partition) else None for partition, number in request.writes.items()}


def _is_after(moment: str, other: str) -> bool:
    return datetime.fromisoformat(moment) > datetime.fromisoformat(other)


async def forget(work: ReadingWork) -> None:
    """Forget an export that was used, or can no longer be used."""
    await asyncio.to_thread(work.state.delete, names.CENSUS_EXPORT)


def _counts(request: ExportRequest, now: str, identity: Identity, writes: Mapping[str, int | None]) -> bool:
    age = datetime.fromisoformat(now) - datetime.fromisoformat(request.asked_at)
    is_same = (request.identity.target, request.identity.target_created_at) == (
        identity.target,
        identity.target_created_at,
    )
    # What we wrote since is not in it.
    return is_same and age < _KEEPS and dict(request.writes) == dict(writes) and None not in writes.values()
