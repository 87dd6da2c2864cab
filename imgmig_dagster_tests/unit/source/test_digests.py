"""The digest of a row by PostgreSQL is that of its item by Python: two codes, one definition."""

from typing import Any

import pytest

from imgmig_dagster.mapping.digests import item_digester
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster_tests.arrange import MARCH, Source, image
from imgmig_dagster_tests.images import IMAGE

ROWS: dict[str, dict[str, Any]] = {
    "plain": {},
    "nothing": {"thumbnail_s3_key": None, "width": None, "height": None},
    "empty text": {"thumbnail_s3_key": "", "original_filename": ""},
    "text that looks like the digest's own marks": {"s3_key": "S3:abc-N1;T0;", "s3_bucket": ":", "mime_type": "-"},
    "text of more than one byte": {"original_filename": "naïve 画像 🖼.jpg", "s3_key": "e\u0301"},
    "text with a line's end": {"original_filename": "a\nb\tc\\d'e\"f%s"},
    "negative and zero": {"size_bytes": -1, "width": 0, "height": -2_147_483_648},
    "the largest number": {"size_bytes": 9_223_372_036_854_775_807},
    "before 1970": {"updated_at": "1969-12-31T23:59:59.999999Z"},
    "a microsecond before a millisecond": {"updated_at": "1969-12-31T23:59:59.998999Z"},
    "the first year": {"updated_at": "0001-01-01T00:00:00.000001Z"},
    "the last year": {"updated_at": "9999-12-31T23:59:59.999999Z"},
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_and_its_item_have_one_digest(source: Source, name: str) -> None:
    source.insert([image(1, **ROWS[name])])
    with source.reader() as reader:
        ((row,),) = reader.pages(MARCH, None, 10)
        by_postgresql = reader.inventory(MARCH).digest
    item = transformer(IMAGE)(row)
    assert not isinstance(item, Rejection)

    assert by_postgresql == str(item_digester(IMAGE)(item))


def test_the_microseconds_that_no_item_holds_are_not_in_it(source: Source) -> None:
    source.insert([image(1, updated_at="2024-05-06T07:08:09.123456Z")])
    with source.reader() as reader:
        before = reader.inventory(MARCH).digest
        source.update(1, updated_at="2024-05-06T07:08:09.123999Z")

        assert reader.inventory(MARCH).digest == before


@pytest.mark.parametrize("moment", ["infinity", "-infinity"])
def test_a_timestamp_without_end_has_a_digest(source: Source, moment: str) -> None:
    source.insert([image(1, updated_at=moment), image(2)])
    with source.reader() as reader:
        assert reader.inventory(MARCH).rows == 2
