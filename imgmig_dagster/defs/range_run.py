"""A run over many partitions: each is recorded on its own, as soon as it is done.

`assets` and `repair_assets` work on one partition. This module chooses a run's partitions, records each in Dagster, and
ends the run when some have failed.

Dagster itself would record the partitions of a range only at its end, and their checks not by partition at all. So the
op records what Dagster makes of one partition's run, in the same order.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

import dagster as dg

from imgmig_dagster.concurrency import gather, to_its_end
from imgmig_dagster.defs.advice import advised
from imgmig_dagster.defs.claims import CLAIMS
from imgmig_dagster.defs.failed_partitions import FailedPartitions
from imgmig_dagster.errors import ImgmigError, SettingsError
from imgmig_dagster.local_runs import dagster_events as events
from imgmig_dagster.local_runs.partition_events import PartitionEvents
from imgmig_dagster.local_runs.runner import our_error
from imgmig_dagster.progress import Ended
from imgmig_dagster.stage.work import work_on

Opened = TypeVar("Opened")

AT_ONCE: Final = 4
"""Partitions worked on at a time: while one waits for a reply, another one uses the CPU."""
_NAMED: Final = 20
_BLOCKING: Final = frozenset((claim.asset, claim.name) for claim in CLAIMS if claim.blocking)


class PartitionsFailed(dg.Failure):
    """Partitions of a run ended early; its cause is the first one's error."""


class ChecksDoNotHold(dg.Failure):
    """Every partition of a run was finished, but blocking checks of some failed."""


@dataclass
class Part:
    """One partition of a run, and what is recorded of it in Dagster's `log`, by the run's `recorder`.

    `red` are the blocking checks that failed.
    """

    context: dg.AssetExecutionContext
    partition: str
    log: PartitionEvents
    recorder: Executor
    failed: FailedPartitions
    red: list[str] = field(default_factory=list)
    unrecorded: bool = False
    begun: bool = False
    ended: bool = False

    async def record(
        self,
        asset: str,
        facts: Mapping[str, Any],
        results: Sequence[dg.AssetCheckResult] = (),
        on_the_way: bool = False,
        version: str | None = None,
    ) -> None:
        """Record the partition's asset with `facts`, then its checks; completely, even if the run is ending.

        Of an asset that the run is not for, and that is re-established `on_the_way`, no check makes the partition red.
        `version` is that of the data: what was made of the same one stays up to date. By default each run's is another.
        """
        results = advised(results, self.failed.table, [self.partition])
        blocking = [found for found in results if (asset, found.check_name) in _BLOCKING and not on_the_way]
        red = [found.check_name or "" for found in blocking if not found.passed]
        await self._write(self._record, asset, facts, results, version, bool(red))
        self.red += red

    async def end(self) -> None:
        """Show the partition's current fault in Dagster, although it was materialized."""
        await self._write(self.failed.show, self.context, self.partition)
        self.ended = True

    def break_off(self) -> bool:
        """Show the fault after an interrupted run: it ends as canceled, which no partition shows.

        Returns whether the partition shows as failed.
        """
        if not self.begun or (self.ended and not self.red):
            return False
        return self.failed.show_broken_off(self.context, self.partition)

    async def _write(self, write: Callable[..., None], *what: Any) -> None:
        """Make the recorder write. A partition that Dagster shows as done is not reported as unfinished."""
        self.unrecorded = True
        await to_its_end(asyncio.get_running_loop().run_in_executor(self.recorder, write, *what))
        self.unrecorded = False

    def _record(
        self,
        asset: str,
        facts: Mapping[str, Any],
        results: Sequence[dg.AssetCheckResult],
        version: str | None,
        is_red: bool,
    ) -> None:
        name = self.failed.table.asset(asset)
        self.log.record(name, self.partition, facts, results, version)
        if is_red:
            events.announced_again(self.context, dg.AssetKey(name), self.partition)


OfPartition: TypeAlias = Callable[[Opened, Part], Coroutine[Any, Any, None]]


