"""`imgmig mapping draft` and `imgmig mapping check`: from a table to a declaration that fits."""

from pathlib import Path
from typing import Any

from imgmig_dagster_tests.orchestration.arrange import Platform, images_of
from imgmig_dagster_tests.orchestration.commands import Finished, Imgmig


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


def failed(finished: Finished) -> list[dict[str, Any]]:
    return [each for each in finished.document["diagnoses"] if each["health"] == "fail"]


def test_a_column_that_is_not_there_is_told_once_with_its_line(
    platform: Platform, imgmig: Imgmig, tmp_path: Path
) -> None:
    source, place = platform.source, tmp_path / "photos.yaml"
    source.insert(images_of(3, range(2)))
    text = imgmig("mapping", "draft", f"{source.schema}.{source.table}").stdout
    place.write_text(text.replace("userId: user_id", "userId: usr"))
    line = place.read_text().splitlines().index("  userId: usr") + 1

    told, others = failed(imgmig("mapping", "check", str(place), "--json"))

    assert (told["thing"], others["thing"]) == ("table", "columns")
    assert "user_id" in others["found"], "it is mapped by nothing now"
    assert "column usr is missing (the nearest name is user_id)" in told["found"]
    assert told["remedy"] == f"fix {place}:{line}, or the table in PostgreSQL"
    assert {"inheritance", "unique ids", "NULLs", "items"} <= set(told["not_looked_at"])
    shown = imgmig("mapping", "check", str(place)).stdout
    assert "not looked at for the same cause: inheritance, unique ids" in shown


def test_a_primary_key_that_is_gone_is_told_once(platform: Platform, imgmig: Imgmig, tmp_path: Path) -> None:
    source, place = platform.source, tmp_path / "photos.yaml"
    imgmig("mapping", "draft", f"{source.schema}.{source.table}", "--output", str(place))
    source.execute("ALTER TABLE {t} DROP CONSTRAINT images_pkey")

    (told,) = failed(imgmig("mapping", "check", str(place), "--json"))

    assert "has no unique index on id alone" in told["found"]
    assert f"fix {place}:" in told["remedy"]
    assert "items" in told["not_looked_at"]


def test_a_second_draft_says_what_collides_and_the_check_refuses_it(
    platform: Platform, imgmig: Imgmig, tmp_path: Path
) -> None:
    source, place = platform.source, tmp_path / "mappings" / "photos.yaml"
    source.execute("CREATE TABLE {t}_copy (LIKE {t} INCLUDING ALL)".replace("{t}_copy", f"{source.schema}.image"))
    source.execute(f"GRANT SELECT ON {source.schema}.image TO imgmig_reader")
    imgmig("mapping", "draft", f"{source.schema}.{source.table}", "--output", str(place))

    drafted = imgmig("mapping", "draft", f"{source.schema}.image")

    assert "# DECIDE: the draft: items of image can have the key of items of images" in drafted.stdout
    (tmp_path / "other.yaml").write_text(drafted.stdout)
    refused = imgmig("mapping", "check", str(tmp_path / "other.yaml"))
    assert refused.exit_code == 2
    assert "can have the key of items of images" in refused.stderr
