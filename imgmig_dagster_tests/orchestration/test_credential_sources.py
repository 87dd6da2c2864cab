"""Commands whose credentials come from a program: it is asked once a command, and says when a login is needed."""

from pathlib import Path

import pytest

from imgmig_dagster_tests.arrange import image
from imgmig_dagster_tests.orchestration.arrange import Platform
from imgmig_dagster_tests.orchestration.commands import CommandServer

PROGRAM = """#!/bin/sh
echo asked >> '{folder}/asked'
if [ $(wc -l < '{folder}/asked') -gt {times} ]; then echo 'hunter2 is wrong' >&2; exit 1; fi
printf '{{"Version":1,"AccessKeyId":"A","SecretAccessKey":"B","SessionToken":"t","Expiration":"%s"}}' \
"$(date -u -d '+{lives} seconds' +%Y-%m-%dT%H:%M:%SZ)"
"""


@pytest.fixture
def folder(platform: Platform, tmp_path: Path) -> Path:
    """Rows in three partitions, and a profile whose program is in this folder."""
    months = ("2024-01-05", "2024-02-05", "2024-03-05")
    platform.source.insert(image(number, created_at=f"{day}T00:00:00Z") for number, day in enumerate(months))
    (tmp_path / "aws-config").write_text(f"[profile program]\ncredential_process={tmp_path}/program.sh\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        platform.environment.pop(name)
    platform.set(AWS_PROFILE="program", AWS_CONFIG_FILE=str(tmp_path / "aws-config"))
    return tmp_path


def program(folder: Path, lives: int, times: int) -> None:
    path = folder / "program.sh"
    path.write_text(PROGRAM.format(folder=folder, lives=lives, times=times))
    path.chmod(0o700)


def test_a_command_over_three_partitions_asks_once(commands: CommandServer, platform: Platform, folder: Path) -> None:
    program(folder, lives=3_600, times=1)

    finished = commands.run("migrate", environment=platform.environment, folder=folder)

    assert finished.exit_code == 0, finished.stderr
    assert len(platform.target.items()) == 3
    assert (folder / "asked").read_text().count("asked") == 1


def test_a_program_that_fails_for_good_ends_the_command_with_one_line_and_a_login(
    commands: CommandServer, platform: Platform, folder: Path
) -> None:
    program(folder, lives=3_600, times=0)

    finished = commands.run("migrate", environment=platform.environment, folder=folder)

    assert finished.exit_code == 3
    shown = " ".join((finished.stdout + finished.stderr).split())
    assert shown.count("log in again, and give the same command") == 1
    assert "hunter2" not in shown
    assert "unexpected" not in shown
    assert "Traceback" not in shown
