"""Which tables a stage has: the declarations that its settings name, and whether they go together."""

from pathlib import Path

import pytest

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.mapping.declaration import PACKAGED, DeclaredPartitions, load
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.tables import chosen_table, chosen_tables, declarations, require_beside_others, set_in
from imgmig_dagster_tests.images import IMAGE

ORDERS = """
table: shop.orders
identity: [id]
order: placed_at
modified: {newer: source}
partitions: {every: weekly, start: 2024-03-15}
key:
  PK: "ORDER#{id}"
  SK: METADATA
attributes:
  total: {column: total, as: number}
"""
LINES = """
table: shop.lines
identity: [order_id, line]
modified: {newer: source}
partitions: {buckets: 8}
key:
  PK: "ORDER#{order_id}"
  SK: "LINE#{line}"
attributes:
  sku: sku
"""


@pytest.fixture
def folder(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder of declarations, which the settings name."""
    found = tmp_path / "declared"
    found.mkdir()
    clean_environment.setenv("IMGMIG_MAPPINGS", str(found))
    return found


@pytest.fixture
def shop(folder: Path) -> Path:
    """Two tables that go together."""
    (folder / "orders.yaml").write_text(ORDERS)
    (folder / "lines.yml").write_text(LINES)
    return folder


@pytest.mark.usefixtures("clean_environment")
def test_without_any_folder_there_is_the_packages_table() -> None:
    found = declarations(Stage.PROD)

    assert {name: each.mapping for name, each in found.items()} == {"images": IMAGE}
    assert found["images"].place == str(PACKAGED / "images.yaml")


def test_a_folder_of_the_working_directory_is_taken_by_itself(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean_environment.chdir(tmp_path)
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "orders.yaml").write_text(ORDERS)

    assert list(declarations(Stage.PROD)) == ["orders"]


@pytest.mark.usefixtures("shop")
def test_each_file_of_the_folder_is_a_table() -> None:
    found = declarations(Stage.PROD)

    assert {name: each.partitions for name, each in found.items()} == {
        "lines": DeclaredPartitions(None, None, 8),
        "orders": DeclaredPartitions("weekly", found["orders"].partitions.start),
    }
    assert chosen_tables(Stage.PROD, None) == ["lines", "orders"]
    assert chosen_table(Stage.PROD, "orders") == "orders"


def test_the_stages_file_names_the_folder(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean_environment.chdir(tmp_path)
    for name in ("stages", "declared"):
        (tmp_path / name).mkdir()
    (tmp_path / "declared" / "orders.yaml").write_text(ORDERS)
    (tmp_path / "stages" / "prod.toml").write_text('[tables]\nmappings = "declared"\npartitions_per_run = 8\n')

    assert list(declarations(Stage.PROD)) == ["orders"]
    assert list(declarations(Stage.STAGING)) == ["images"], "another stage has its own"


def test_the_attributes_of_a_component_are_a_declaration(folder: Path) -> None:
    (folder / "orders").mkdir()
    indented = ORDERS.replace("\n", "\n  ")
    other = "type: dagster.DefsFolderComponent\n"
    (folder / "orders" / "defs.yaml").write_text(f"type: imgmig_dagster.TableMigration\nattributes:{indented}")
    (folder / "defs.yaml").write_text(other)

    assert list(declarations(Stage.PROD)) == ["orders"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ("weekly", "2024-03-15")),
        ({"IMGMIG_PARTITION_GRAIN": "daily"}, ("daily", "2024-03-15")),
        ({"IMGMIG_PARTITION_START": "2023-01-01"}, ("weekly", "2023-01-01")),
    ],
)
def test_what_a_variable_says_of_the_only_table_wins(
    folder: Path, clean_environment: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[str, str]
) -> None:
    (folder / "orders.yaml").write_text(ORDERS)
    for name, value in variables.items():
        clean_environment.setenv(name, value)

    partitions = declarations(Stage.PROD)["orders"].partitions

    assert (partitions.grain, str(partitions.start)) == expected


@pytest.mark.parametrize(
    ("files", "variables", "message"),
    [
        ({}, {}, "no table is declared in .*declared: put a declaration there"),
        ({"a.yaml": ORDERS, "b.yaml": ORDERS}, {}, r"b\.yaml: orders is declared in .*a\.yaml too; give one"),
        (
            {"a.yaml": ORDERS, "b.yaml": "name: others\n" + ORDERS},
            {},
            r"b\.yaml: items of others can have the key of items of orders: begin one",
        ),
        (
            {"a.yaml": ORDERS, "b.yaml": LINES},
            {"IMGMIG_SOURCE_TABLE": "t", "IMGMIG_PARTITION_GRAIN": "daily"},
            "IMGMIG_SOURCE_TABLE and IMGMIG_PARTITION_GRAIN can be said .* only table, and prod has lines, orders",
        ),
        (
            {"a.yaml": LINES},
            {"IMGMIG_PARTITION_START": "2024-01-01"},
            "cuts the table into buckets: unset IMGMIG_PARTITION_START",
        ),
        (
            {"a.yaml": ORDERS.replace("2024-03-15", "2999-01-01")},
            {},
            "the first partition begins in the future, on 2999-01-01",
        ),
        ({"a.yaml": "table: ["}, {}, r"a\.yaml:1: "),
        (
            {},
            {"IMGMIG_MAPPINGS": "/nowhere/at/all"},
            r"mappings in \[tables\] names /nowhere/at/all, which is no folder",
        ),
    ],
)
def test_declarations_that_cannot_be_used_are_refused_with_a_remedy(
    folder: Path,
    clean_environment: pytest.MonkeyPatch,
    files: dict[str, str],
    variables: dict[str, str],
    message: str,
) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    for name, value in variables.items():
        clean_environment.setenv(name, value)

    with pytest.raises(SettingsError, match=message):
        declarations(Stage.PROD)


@pytest.mark.parametrize(
    ("one", "other", "refused"),
    [
        ("A#{id}", "B#{id}", False),
        ("A#{id}", "A#{id}#B", True),
        ("A#{id}#A", "A#{id}#B", False),
        ("A#{id}", "A#1", True),
        ("A#1", "A#1", True),
        ("A#1", "A#2", False),
        ("{id}", "B#{id}", True),
    ],
)
def test_tables_whose_items_could_have_one_key_do_not_go_together(
    folder: Path, one: str, other: str, refused: bool
) -> None:
    for name, key in (("one", one), ("other", other)):
        # Where the partition key names no column, the sort key does.
        sort = "{id}" if "{" not in key else "METADATA"
        text = ORDERS.replace("ORDER#{id}", key).replace("SK: METADATA", f'SK: "{sort}"')
        (folder / f"{name}.yaml").write_text(f"name: {name}\n{text}")
    if refused:
        with pytest.raises(SettingsError, match="can have the key of"):
            declarations(Stage.PROD)
    else:
        assert list(declarations(Stage.PROD)) == ["one", "other"]


@pytest.mark.usefixtures("shop")
def test_an_unknown_table_is_answered_by_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="prod has no table 'order': choose one of lines, orders"):
        chosen_tables(Stage.PROD, "order")
    with pytest.raises(SettingsError, match="prod has several tables: name one by --table, of lines, orders"):
        chosen_table(Stage.PROD, None)


def test_where_no_folder_is_that_is_said_and_not_a_choice(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean_environment.chdir(tmp_path)

    with pytest.raises(SettingsError, match=r"no folder mappings is in .*only the packaged images is known") as caught:
        chosen_tables(Stage.DEV, "orders")

    assert str(tmp_path) in str(caught.value)
    assert "mappings in [tables]" in str(caught.value)


def test_where_the_first_partition_is_set(folder: Path, clean_environment: pytest.MonkeyPatch) -> None:
    (folder / "orders.yaml").write_text(ORDERS)
    assert set_in(Stage.PROD, "orders") == f"`partitions: {{start: ...}}` in {folder / 'orders.yaml'}"

    clean_environment.setenv("IMGMIG_PARTITION_START", "2024-01-01")
    assert set_in(Stage.PROD, "orders") == "IMGMIG_PARTITION_START"


@pytest.mark.usefixtures("shop")
def test_buckets_have_no_first_partition_to_set() -> None:
    assert set_in(Stage.PROD, "lines") == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shop.orders": "shop.old_orders\nname: orders"}, "orders is declared in .*orders.yaml too"),
        ({"shop.orders": "shop.returns"}, "items of returns can have the key of items of orders"),
        ({"shop.orders": "shop.returns", "ORDER#": "RETURN#"}, None),
        ({"total: {": "sum: {"}, None),
    ],
)
@pytest.mark.usefixtures("shop")
def test_a_file_is_held_against_the_others_of_the_stage(
    tmp_path: Path, changes: dict[str, str], said: str | None
) -> None:
    text = ORDERS
    for old, new in changes.items():
        text = text.replace(old, new)
    (tmp_path / "own.yaml").write_text(text)
    declared = load(tmp_path / "own.yaml")

    if said is None:
        require_beside_others(Stage.DEV, declared)
    else:
        with pytest.raises(SettingsError, match=said):
            require_beside_others(Stage.DEV, declared)
