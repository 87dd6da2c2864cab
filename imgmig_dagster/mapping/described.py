"""A mapping as the documentation and `imgmig mapping show` have it."""

from imgmig_dagster.mapping.fields import Null
from imgmig_dagster.mapping.spec import TableMapping

_NULLS = {
    Null.WRITTEN: "written as NULL; equals an absent attribute",
    Null.LEFT_OUT: "left out; equals NULL",
    Null.REJECTED: "rejected",
}


def markdown_table(mapping: TableMapping) -> str:
    """The mapping as a table in Markdown."""
    lines = ["| column | attribute | type | NULL | comparison |", "|---|---|---|---|---|"]
    for each in mapping.primary_key:
        columns = ", ".join(f"`{name}`" for name in each.template.columns)
        shown = each.template.text.replace("{", "<").replace("}", ">")
        lines.append(f"| {columns} | `{each.attribute}` = `{shown}` | text | never | exact |".replace("|  |", "| |"))
    lines += [
        f"| `{field.column}` | `{field.name}` | {field.type.value} | {_NULLS[field.null]} | {field.rule.value} |"
        for field in mapping.fields
    ]
    if mapping.version is not None:
        lines.append(
            f"| | `{mapping.version.attribute}` = {mapping.version.initial} | integer | never | not compared |"
        )
    lines += [f"| `{name}` | ignored: {reason} | | | |" for name, reason in mapping.ignored.items()]
    return "\n".join(lines)
