"""The declarations of a folder."""

from pathlib import Path

import pytest

from imgmig_dagster.mapping.declaration import PACKAGED, DeclarationRefused, load, load_folder
from imgmig_dagster_tests.unit.mapping.declaration.test_faults import written


def put(folder: Path, file: str, **changes: str) -> None:
    (folder / file).write_text(written(changes), encoding="utf-8")


def faults(folder: Path) -> list[str]:
    with pytest.raises(DeclarationRefused) as caught:
        load_folder(folder)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_each_by_the_name_of_its_table(tmp_path: Path) -> None:
    put(tmp_path, "b.yml", table="shop.files")
    put(tmp_path, "a.yaml", name="pictures")
    put(tmp_path, "README.md")

    found = load_folder(tmp_path)

    assert {name: each.place for name, each in found.items()} == {
        "pictures": str(tmp_path / "a.yaml"),
        "files": str(tmp_path / "b.yml"),
    }
    assert list(found) == ["pictures", "files"]


def test_the_package_declares_images_alone() -> None:
    assert load_folder(PACKAGED) == {"images": load(PACKAGED / "images.yaml")}


def test_the_faults_of_all_files_at_once(tmp_path: Path) -> None:
    put(tmp_path, "a.yaml")
    put(tmp_path, "b.yaml", nulls="never")
    put(tmp_path, "c.yaml")

    assert faults(tmp_path) == [
        "b.yaml:7: `nulls` cannot be never; write written, left_out or rejected",
        "c.yaml:1: files is the name of the table in a.yaml too; write another `name`, such as `name: files_2`",
    ]


def test_a_folder_without_declarations(tmp_path: Path) -> None:
    (found,) = faults(tmp_path)
    assert found.endswith("there is no declaration, no file that ends in .yaml; write one")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (found,) = faults(tmp_path / "mappings")
    assert "mappings cannot be read: No such file or directory; check its name" in found
