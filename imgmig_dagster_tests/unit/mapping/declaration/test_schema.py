"""The schema that editors check a declaration by says what the loader says."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from imgmig_dagster.mapping.declaration.json_schema import schema
from imgmig_dagster_tests.images import DECLARATION
from imgmig_dagster_tests.test_conventions import REPOSITORY
from imgmig_dagster_tests.unit.mapping.declaration.test_faults import FAULTS, SOUND, written

VALIDATOR = Draft202012Validator(json.loads(schema()))


def valid(text: str) -> bool:
    # An editor reads by YAML 1.2, and every key as a text.
    return bool(VALIDATOR.is_valid(json.loads(json.dumps(yaml.safe_load(text), default=str))))


def test_the_committed_schema_is_what_the_command_prints() -> None:
    assert (REPOSITORY / "docs/declaration.schema.json").read_text(encoding="utf-8") == schema()


def test_it_is_a_schema_and_every_key_is_described() -> None:
    found = json.loads(schema())
    Draft202012Validator.check_schema(found)

    def described(node: Any) -> list[str]:
        if not isinstance(node, dict):
            return []
        own = [name for name, each in node.get("properties", {}).items() if "description" not in each]
        return [*own, *(name for each in node.values() for name in described(each))]

    assert described(found) == []
    assert found["additionalProperties"] is False
    assert all(each["additionalProperties"] is False for each in found["$defs"].values() if "properties" in each)


def test_examples_are_valid_where_they_stand() -> None:
    found = json.loads(schema())
    for name, each in found["properties"].items():
        for example in each.get("examples", []):
            Draft202012Validator({**found, "required": []}).validate({name: example})


@pytest.mark.parametrize("path", [DECLARATION], ids=lambda path: path.name)
def test_a_declaration_is_valid(path: Path) -> None:
    assert valid(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "changes",
    [
        {"attributes": "{a: {column: x, values: {0: image, 1: 2, true: false}}}"},
        {"attributes": "{a: {map: {x: y, z: {column: b, as: number, null: left_out}}}}"},
        {"attributes": '{a: {constant: 1.5}, b: {constant: true}, c: "USER#{id}", d: {template: "{x}"}}'},
        {"identity": "id", "sensitive": "title", "where": "x > 1", "ignored": "{b: no need}"},
        {"order": "{column: at, unit: ms}", "partitions": "{every: daily, start: 2020-01-01}", "undated": "true"},
        {"modified": "none", "version": "none", "order": "identity", "partitions": "{buckets: 8}"},
        {"modified": "{newer: target}", "table": "{schema: a.b, name: c}", "name": "c", "entity": "file"},
    ],
)
def test_what_the_loader_takes_is_valid(changes: dict[str, str]) -> None:
    assert valid(written(changes))


@pytest.mark.parametrize(
    "changes",
    [changes for changes, fault in FAULTS if any(word in fault for word in ("unknown", "missing", "cannot be "))],
)
def test_what_has_another_form_is_not(changes: dict[str, str | None]) -> None:
    assert valid(written({}))
    assert not valid(written(changes))


def test_a_sound_declaration_has_every_key_that_must_be_there() -> None:
    assert set(json.loads(schema())["required"]) <= set(SOUND)
