"""What a person sees while partitions are worked on, on a terminal and elsewhere."""

import contextlib
import os
import pty
import re
from collections.abc import Callable

import pytest

from imgmig_dagster.cli.console import Output, worst_of
from imgmig_dagster.cli.progress_bars import Watched
from imgmig_dagster.errors import CheckpointRefused
from imgmig_dagster.progress import Ended, Progress


def on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
    columns: int = 120,
    work: Callable[[Watched], None] | None = None,
) -> str:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        with Output(json=False).progress("Migrated", 300) as shown:
            (work or work_on_three)(shown)
    screen = b""
    # Linux ends what is left of a closed terminal by an error.
    with contextlib.suppress(OSError):
        while part := os.read(ours, 100_000):
            screen += part
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.decode())


def work_on_three(shown: Watched) -> None:
    for partition in ("2024-02-01", "2024-03-01", "2024-04-01"):
        shown.progress(Progress("Migrated", partition, 40, 100, 12.0))
    shown.end(Ended("2024-03-01", error=CheckpointRefused("partition 2024-03-01: torn")))
    shown.end(Ended("2024-04-01", red=("no_failed_items",)))
    shown.progress(Progress("Migrated", "2024-02-01", 100, 100, 12.0))


def test_on_a_terminal_each_partition_under_way_has_a_line_and_what_is_amiss_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = on_a_terminal(monkeypatch)
    assert "failed: partition 2024-03-01: torn" in screen
    assert "does not hold: no_failed_items" in screen
    last_frame = screen.rpartition("Migrated")[2]
    assert "180/300" in last_frame
    assert "100/100" in last_frame
    assert "2024-03-01" not in last_frame, "it is no longer under way"


def work_on_millions(shown: Watched) -> None:
    shown.progress(Progress("Migrated", "2024-02-01", 12_345_678, 98_765_432, 11_000.0, failures=1, retries=14))
    shown.notice("paused by ann@build-7 at 2026-11-26 15:41:00 UTC: imgmig throttle resume --stage dev")


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_neither_figures_nor_the_time_left_are_cut_on_a_narrow_screen(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    screen = on_a_terminal(monkeypatch, columns, work_on_millions)
    shown = re.findall(r"12345678/98765432 (\S+) ETA (\S+) ", screen)
    assert {tuple(map(len, times)) for times in shown} == {(len("0:00:00"), len("-:--:--"))}


def test_a_line_about_the_run_stays_on_the_screen_and_can_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_a_terminal(monkeypatch, 60, work_on_millions)
    assert "paused by ann@build-7 at 2026-11-26 15:41:00 UTC: imgmig throttle resume --stage dev" in screen


def test_elsewhere_it_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Output(json=False).progress("Migrated", 300) as shown:
        shown.notice("no longer paused")
    assert capsys.readouterr().out == "no longer paused\n"


def test_elsewhere_there_are_plain_lines_of_all_together(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgmig_dagster.cli.console._PLAIN_LINE_INTERVAL_S", 0.0)
    with Output(json=False).progress("Migrated", 300) as shown:
        work_on_three(shown)
    assert capsys.readouterr().out.splitlines()[-1] == "Migrated 180/300 rows (60.0%), 2024-02-01: 12/s"


def test_each_phase_of_a_census_has_lines_that_say_how_long_it_still_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgmig_dagster.cli.console._PLAIN_LINE_INTERVAL_S", 0.0)
    with Output(json=False).phases() as shown:
        shown.progress(Progress("Read", "census", 0, 6_000, 0.0, noun="rows and items"))
        shown.progress(Progress("Read", "census", 2_000, 6_000, 50.0, noun="rows and items"))
        shown.progress(Progress("Compared", "census", 3_000, 6_000, 500.0, failures=2))
    assert capsys.readouterr().out.splitlines() == [
        "Read 0/6000 rows and items (0.0%), 0/s",
        "Read 2000/6000 rows and items (33.3%), 50/s, 0:01:20 left",
        "Compared 3000/6000 rows (50.0%), 500/s, 2 failures, 0:00:06 left",
    ]


@pytest.mark.parametrize(
    ("codes", "worst"), [([0, 0], 0), ([0, 4], 4), ([4, 1], 1), ([2, 4, 3], 3), ([1, 3, 2], 3), ([], 0)]
)
def test_another_run_at_work_hides_nothing_worse(codes: list[int], worst: int) -> None:
    assert worst_of(codes) == worst
