"""The rehearsal of staging, small: every command for real, while an application writes."""

import json
from pathlib import Path

from imgmig_dagster_tests.orchestration.commands import CommandServer


def test_the_rehearsal_passes_and_leaves_nothing_running(commands: CommandServer, tmp_path: Path) -> None:
    folder = tmp_path / "sandbox" / "rehearsal"
    environment = {"IMGMIG_SANDBOX_DIR": str(folder.parent)}
    # What this machine happens to export is not staging's: nothing listens there.
    environment |= {"IMGMIG_SOURCE_URL": "postgresql://127.0.0.1:9/images", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    rehearsal = commands.start(
        "rehearse", "--images", "60", "--rate", "5", environment=environment, folder=tmp_path
    ).wait(600)
    assert rehearsal.exit_code == 0, rehearsal.stdout + rehearsal.stderr

    shown = [line.removeprefix("$ imgmig ") for line in rehearsal.stdout.splitlines() if line.startswith("$ ")]
    assert [line.split(" --")[0] for line in shown] == [
        *(
            "doctor",
            "dry-run",
            "migrate",
            "verify",
            "spot-check",
            "spot-check",
            "report",
            "certificate show latest",
            "migrate",
        )
    ]
    # The application writes until the certificate has been shown.
    _while_it_writes, certificate, afterwards = rehearsal.stdout.partition("$ imgmig certificate show latest")
    assert certificate
    assert "The application has stopped." in afterwards
    assert "none of it was overwritten" in afterwards
    assert "PASS. Migrating once more changed none of" in rehearsal.stdout
    report = json.loads((folder / "state/staging/images/reports/summary.json").read_text())
    assert (report["verdict"], report["cutover"], report["blockers"], report["cutover_blockers"]) == (
        "PASS",
        "READY",
        [],
        [],
    )
    assert "loopback" in json.dumps(report), "the report shows that TLS was not asked for"
    assert list((folder / "servers").iterdir()) == [folder / "servers" / "lock"], "servers and their data are gone"
