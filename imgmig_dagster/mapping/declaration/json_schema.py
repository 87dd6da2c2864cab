"""The form of a declaration as a JSON schema, by which editors complete and check it as it is written."""

import json
from typing import Any

from imgmig_dagster.mapping.declaration.form import DeclarationForm


def schema() -> str:
    """The whole of `docs/declaration.schema.json`."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **DeclarationForm.model_json_schema()}
    return json.dumps(_plain(described), indent=2) + "\n"


def _plain(node: Any) -> Any:
    """Without what pydantic adds and no declaration has: titles, and null for an optional key."""
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _plain(value) for key, value in node.items() if key != "title" and (key, value) != ("default", None)}
    choices = [each for each in kept.pop("anyOf", []) if each != {"type": "null"}]
    return {**kept, **(choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else {})}
