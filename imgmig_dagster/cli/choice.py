"""Chooses the partitions that a command works on, and counts their rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state import names
from imgmig_dagster.state.index import at_a_glance
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.writes import last_write
from imgmig_dagster.verification.changed_windows import CountsRows, occupied_partitions
from imgmig_dagster.window import Window, dated, span


class RowsCounted:
    """The source's rows by partition. Each partition is counted once in a command, and only if needed.

    `windows` are all partitions of the table, in order.
    """

    def __init__(self, source: SourceReader, windows: Sequence[Window]) -> None:
        self._source = source
        self._windows = {window.partition: window for window in windows}
        self._rows: dict[str, int] = {}

    def rows_per_window(self, windows: Sequence[Window]) -> Mapping[str, int]:
        """How many rows each of these windows holds, by partition key; empty ones are left out."""
        unknown = [window.partition for window in windows if window.partition not in self._rows]
        for stretch in adjoining([*self._windows.values()], unknown):
            found = self._source.rows_per_window([self._windows[key] for key in stretch])
            self._rows |= {key: found.get(key, 0) for key in stretch}
        return {window.partition: rows for window in windows if (rows := self._rows[window.partition])}


def chosen_partitions(
    windows: Sequence[Window],
    source: CountsRows,
    state: StateStore,
    keys: Sequence[str] | None,
    first: str | None,
    last: str | None,
    set_in: str,
) -> list[str]:
    """The keys of the partitions that ``--partition``, ``--from`` and ``--to`` name, in order.

    Without ``--partition``, only partitions that hold rows or of which something is known. `set_in` tells where the
    first partition is set.

    Raises:
        SettingsError: an option names no partition, both kinds are given, or nothing is there to work on.
    """
    if keys and (first or last):
        raise SettingsError("give --partition, or --from and --to, not both")
    if keys:
        return sorted({_named(windows, key, set_in).partition for key in keys})
    found = occupied_partitions(source, state, _between(windows, first, last, set_in))
    if not found:
        # Nothing to do is not a success: more likely the wrong table, or the wrong first partition.
        advice = f". An earlier first one is set by {set_in}" if set_in else ""
        raise SettingsError(f"no partition holds a row there: they go from {_ends(windows)}{advice}")
    return found


def _between(windows: Sequence[Window], first: str | None, last: str | None, set_in: str) -> Sequence[Window]:
    """The windows from one to the other; without names all of them, including that of rows without a time."""
    if not (first or last):
        return windows
    start, end = span(windows)
    start = _window_of_day(windows, first, "--from", set_in).start if first else start
    end = _window_of_day(windows, last, "--to", set_in).end if last else end
    if start >= end:
        raise SettingsError("--from is later than --to")
    return [each for each in dated(windows) if start <= each.start and each.end <= end]


def adjoining(windows: Sequence[Window], keys: Sequence[str]) -> list[list[str]]:
    """The keys, in order, in stretches of adjoining partitions."""
    chosen = set(keys)
    stretches: list[list[str]] = [[]]
    for window in windows:
        if window.partition in chosen:
            stretches[-1].append(window.partition)
        elif stretches[-1]:
            stretches.append([])
    return [stretch for stretch in stretches if stretch]


def refuse_beside_another(state: StateStore, keys: Sequence[str]) -> None:
    """Refuse to start while another run works on these partitions: each would end with errors about the other's.

    Raises:
        PartitionBusy: another run writes to one of these partitions.
    """
    known = at_a_glance(state, keys)
    begun = {key: last.began_at for key in keys if (last := last_write(known, key)) and last.is_open}
    if begun:
        # An interrupted run holds no lock. One look only: the lease of a dead process lasts half a minute.
        with state.exclusive(names.write_lock(max(begun, key=lambda key: begun[key]))):
            pass


def _named(windows: Sequence[Window], name: str, set_in: str) -> Window:
    """The window with that key, or the one that holds that day."""
    try:
        return _window_of_day(windows, name, "--partition", set_in)
    except _NoDate:
        raise SettingsError(
            f"there is no partition {name!r}: they go from {_ends(windows)}. A day in a partition, such as 2024-03-15, "
            "names it too"
        ) from None


class _NoDate(SettingsError):
    """Neither the key of a partition nor a day."""


def _window_of_day(windows: Sequence[Window], day: str, option: str, set_in: str) -> Window:
    for window in windows:
        if window.partition == day:
            return window
    try:
        moment = datetime.fromisoformat(day)
    except ValueError:
        raise _NoDate(f"{option} {day!r} is no date such as 2024-03-01") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    for window in windows:
        if window.start <= moment < window.end and _is_of_days(window):
            return window
    is_early = set_in and moment < span(windows)[0]
    advice = f". An earlier first one is set by {set_in}" if is_early else ""
    raise SettingsError(f"{option} {day} is in no partition: they go from {_ends(windows)}{advice}")


def _is_of_days(window: Window) -> bool:
    """Whether its bounds are those of days, and not of a bucket."""
    return window.partition == window.start.date().isoformat()


def _ends(windows: Sequence[Window]) -> str:
    return f"{windows[0].partition} to {windows[-1].partition}"
