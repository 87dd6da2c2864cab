"""What has changed in the schema of either side since the first migration: told by commands, runs and certificate."""

from imgmig_dagster.state import names
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform, images_of
from imgmig_dagster_tests.orchestration.commands import Imgmig

RETYPED = "the source's column width was integer, and is bigint"


def test_a_retyped_column_is_named_from_then_on_and_keeps_the_verdict(platform: Platform, imgmig: Imgmig) -> None:
    platform.source.insert(images_of(3, range(5)))
    assert "changed since the first migration" not in imgmig("migrate").stdout
    platform.source.execute("ALTER TABLE {t} ALTER width TYPE bigint")

    assert RETYPED in imgmig("migrate", "--partition", MARCH).stdout
    verified = imgmig("verify", "--partition", MARCH, "--json")
    assert verified.document["schema"]["changes"] == [RETYPED]
    whole = imgmig("verify")
    assert (whole.exit_code, RETYPED in whole.stdout) == (0, True)
    shown = imgmig("certificate", "show")
    assert "Verdict: PASS" in shown.stdout
    assert RETYPED in shown.stdout
    for name in (names.SUMMARY_HTML, names.SUMMARY_MARKDOWN):
        page = platform.state.read(names.report(name))
        assert page is not None
        assert b"Changed on either side since the first migration" in page.content
    log = platform.state.read(names.LOG)
    assert log is not None
    assert RETYPED in log.content.decode()


def test_a_lost_unique_index_is_never_pass(platform: Platform, imgmig: Imgmig) -> None:
    platform.source.insert(images_of(3, range(5)))
    assert imgmig("migrate").exit_code == 0
    platform.source.execute("ALTER TABLE {t} DROP CONSTRAINT images_pkey")

    finished = imgmig("verify")

    assert finished.exit_code != 0
    assert "unique index" in finished.stdout + finished.stderr
