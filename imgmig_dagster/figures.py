"""Declares what a result counts or measures: each figure once, at the field or property that holds it.

::

    late: Annotated[int, Figure("rows on no page of the pass, taken up after it")]

Dagster's metadata (`defs/metadata.py`), the terminal and `--json` (`cli/wording.py`), CSV, HTML and Markdown
(`reporting/`) and the schema of the reports are views of these declarations. A class of counts, such as
`MigrationCounts`, holds nothing but figures, so that `total` can add up those of many partitions.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from imgmig_dagster.traffic import TrafficRecord

ROWS: Final = "rows"
ITEMS: Final = "items"
REQUESTS: Final = "requests"
SECONDS: Final = "seconds"
SHARE: Final = "share"
"""0 to 1; shown in percent."""

Counts = TypeVar("Counts")


@dataclass(frozen=True)
class Figure:
    """What a figure means, and its `unit`. For a property, the first line of its docstring is the meaning.

    The attribute is the key in records and JSON documents, `name` the one in Dagster's metadata, `label` the words of a
    table's head: by default all are the same. A figure that does not sum is the same for all partitions of a command.
    It is shown with so many `digits`; records keep all of them.
    """

    meaning: str = ""
    unit: str = ROWS
    name: str = ""
    label: str = ""
    sums: bool = True
    digits: int | None = None

    def shown(self, value: Any) -> Any:
        """The value as a person or a plot gets it."""
        if self.unit == SHARE:
            value = 100 * value
        return value if self.digits is None else round(value, self.digits)

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> Any:
        """Put the figure's meaning into the schema of a report."""
        return {**handler(core_schema), "description": f"{self.meaning} ({self.unit})"}


@lru_cache(maxsize=32)
def figures_of(kind: Any) -> Mapping[str, Figure]:
    """The figures of a class of results by attribute, in order of declaration; properties after fields."""
    hints, meanings = get_type_hints(kind, include_extras=True), dict[str, str]()
    for name, member in (each for base in reversed(kind.__mro__) for each in vars(base).items()):
        if isinstance(member, property):
            hints[name] = get_type_hints(member.fget, include_extras=True).get("return")
            meanings[name] = (member.__doc__ or "").partition("\n")[0].rstrip(".")
    return {
        attribute: replace(
            found,
            meaning=found.meaning or meanings[attribute],
            name=found.name or attribute,
            label=found.label or attribute.replace("_", " "),
        )
        for attribute, hint in hints.items()
        for found in get_args(hint)
        if isinstance(found, Figure)
    }


def values(result: object, *attributes: str) -> dict[str, Any]:
    """These figures of a result by attribute, as records and JSON documents have them."""
    return {name: getattr(result, name) for name in attributes}


def shown(result: object, *attributes: str) -> dict[str, Any]:
    """The figures of a result by name, all or those of these attributes, as a person or a plot gets them.

    Figures without a value are left out.
    """
    declared, numbers = figures_of(type(result)), dict[str, Any]()  # type: ignore[arg-type]  # a class is hashable
    for attribute in attributes or declared:
        figure, value = declared[attribute], getattr(result, attribute)
        if isinstance(value, TrafficRecord):
            numbers |= value.as_numbers()
        elif value is not None:
            numbers[figure.name] = figure.shown(value)
    return numbers


def total(kind: type[Counts], results: Iterable[Counts]) -> Counts:
    """The totals of many partitions' results: their sums, and the figures that follow from those."""
    found, hints = list(results), get_type_hints(kind)
    figures = figures_of(kind)  # type: ignore[arg-type]  # a class is hashable

    def of_all(name: str) -> Any:
        values = [getattr(each, name) for each in found]
        if get_origin(hints[name]) is Mapping:
            return _added(values)
        return sum(values if figures[name].sums else values[:1], hints[name]())

    return kind(**{each.name: of_all(each.name) for each in fields(kind)})  # type: ignore[arg-type]  # a dataclass


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    added: Counter[str] = Counter()
    for each in counts:
        added.update(each)
    return {name: added[name] for name in sorted(added)}
