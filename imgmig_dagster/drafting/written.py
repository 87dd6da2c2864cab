"""A draft as YAML, with comments on what a person has to decide. Pure. `choices` decides what it says."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from imgmig_dagster.drafting import drafted_names
from imgmig_dagster.drafting.choices import (
    BUCKETS,
    DraftedKey,
    OrderChoice,
    choose_identity,
    choose_key,
    choose_modified,
    choose_order,
    deletion_marks,
)
from imgmig_dagster.drafting.seen import SeenColumn, SeenTable, SeenTarget
from imgmig_dagster.mapping.fields import FieldType, Unit
from imgmig_dagster.mapping.types import AS

_EPOCHS: Final = {
    Unit.SECONDS: "epoch_seconds",
    Unit.MILLISECONDS: "epoch_ms",
    Unit.MICROSECONDS: "epoch_us",
}
_NUMBERS: Final = (FieldType.INTEGER, FieldType.NUMBER)
# The DynamoDB type of an attribute that may be a key of an index.
_KEY_TYPES: Final = {
    **dict.fromkeys(_NUMBERS, "N"),
    **dict.fromkeys((FieldType.TEXT, FieldType.TIMESTAMP, FieldType.DATE), "S"),
    FieldType.BINARY: "B",
}
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What YAML 1.1 reads as something other than a text.
_NOT_TEXT: Final = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"))


@dataclass(frozen=True)
class Draft:
    """A declaration as text; `remarks` are what it says to a person, `decide` what only a person can know."""

    text: str
    remarks: tuple[str, ...]

    @property
    def decide(self) -> tuple[str, ...]:
        """What a person has to decide."""
        return tuple(remark for remark in self.remarks if remark.startswith("DECIDE"))


def written(table: SeenTable, target: SeenTarget, start: str | None = None, seen: Sequence[str] = ()) -> Draft:
    """The draft. `start` is a day in the first partition; `seen` is what a sample of rows showed."""
    identity, order, modified = choose_identity(table), choose_order(table), choose_modified(table)
    key, about_key = choose_key(table, identity.columns, target)
    in_key = {column for each in key for column in re.findall(r"\{([^{}]+)\}", each.template)}
    attributes = drafted_names.attributes(
        [each.name for each in table.columns if each.name not in in_key], taken=[part.attribute for part in target.key]
    )
    of = {attribute: table.column(name) for name, attribute in attributes.items()}
    about_indexes = list(_about_indexes(target, of))
    timed = {order.column, *modified.columns}
    sections = [
        [
            f"# Drafted by: imgmig mapping draft {table.schema}.{table.name}",
            "# It says what can be read from both sides. Lines with DECIDE ask for what only a person knows.",
            *_comments(seen),
        ],
        [f"table: {_place(table)}", *_name(table), f"entity: {scalar(drafted_names.entity(table.name))}"],
        [*_comments(identity.remarks), f"identity: [{', '.join(map(scalar, identity.columns))}]"],
        [*_comments(order.remarks), *_order(table, order, start)],
        [
            *_comments(modified.remarks),
            f"modified: {_time(table, *modified.columns)}" if modified.columns else "modified: {newer: target}",
        ],
        [*_comments(about_key), "key:", *map(_key, key)],
        ["# Where the application counts its writes: version: {attribute: revision, initial: 1}", *_where(table)],
        [
            *_comments(about_indexes),
            "attributes:" if of else "attributes: {}",
            *(
                f"  {scalar(attribute)}: "
                f"{_entry(column, column.name in timed, table.units.get(column.name), _index_type(target, attribute))}"
                f"{_about(column)}"
                for attribute, column in of.items()
            ),
        ],
        ["# What no item shall carry is taken out of attributes and named here: ignored: {column: why}"],
    ]
    remarks = (*seen, *identity.remarks, *order.remarks, *modified.remarks, *about_key, *about_indexes)
    return Draft("\n\n".join("\n".join(section) for section in sections) + "\n", remarks)


def scalar(text: str) -> str:
    """A text as YAML reads it back: in quotes if needed."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT
    return text if plain else json.dumps(text, ensure_ascii=False)


