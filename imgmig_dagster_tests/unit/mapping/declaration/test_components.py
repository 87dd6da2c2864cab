"""The declarations in a `defs.yaml` of Dagster: the attributes of its components of one kind."""

from pathlib import Path

import pytest

from imgmig_dagster.mapping.declaration import DeclarationRefused, load_components
from imgmig_dagster_tests.unit.mapping.declaration.test_faults import written

KIND = "imgmig_dagster.TableMigration"


def component(kind: str, **changes: str) -> str:
    attributes = "".join(f"  {line}\n" for line in written(changes).splitlines())
    return f"type: {kind}\nattributes:\n{attributes}"


def put(folder: Path, text: str) -> Path:
    path = folder / "defs.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_those_of_the_kind_and_no_others(tmp_path: Path) -> None:
    path = put(tmp_path, "---\n".join([component(KIND), component("x.Y", nulls="never"), component(KIND, table="no")]))

    found = load_components(path, KIND)

    assert [each.mapping.name for each in found] == ["files", "no"]
    assert {each.place for each in found} == {str(path)}
    assert load_components(put(tmp_path, ""), KIND) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (component("x.Y") + "---\n" + component(KIND, nulls="never"), "18: `nulls` cannot be never; write written,"),
        (component(KIND, where=""), "9: `where` is empty; write a value, or leave the key out"),
        (f"type: {KIND}\n", "1: there is no declaration here; write at least table"),
        ("type: [x\n", "2: this is not YAML: while parsing a flow sequence"),
    ],
)
def test_faults_have_the_lines_of_the_file(tmp_path: Path, text: str, fault: str) -> None:
    path = put(tmp_path, text)
    with pytest.raises(DeclarationRefused) as caught:
        load_components(path, KIND)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}:{fault}")
