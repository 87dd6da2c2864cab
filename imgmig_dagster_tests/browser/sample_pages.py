"""Renders the pages that the browser tests look at: ``python -m imgmig_dagster_tests.browser.sample_pages FOLDER``.

The browser's virtual environment has neither this package nor what it needs: it gets files.
"""

import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from imgmig_dagster.reporting.model import SummaryReport
from imgmig_dagster.reporting.render import render_html, render_spot_check
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.state.failures import Failure
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.traffic import TrafficRecord
from imgmig_dagster.verification.pictures import ShownPictures
from imgmig_dagster.verification.verification_result import Mismatch
from imgmig_dagster.window import Window
from imgmig_dagster_tests.unit.reporting.stage_state import FACTS, StageState, pair, spot_check

HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\">.jpg",
    "<script>document.title='owned'</script>.png",
    "</td></table><style>body{display:none}</style>",
    "abc\u202egpj.exe",
    "javascript:alert(1)",
    "\u0645\u0631\u062d\u0628\u0627 \U0001f469\u200d\U0001f680 caf\u00e9.png",
    "a" * 400,
)
_SETTINGS = {"write_mode": "conditional", "page_size": "1000", "requests_in_flight": "10", "settle_seconds": "2.0"}


def _traffic(number: int, reads: int, writes: int) -> TrafficRecord:
    """Requests of one partition; in the middle of the stage they are slow, and throttled."""
    is_slow = number in (9, 10, 11)
    median, slower, slowest = ("12", "39", "180") if is_slow else ("2.7", "4.7", "6.8" if number % 4 else "10")
    start = int(datetime(2025, 1, 2, 10, tzinfo=timezone.utc).timestamp())
    return TrafficRecord(
        {median: reads, slower: reads // 10, slowest: reads // 50},
        {slower: writes, slowest: writes // 10, "220": writes // 50},
        {str(start + 60 * minute): 3 * minute % 11 + 1 for minute in range(12)} if is_slow else {},
    )


def passing(store: LocalStateStore) -> SummaryReport:
    """Twenty-four months, every row of them verified."""
    state = StageState(store)
    for number in range(24):
        month = _month(number)
        if number == 5:
            state.window(month, 0)
            continue
        rows = 15_432 + 4_000 * (number % 7) - 300 * number
        state.window(month, rows)
        state.migrate(
            month, {"inserted": rows - 40, "identical": 31, "completed": 9}, traffic=_traffic(number, rows // 100, rows)
        )
        state.verify(month, {"match": rows}, traffic=_traffic(number, rows // 100, 0))
    state.census()
    state.spot_check(*(pair(f"id-{number}") for number in range(50)))
    return state.report(replace(FACTS, settings=_SETTINGS))


def failing(store: LocalStateStore) -> SummaryReport:
    """Hostile names in every place that shows text from the database, and values shown."""
    state = StageState(store)
    for number in range(3):
        state.clean(_month(number), 9 + number)
    month, rows = _month(3), 1_000
    state.window(month, rows)
    state.migrate(month, {"inserted": rows - 10, "failed": 3, "rejected": 7}, traffic=_traffic(9, 200, 1_000))
    fields = ("originalFilename", "userId", "originalFilename", "s3Key", "width", "updatedAt", "originalFilename")
    state.verify(
        month,
        {"match": rows - 10, "mismatch": 7, "missing": 3},
        [
            *(
                Mismatch(f"id-{name}", RowVerdict.MISMATCH, field, name, f"{name}!")
                for name, field in zip(HOSTILE, fields, strict=True)
            ),
            *(Mismatch(f"id-{number}", RowVerdict.MISSING) for number in (10, 9, 101)),
        ],
        undeclared={HOSTILE[0]: 12},
    )
    state.fail(
        month, *(Failure(name, "original_filename", "rejected", name, permanent=True, value=name) for name in HOSTILE)
    )
    state.census(missing=3, samples={"missing": list(HOSTILE)})
    state.spot_check(*(pair(name, ("originalFilename", name, f"{name}!", False)) for name in HOSTILE))
    return state.report(replace(FACTS, settings={**_SETTINGS, "show_values": "True"}, show_values=True))


def write_pages(folder: Path) -> None:
    """The pages as files of the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in (("passing", passing), ("failing", failing)):
        with TemporaryDirectory() as state:
            (folder / f"{name}.html").write_text(render_html(make(LocalStateStore(Path(state)))), encoding="utf-8")
    pairs = [pair(name, ("originalFilename", name, f"{name}!", False)) for name in HOSTILE]
    page = render_spot_check(spot_check(*pairs), "staging", ShownPictures())
    (folder / "spot-check.html").write_text(page, encoding="utf-8")


def _month(number: int) -> Window:
    start = datetime(2023 + number // 12, number % 12 + 1, 1, tzinfo=timezone.utc)
    end = datetime(2023 + (number + 1) // 12, (number + 1) % 12 + 1, 1, tzinfo=timezone.utc)
    return Window(start.date().isoformat(), start, end)


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