def _place(table: SeenTable) -> str:
    if "." in table.schema or "." in table.name:
        return f"{{schema: {scalar(table.schema)}, name: {scalar(table.name)}}}"
    name = f"{table.schema}.{table.name}"
    return name if re.fullmatch(r"\w+\.\w+", name, re.ASCII) else json.dumps(name, ensure_ascii=False)


def _name(table: SeenTable) -> list[str]:
    """What folders and assets are called by, where the table's own name cannot be that."""
    if _PLAIN.fullmatch(table.name):
        return []
    plain = re.sub(r"[^A-Za-z0-9_]", "", "_".join(drafted_names.words(table.name)))
    return [f"name: {plain if _PLAIN.fullmatch(plain) else f'rows_{plain}'.rstrip('_')}"]


def _time(table: SeenTable, column: str) -> str:
    unit = table.units.get(column)
    return scalar(column) if unit is None else f"{{column: {scalar(column)}, unit: {unit.value}}}"


def _order(table: SeenTable, order: OrderChoice, start: str | None) -> list[str]:
    if order.column is None:
        return [f"partitions: {{buckets: {BUCKETS}}}"]
    return [
        f"order: {_time(table, order.column)}",
        "partitions: monthly" if start is None else f"partitions: {{every: monthly, start: {start}}}",
        *(["undated: true"] if order.undated else []),
    ]


def _key(key: DraftedKey) -> str:
    template = json.dumps(key.template, ensure_ascii=False)
    shown = template if key.type == "S" else f"{{template: {template}, type: {key.type}}}"
    return f"  {scalar(key.attribute)}: {shown}"


def _where(table: SeenTable) -> list[str]:
    marks = list(deletion_marks(table))
    if not marks:
        return []
    name = marks[0].name
    shown = name if _PLAIN.fullmatch(name) and name.islower() else json.dumps(name, ensure_ascii=False)
    alive = f"NOT {shown}" if marks[0].type is FieldType.BOOLEAN else f"{shown} IS NULL"
    return [f"# Rows that count as deleted are migrated too; to leave them behind: where: '{alive}'"]


def _entry(column: SeenColumn, is_timed: bool, unit: Unit | None, key_type: str | None) -> str:
    """The value of an attribute; `key_type` is its type if an index of the target has it as a key."""
    parts = [f"column: {scalar(column.name)}"]
    if key_type == "S" and column.type in _NUMBERS:
        parts.append("as: text")
    elif is_timed and unit is not None:
        parts += [f"unit: {unit.value}", f"as: {_EPOCHS[unit]}"]
    elif column.type is not FieldType.TEXT and not (is_timed and column.type is FieldType.TIMESTAMP):
        parts.append(f"as: {AS[column.type]}")
    if key_type is not None:
        parts.append("null: left_out")
    return scalar(column.name) if len(parts) == 1 else f"{{{', '.join(parts)}}}"


def _index_type(target: SeenTarget, attribute: str) -> str | None:
    parts = (part for parts in target.indexes.values() for part in parts)
    return next((part.type for part in parts if part.attribute == attribute), None)


def _about_indexes(target: SeenTarget, of: dict[str, SeenColumn]) -> Iterator[str]:
    for index, parts in target.indexes.items():
        for part in parts:
            if part in target.key:
                continue
            column = of.get(part.attribute)
            if column is None:
                yield (
                    f"DECIDE: the index {index} has the key {part.attribute}, which nothing here fills: no item will "
                    f'be in it. Such as {part.attribute}: "USER#{{user_id}}"'
                )
            elif part.type != _KEY_TYPES.get(column.type) and not (part.type == "S" and column.type in _NUMBERS):
                yield (
                    f"DECIDE: the index {index} has the key {part.attribute} of type {part.type}, and {column.name} is "
                    f"{column.shown}: every item would be rejected."
                )


def _about(column: SeenColumn) -> str:
    comment = " ".join(column.comment.split())
    return f"   # {comment}" if comment.isprintable() and comment else ""


def _comments(lines: Iterable[str]) -> list[str]:
    return [f"# {line}" for line in lines]
