"""Says in words what does not fit the form of a declaration, and what to write instead. `form` is the form."""

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from imgmig_dagster.mapping.declaration.form import FORMS, DeclarationForm
from imgmig_dagster.mapping.declaration.yaml_lines import DeclarationFault, Path

_KINDS: Final = {
    "string_type": "a text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "dict_type": "a mapping of names and values",
    "list_type": "a list of names",
    "model_type": "a mapping of names and values",
    "date_type": "a day such as 2020-01-31",
}
_NO_FORM: Final = {
    "attributes": "write a column, a text with columns in braces, or a mapping with column, template, map or constant",
    "map": "write a column, a text with columns in braces, or a mapping with column or template; a map has one level",
    "key": 'write a text with columns in braces, such as "IMAGE#{id}", or a mapping with template and type',
}


def worded(error: ValidationError, data: Any) -> list[DeclarationFault]:
    """Each fault that the form finds in the data."""
    return [DeclarationFault(_path(each["loc"], data), _message(each)) for each in error.errors()]


def without(data: Mapping[Any, Any], paths: Iterable[Path]) -> dict[Any, Any]:
    """The data without its faulty parts, so that the rest can be checked too."""
    kept = {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()}
    for path in paths:
        if path[:1] in (("attributes",), ("ignored",)) and len(path) > 1:
            kept.get(path[0], {}).pop(path[1], None)
        elif path:
            kept.pop(path[0], None)
    return kept


def _path(location: Iterable[str | int], data: Any) -> Path:
    """The location without what pydantic adds: the tags of unions, and what is missing."""
    path: Path = ()
    for step in location:
        if isinstance(data, dict):
            if step in data:
                data, path = data[step], (*path, step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data, path = data[step], (*path, step)
    return path


def _message(error: ErrorDetails) -> str:
    location, kind = error["loc"], error["type"]
    if location and location[-1] == "[key]":
        return f"`{location[-2]}` {_said(error)}"
    keys = [str(step) for step in location if not (isinstance(step, str) and step.startswith("<"))]
    name = keys[-1] if keys else ""
    form = _form(location)
    known = {field.alias or key: field for key, field in form.model_fields.items()}
    example = _example(name, known[name].examples) if name in known else ""
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name, known, n=1)
        return f"unknown key `{name}`; " + (f"write `{near[0]}`" if near else f"there are {', '.join(known)}")
    if kind == "missing":
        return f"`{name}` is missing" + (f"; write for example {example}" if example else "")
    if kind == "union_tag_not_found":
        parent = keys[-2] if len(keys) > 1 else ""
        remedy = f"write for example {example}" if len(keys) == 1 else _NO_FORM.get(parent, "see docs/declaration.md")
        return f"`{name}` cannot be here; {remedy}"
    return f"`{name}` {_said(error)}"


def _said(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in ("enum", "literal_error"):
        choices = str(context["expected"]).replace("'", "")
        near = difflib.get_close_matches(str(error["input"]), choices.replace(" or ", ", ").split(", "), n=1)
        return f"cannot be {error['input']}; write {near[0] if near else choices}"
    if kind in _KINDS:
        return f"has to be {_KINDS[kind]}; write it so"
    if kind == "too_short":
        return "names nothing; name at least one"
    if kind == "too_long":
        return f"names {len(error['input'])}; name at most {context['max_length']}"
    if kind == "greater_than_equal":
        return f"is too small; write at least {context['ge']}"
    if kind == "less_than_equal":
        return f"is too large; write at most {context['le']}"
    return f"does not fit: {error['msg']}; see docs/declaration.md"


def _form(location: Iterable[str | int]) -> type[BaseModel]:
    form: type[BaseModel] = DeclarationForm
    for step in location:
        form = FORMS.get(str(step), form)
    return form


def _example(name: str, examples: list[Any] | None) -> str:
    return "" if not examples else f"`{name}: {_flow(examples[0])}`"


def _flow(value: Any) -> str:
    """A value in YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    plain = not isinstance(value, str) or not set(value) & set("#{}:\"'[],&*")
    return str(value) if plain and not isinstance(value, bool) else json.dumps(value)
