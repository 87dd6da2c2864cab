"""``imgmig mapping show``: the documented table, and rows beside their items."""

from pathlib import Path

from imgmig_dagster_tests.arrange import image, row_id
from imgmig_dagster_tests.orchestration.arrange import Platform
from imgmig_dagster_tests.orchestration.commands import CommandServer
from imgmig_dagster_tests.orchestration.test_command_line import NOTHING_LISTENS

DECLARATION = """
table: {schema: SCHEMA, name: images}
name: photos
identity: id
order: created_at
modified: {newer: target}
key: {PK: "PHOTO#{id}", SK: METADATA}
nulls: rejected
sensitive: [original_filename]
attributes:
  thumbnail: thumbnail_s3_key
  name: original_filename
  size: {column: size_bytes, as: integer}
"""


def test_the_table_is_shown_without_a_service(commands: CommandServer, platform: Platform, tmp_path: Path) -> None:
    away = {**platform.environment, "IMGMIG_SOURCE_URL": f"postgresql://imgmig@{NOTHING_LISTENS}/images"}

    shown = commands.run("mapping", "show", environment=away, folder=tmp_path)

    assert (shown.exit_code, shown.told) == (0, "")
    assert "| `size_bytes` | `sizeBytes` | integer | rejected | exact |" in shown.stdout.splitlines()


def test_rows_are_shown_beside_their_items(commands: CommandServer, platform: Platform, tmp_path: Path) -> None:
    folder = tmp_path / "mappings"
    folder.mkdir()
    (folder / "photos.yaml").write_text(DECLARATION.replace("SCHEMA", platform.source.schema))
    platform.source.insert([image(1, thumbnail_s3_key="t/1", original_filename="secret.jpg", size_bytes=7)])
    platform.source.insert([image(2, thumbnail_s3_key=None)])

    shown = commands.run("mapping", "show", "--sample", "3", environment=platform.environment, folder=tmp_path)

    assert (shown.exit_code, shown.told) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[0] == f"{platform.source.schema}.images, by mappings/photos.yaml"
    start = lines.index(f"row {row_id(1)} is the item PK = PHOTO#{row_id(1)}, SK = METADATA")
    assert lines[start + 1 : start + 4] == [
        '  thumbnail: S:"t/1" -> S:"t/1"',
        "  name: *** -> ***",
        "  size: N:7 -> N:7",
    ]
    assert any(line.startswith(f"row {row_id(2)} is rejected: thumbnail_s3_key: ") for line in lines)
    assert "secret" not in shown.stdout

    told = commands.run(
        "mapping",
        "show",
        "--table",
        "photos",
        "--sample",
        "3",
        "--json",
        environment=platform.environment,
        folder=tmp_path,
    ).document
    assert {each["row_id"]: bool(each["rejected"]) for each in told["rows"]} == {row_id(1): False, row_id(2): True}
    assert len(told["attributes"]) == 5


def test_a_declaration_with_faults_is_told_line_by_line(
    commands: CommandServer, platform: Platform, tmp_path: Path
) -> None:
    folder = tmp_path / "mappings"
    folder.mkdir()
    (folder / "photos.yaml").write_text(DECLARATION.replace("as: integer", "as: whole").replace("nulls", "nuls"))

    shown = commands.run("mapping", "show", environment=platform.environment, folder=tmp_path)

    assert shown.exit_code == 2
    assert "mappings/photos.yaml:8: unknown key `nuls`; write `nulls`" in shown.stderr
    assert "mappings/photos.yaml:13: `as` cannot be whole; write text, iso," in shown.stderr
