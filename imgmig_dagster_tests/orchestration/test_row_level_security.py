"""Behind row-level security no command reads, none deletes, and no certificate says PASS."""

import json

from imgmig_dagster_tests.integration.test_row_level_security import hide_half
from imgmig_dagster_tests.orchestration.arrange import Platform, images_of
from imgmig_dagster_tests.orchestration.commands import Imgmig


def test_every_command_is_refused_with_the_remedy(platform: Platform, imgmig: Imgmig) -> None:
    rows = images_of(2, range(20))
    platform.source.insert({**row, "width": None if number % 2 else 5} for number, row in enumerate(rows))
    platform.set(AWS_ENDPOINT_URL_STS=platform.target.url)
    assert imgmig("migrate").exit_code == 0
    hide_half(platform.source)

    for arguments in (["dry-run"], ["migrate"], ["verify"], ["repair", "--apply", "--delete-orphans"], ["report"]):
        finished = imgmig(*arguments)
        assert finished.exit_code == 2, arguments
        # A command says so before its run, or the run does: whichever reads first.
        told = finished.stdout + finished.stderr
        assert "error: row-level security of table images hides rows from role imgmig_reader" in told
        assert "ALTER ROLE imgmig_reader BYPASSRLS" in told
    doctor = imgmig("doctor", "--json")
    assert doctor.exit_code == 1
    (found,) = [each for each in json.loads(doctor.stdout)["diagnoses"] if each["thing"] == "row-level security"]
    assert found["health"] == "fail"

    certificate = imgmig("certificate", "show", "latest")
    assert "PASS" not in certificate.stdout
    assert len(platform.target.items()) == 20
