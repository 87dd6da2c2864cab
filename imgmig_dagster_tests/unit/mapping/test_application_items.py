"""The application's own items, recorded from a run of `application/writer.mjs` on the AWS SDK for JavaScript v3.

`make application-items` records them again; where Node and the SDK are installed, integration/test_application.py
holds the recording to a run.
"""

import json

import pytest

from imgmig_dagster.mapping.compare import comparer
from imgmig_dagster.mapping.digests import item_digester, row_digester
from imgmig_dagster.mapping.fields import FieldType
from imgmig_dagster.mapping.rows import Item, Row, Value
from imgmig_dagster.mapping.transform import transformer
from imgmig_dagster_tests.application.writer import RECORDED, ROWS
from imgmig_dagster_tests.arrange import us
from imgmig_dagster_tests.images import IMAGE

ITEMS: dict[str, list[Item]] = json.loads(RECORDED.read_text(encoding="utf-8"))


def source_row(values: dict[str, str | int | None]) -> Row:
    """The row as our reader gives it: microseconds, and integers of any size."""
    return Row((values["id"], *(source_value(field.type, values[field.column]) for field in IMAGE.fields)))


def source_value(kind: FieldType, value: str | int | None) -> Value:
    if value is None or kind is FieldType.TEXT:
        return value
    return int(value) if kind is FieldType.INTEGER else us(str(value).replace("T", " ").removesuffix("Z"))


def faults(manner: str) -> dict[str, list[str]]:
    """What the comparison says of each item, by the row's last digit."""
    compare = comparer(IMAGE)
    return {
        str(row["id"])[-1]: [found.attribute for found in compare(source_row(row), item).differences]
        for row, item in zip(ROWS, ITEMS[manner], strict=True)
    }


def test_our_items_are_the_applications_to_the_last_attribute() -> None:
    transform = transformer(IMAGE)

    assert [transform(source_row(row)) for row in ROWS] == ITEMS["plain"]


@pytest.mark.parametrize("manner", ["plain", "sparse"])
def test_the_applications_items_equal_their_rows_to_the_millisecond(manner: str) -> None:
    for row, item in zip(map(source_row, ROWS), ITEMS[manner], strict=True):
        comparison = comparer(IMAGE)(row, item)

        assert comparison.equal
        assert comparison.inexact == ()
        assert row_digester(IMAGE)(row) == item_digester(IMAGE)(item)


def test_undefined_values_are_left_out_and_null_ones_are_written() -> None:
    assert "width" not in ITEMS["sparse"][1]
    assert ITEMS["plain"][1]["width"] == {"NULL": True}


def test_sizes_that_javascripts_numbers_rounded_are_named() -> None:
    assert faults("imprecise") == {"1": ["sizeBytes"], "2": [], "3": ["sizeBytes"], "4": [], "5": []}


def test_empty_texts_that_became_null_are_named() -> None:
    assert faults("emptied") == {"1": [], "2": ["originalFilename"], "3": [], "4": [], "5": []}