def over_range(
    context: dg.AssetExecutionContext,
    specs: Mapping[str, dg.AssetSpec],
    keys: Sequence[str],
    opening: AbstractAsyncContextManager[Opened],
    do: OfPartition[Opened],
    tell: Callable[[Ended], None],
    failed: FailedPartitions,
) -> Iterator[dg.DagsterEvent]:
    """Work on the partitions, a few at a time, and record each; then start what depends on them in this run.

    A partition's error ends that partition. An error that the others would meet too ends the run at once: a service
    that cannot be reached; settings, a target or a session with PostgreSQL that is refused. Recording that has begun is
    completed.

    Raises:
        PartitionsFailed: at the end, naming the partitions that failed, and why.
        ChecksDoNotHold: at the end, where only blocking checks failed.
    """
    ended: list[Ended] = []
    table = failed.table
    blocking = {(table.asset(asset), check) for asset, check in _BLOCKING}
    log = PartitionEvents(context, {table.asset(asset): spec for asset, spec in specs.items()}, blocking, keys)

    def end(each: Ended) -> None:
        ended.append(each)
        tell(each)

    # Dagster stores one event after another in any case: several threads would only need more connections.
    with ThreadPoolExecutor(1, "recorder") as recorder:
        parts = [Part(context, key, log, recorder, failed) for key in keys]
        try:
            work_on(opening, lambda work: _all(parts, lambda part: do(work, part), end))
        except BaseException:
            log.withdraw([part.partition for part in parts if part.break_off()])
            raise
    yield from log.written
    yield from events.logged(context)
    place = {key: number for number, key in enumerate(keys)}
    _raise_what_is_amiss(keys, sorted(ended, key=lambda each: place[each.partition]))
    yield from events.released(context)


def chosen(context: dg.AssetExecutionContext, named: Sequence[str]) -> list[str]:
    """The partitions of the run, in order; of them only those that are `named`, where any is.

    Raises:
        SettingsError: one of them is not of the run, or the run is of checks alone.
    """
    if not context.selected_asset_keys:
        raise SettingsError("a check is made with its asset: materialize the asset")
    keys, wanted = list(context.partition_keys), set(named)
    if strangers := sorted(wanted - set(keys)):
        raise SettingsError(
            f"the run config names partitions that the run is not of: {', '.join(strangers[:_NAMED])}. It is of "
            f"{keys[0]} to {keys[-1]}"
        )
    return [key for key in keys if key in wanted] if wanted else keys


class _EndsAll(Exception):
    """A partition ended by an error that the others would meet too."""


async def _all(
    parts: Sequence[Part], do: Callable[[Part], Coroutine[Any, Any, None]], end: Callable[[Ended], None]
) -> None:
    waiting, is_over = iter(parts), False

    async def one_after_another() -> None:
        nonlocal is_over
        for part in waiting:
            error = await _error_of(do(part), part)
            ends_all = error is not None and error.ends_all
            # An error that the others met too while the run ended is reported once.
            if not (ends_all and is_over):
                end(Ended(part.partition, tuple(part.red), error))
            if ends_all:
                is_over = True
                raise _EndsAll
            await asyncio.sleep(0)  # a run that ended while the partition was recorded must not begin another one

    with suppress(_EndsAll):
        await gather(one_after_another() for _ in range(min(AT_ONCE, len(parts))))


async def _error_of(work: Coroutine[Any, Any, None], part: Part) -> ImgmigError | None:
    try:
        await _whole(work, part)
    except Exception as error:
        found = our_error(error)
        if part.unrecorded or found is None:
            # Dagster's storage cannot be reached, for any partition.
            raise
        if found is not error:
            found.__cause__ = error
        return found
    return None


async def _whole(work: Coroutine[Any, Any, None], part: Part) -> None:
    part.begun = True
    try:
        await work
    except Exception:
        await part.end()
        raise
    await part.end()


def _raise_what_is_amiss(keys: Sequence[str], ended: Sequence[Ended]) -> None:
    errors = {each.partition: each.error for each in ended if each.error}
    red = {each.partition: list(each.red) for each in ended if each.red}
    if errors:
        came_to_an_end = {each.partition for each in ended}
        left = [key for key in keys if key not in came_to_an_end]
        stopping = next((error for error in errors.values() if error.ends_all), None)
        not_finished = f", and {len(left):,} were not begun or not finished" if left else ""
        raise PartitionsFailed(
            f"{len(errors):,} of {len(keys):,} partitions failed{not_finished}: "
            f"{_listed({key: str(error) for key, error in errors.items()})}. Every other one is recorded. Start the "
            "same run again: it resumes",
            metadata={
                "failed": {
                    **{key: type(error).__name__ for key, error in errors.items()},
                    **dict.fromkeys(left, type(stopping).__name__),
                },
                "checks_that_do_not_hold": red,
            },
        ) from (stopping or next(iter(errors.values())))
    if red:
        raise ChecksDoNotHold(
            f"blocking checks do not hold of {len(red):,} of {len(keys):,} partitions: "
            f"{_listed({key: ', '.join(names) for key, names in red.items()})}. Their pages say what to do",
            metadata={"checks_that_do_not_hold": red},
        )


def _listed(what: Mapping[str, str]) -> str:
    shown = [f"{key}: {why}" for key, why in list(what.items())[:_NAMED]]
    return "; ".join([*shown, f"and {len(what) - _NAMED:,} more"] if len(what) > _NAMED else shown)
