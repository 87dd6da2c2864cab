"""`imgmig mapping draft` and `imgmig mapping check`: from a table to a declaration that fits."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imgmig_dagster_tests.orchestration.arrange import Platform, images_of
from imgmig_dagster_tests.orchestration.commands import CommandServer, Finished

Imgmig = Callable[..., Finished]


@pytest.fixture
def imgmig(commands: CommandServer, platform: Platform, tmp_path: Path) -> Imgmig:
    def run(*arguments: str) -> Finished:
        return commands.run(*arguments, environment=platform.environment, folder=tmp_path)

    return run


def test_a_draft_fits_as_it_is_and_is_not_written_over(platform: Platform, imgmig: Imgmig, tmp_path: Path) -> None:
    source = platform.source
    source.insert(images_of(3, range(5)))
    source.execute("ALTER TABLE {t} ADD album int[], ADD details jsonb DEFAULT '[]', ALTER created_at SET NOT NULL")
    place = tmp_path / "mappings" / "photos.yaml"

    drafted = imgmig("mapping", "draft", f"{source.schema}.{source.table}", "--output", str(place))

    assert drafted.exit_code == 0
    assert f"imgmig mapping check {place} --stage dev" in drafted.stdout
    assert "album: {column: album, as: list}" in place.read_text()
    checked = imgmig("mapping", "check", str(place), "--all")
    assert (checked.exit_code, "5 rows were made items" in checked.stdout) == (0, True)
    assert "0 fail" in checked.stdout
    again = imgmig("mapping", "draft", f"{source.schema}.{source.table}", "--output", str(place))
    assert again.exit_code == 2
    assert "is there already" in again.stderr


def test_what_does_not_fit_ends_with_1_and_says_what_to_do(platform: Platform, imgmig: Imgmig, tmp_path: Path) -> None:
    source = platform.source
    source.insert(images_of(3, range(2)))
    place = tmp_path / "photos.yaml"
    place.write_text(
        imgmig("mapping", "draft", f"{source.schema}.{source.table}").stdout.replace(
            "  width: {column: width, as: integer}\n", "  width: {column: s3_key, as: integer}\n"
        )
    )

    finished = imgmig("mapping", "check", str(place), "--json")

    assert finished.exit_code == 1
    told = [each["found"] for each in finished.document["diagnoses"] if each["health"] == "fail"]
    assert "s3_key" in told[0]
