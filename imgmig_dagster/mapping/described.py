"""Describes a mapping in words, for the documentation and `imgmig mapping show`."""

from dataclasses import astuple, dataclass
from datetime import timedelta

from imgmig_dagster.mapping.fields import Field, FieldType, Null
from imgmig_dagster.mapping.spec import Constant, TableMapping
from imgmig_dagster.mapping.template import Template

_NULLS = {
    Null.WRITTEN: "written as NULL; equals an absent attribute",
    Null.LEFT_OUT: "left out; equals NULL",
    Null.REJECTED: "rejected",
}


@dataclass(frozen=True)
class Line:
    """An attribute, or a column that is ignored, in words."""

    column: str
    attribute: str
    type: str = ""
    null: str = ""
    comparison: str = ""


def documented(mapping: TableMapping) -> list[Line]:
    """Each attribute with its columns, the key's attributes first; then the ignored columns."""
    key = [
        Line(
            _columns(each.template.columns),
            f"`{each.attribute}` = `{_shown(each.template)}`",
            "text" if each.type == "S" else "number",
            "never",
            "exact",
        )
        for each in mapping.primary_key
    ]
    fields = [
        Line(_columns(field.columns), _attribute(field), _type(field), _NULLS[field.null], field.rule.value)
        for field in mapping.fields
    ]
    constants = [
        Line("", f"`{each.attribute}` = `{_literal(each)}`", "constant", "never", "exact") for each in mapping.constants
    ]
    version = mapping.version
    versions = (
        []
        if version is None
        else [Line("", f"`{version.attribute}` = {version.initial}", "integer", "never", "not compared")]
    )
    ignored = [Line(f"`{name}`", f"ignored: {reason}") for name, reason in mapping.ignored.items()]
    return [*key, *fields, *constants, *versions, *ignored]


def markdown_table(mapping: TableMapping) -> str:
    """The mapping as a table in Markdown."""
    rows = [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in astuple(line))} |" for line in documented(mapping)
    ]
    heading = ["| column | attribute | type | NULL | comparison |", "|---|---|---|---|---|"]
    return "\n".join([*heading, *(row.replace("|  |", "| |").replace("|  |", "| |") for row in rows)])


def _columns(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _shown(template: Template) -> str:
    return template.text.replace("{", "<").replace("}", ">")


def _literal(constant: Constant) -> str:
    value = next(iter(constant.value.values()))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _attribute(field: Field) -> str:
    return f"`{field.name}`" if field.template is None else f"`{field.name}` = `{_shown(field.template)}`"


def _type(field: Field) -> str:
    words: str = field.type.value
    if field.type is FieldType.EPOCH:
        words += f" in {field.unit.value}"
    if field.type is FieldType.LABEL:
        words += ": " + ", ".join(f"`{label}` for {value}" for value, label in field.labels)
    if field.column_unit is not None:
        words += f", of a number in {field.column_unit.value}"
    if field.plus_us:
        words += f", {timedelta(microseconds=abs(field.plus_us))} {'later' if field.plus_us > 0 else 'earlier'}"
    return f"{words}, never shown" if field.sensitive else words
