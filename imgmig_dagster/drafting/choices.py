"""What a draft chooses: identity, key, order, `modified`; each with what a person has to decide. Pure.

`seen` holds what it chooses from, `written` makes the YAML.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from imgmig_dagster.drafting import drafted_names
from imgmig_dagster.drafting.seen import KeyPart, SeenColumn, SeenTable, SeenTarget
from imgmig_dagster.mapping.fields import FieldType, Unit

BUCKETS: Final = 16
_TIMES: Final = (FieldType.TIMESTAMP, FieldType.DATE)


@dataclass(frozen=True)
class Choice:
    """What was chosen, None if nothing could be, and what a person should know about it, a sentence a line."""

    columns: tuple[str, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class OrderChoice:
    """The column that puts the rows in order; None if the identity has to, by buckets."""

    column: str | None
    unit: Unit | None = None
    undated: bool = False
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class DraftedKey:
    """An attribute of the key with its template and its type."""

    attribute: str
    template: str
    type: str


def choose_identity(table: SeenTable) -> Choice:
    """The primary key, otherwise the smallest unique index, one without NULLs first; no columns if there is neither."""
    if table.primary_key:
        return Choice(table.primary_key)
    required = {column.name for column in table.columns if column.required}
    by_fitness = sorted(table.unique, key=lambda columns: (not required.issuperset(columns), len(columns)))
    if not by_fitness:
        found = [each.name for each in table.columns if each.name.lower() in ("id", "uuid")][:1]
        why = "a view has no unique index" if table.is_view else "no primary key and no unique index was found"
        guess = f"{found[0]} is a guess by its name" if found else "name the columns that are unique together"
        return Choice(tuple(found), (f"DECIDE: {why}; {guess}.",))
    columns = by_fitness[0]
    remarks = ["There is no primary key: these columns are those of a unique index."]
    if may_be_null := [name for name in columns if name not in required]:
        remarks.append(
            f"{', '.join(may_be_null)} may be NULL, and a row that is NULL there has no key: it is rejected."
        )
    return Choice(columns, tuple(remarks))


def choose_key(table: SeenTable, identity: Sequence[str], target: SeenTarget) -> tuple[list[DraftedKey], list[str]]:
    """Templates for the attributes of the target's key, so that each column of the identity is in one.

    The last column of a template may hold any text; one before it no ``#``.
    """
    prefix = drafted_names.entity(table.name).upper() + "#"
    whole = [name for name in identity if table.column(name).type is FieldType.INTEGER]
    numbers = [part for part in target.key if part.type == "N"]
    texts = [part for part in target.key if part.type == "S"]
    remarks = [
        f"DECIDE: the key {part.attribute} is of type {part.type}, and no template makes one."
        for part in target.key
        if part.type not in ("S", "N")
    ]
    given: dict[KeyPart, str] = {}
    left = list(identity)
    for part in numbers:
        column = next((name for name in whole if name in left), whole[0] if whole else None)
        if column is None:
            remarks.append(f"DECIDE: the key {part.attribute} is a number, and no column of the identity is.")
            continue
        given[part] = f"{{{column}}}"
        left = [name for name in left if name != column or (len(left) == 1 and bool(texts))]
    for position, part in enumerate(texts):
        is_last = position == len(texts) - 1
        # One column goes into the first template, the others into the second.
        columns = left if is_last or len(left) <= 1 else left[:1]
        left = left[len(columns) :]
        if columns:
            given[part] = prefix + "#".join(f"{{{name}}}" for name in columns)
        else:
            given[part] = "METADATA"
    if left and not texts:
        remarks.append(f"DECIDE: the key has no place for {', '.join(left)}.")
    if braces := [name for name in identity if "{" in name or "}" in name]:
        remarks.append(f"DECIDE: a template cannot name {', '.join(braces)}: make a view that names it without braces.")
    return [DraftedKey(part.attribute, given[part], part.type) for part in target.key if part in given], remarks


def choose_order(table: SeenTable, buckets: int = BUCKETS) -> OrderChoice:
    """The time at which rows were made: required before nullable, indexed before not. Otherwise buckets.

    A time that changes moves its row from one partition to another: a column named like one is not chosen.
    """
    created = [each for each in _timed(table) if drafted_names.says_created(each.name)]
    steady = [each for each in _timed(table) if not _changes(each.name)]
    for candidates in (
        [each for each in created if each.required],
        [each for each in steady if each.required and each.type in _TIMES],
        created,
    ):
        if candidates:
            column = min(candidates, key=lambda each: (each.name not in table.leading, each.type not in _TIMES))
            return OrderChoice(
                column.name, table.units.get(column.name), not column.required, _about_order(column, column in created)
            )
    return OrderChoice(
        None,
        remarks=(
            "No column tells when a row was made: the rows are cut into buckets by their identity.",
            f"{buckets} buckets: about 100,000 rows in each are a good size.",
        ),
    )


def choose_modified(table: SeenTable) -> Choice:
    """The time at which rows were last changed; no columns if no name says so."""
    candidates = [
        each for each in _timed(table) if drafted_names.says_modified(each.name) and each.type is not FieldType.DATE
    ]
    if not candidates:
        return Choice(
            (),
            (
                "DECIDE: no column tells when a row was last changed. Where a row and its item differ, the item counts",
                "as newer and is left alone; {newer: source} has it overwritten.",
            ),
        )
    column = min(candidates, key=lambda each: (not each.required, each.type is not FieldType.TIMESTAMP))
    remarks = (
        () if column.required else (f"{column.name} may be NULL: where it is, nothing tells which side is newer.",)
    )
    return Choice((column.name,), remarks)


def deletion_marks(table: SeenTable) -> Iterable[SeenColumn]:
    """Columns by which rows count as deleted while they stay in the table."""
    return (
        each
        for each in table.columns
        if drafted_names.says_deleted(each.name) and each.type in (*_TIMES, FieldType.BOOLEAN)
    )


def _timed(table: SeenTable) -> list[SeenColumn]:
    return [each for each in table.columns if each.type in _TIMES or each.name in table.units]


def _changes(name: str) -> bool:
    found = set(drafted_names.words(name))
    changing = {"updated", "modified", "changed", "last", "access", "accessed", "seen", "mtime", "atime"}
    future = {"deleted", "expires", "expired", "expiry", "until", "scheduled", "due", "valid", "end", "ends"}
    return bool(found & (changing | future))


def _about_order(column: SeenColumn, is_created: bool) -> tuple[str, ...]:
    remarks = []
    if not is_created:
        remarks.append(f"DECIDE: {column.name} is taken for a time that does not change while a row lives.")
    if not column.required:
        remarks.append(f"{column.name} may be NULL: rows without it have a partition of their own.")
    return tuple(remarks)
