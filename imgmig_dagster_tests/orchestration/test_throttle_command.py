"""`imgmig throttle` says which run holds which share of the rate."""

import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from imgmig_dagster.errors import StateChanged
from imgmig_dagster.fair_rate import Usage
from imgmig_dagster.state.rate_shares import Member
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform, images_of
from imgmig_dagster_tests.orchestration.commands import CommandServer, Imgmig, wait_until


@pytest.fixture
def imgmig(imgmig: Imgmig, platform: Platform) -> Imgmig:
    """Runs a command on the test's stage, whose runs share 600 units a second."""
    platform.set(IMGMIG_WRITE_RATE="600")
    return imgmig


def shares(imgmig: Imgmig) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = imgmig("throttle", "--json").document["shares"]
    return found


def test_a_command_shares_the_rate_with_another_run_and_is_shown_while_it_runs(
    platform: Platform, imgmig: Imgmig, commands: CommandServer, tmp_path: Path
) -> None:
    platform.source.insert(images_of(3, range(5)))
    assert imgmig("throttle", "pause").exit_code == 0
    other = Member(LocalStateStore(tmp_path / "state" / "dev"), "another-run")

    def share_equally() -> bool:
        with suppress(StateChanged):
            other.commit(other.plan(Usage(), 600))
        return [share["rate"] for share in shares(imgmig)] == pytest.approx([300, 300])

    running = commands.start("migrate", "--partition", MARCH, environment=platform.environment, folder=tmp_path)
    try:
        wait_until(share_equally, 60)
        shown, during = imgmig("throttle"), shares(imgmig)
    finally:
        assert imgmig("throttle", "resume").exit_code == 0
    finished = running.wait()
    assert finished.exit_code == 0

    assert [share["host"] for share in during] == [socket.gethostname()] * 2
    assert "another-run" in {share["run"] for share in during}
    first, pause, *lines = shown.stdout.splitlines()
    assert first == "stage dev: paused, ceiling 600 units/s of all runs together"
    assert re.fullmatch(
        rf"  paused by \S+@{socket.gethostname()} at 20.* UTC: imgmig throttle resume --stage dev", pause
    )
    told = finished.stdout.splitlines()
    assert told[0] == pause.strip(), "the command that waits says so too"
    assert "no longer paused" in told
    for share, line in zip(during, lines, strict=True):
        assert line.startswith(f"  run {share['run']} on {share['host']}: may use 300 units/s, used ")
        assert f"since {share['since']}, last renewed " in line
    assert [share["run"] for share in shares(imgmig)] == ["another-run"]
