"""Databases that are not in UTF-8: the same text, and a byte that means nothing costs its row alone."""

from typing import Any

import psycopg
import pytest

from imgmig_dagster.mapping.image import IMAGE, PICTURE
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster_tests.arrange import COLUMNS, MARCH, Source, image, row_id
from imgmig_dagster_tests.conftest import NewSource

NAME = COLUMNS.index("original_filename")


def set_bytes(source: Source, number: int, column: str, content: str) -> None:
    """Write bytes that are no UTF-8; `content` is PostgreSQL's spelling of them."""
    source.execute(
        f"UPDATE {{t}} SET {column} = convert_from(%s::bytea, 'SQL_ASCII') WHERE size_bytes = %s",  # noqa: S608
        content,
        1000 + number,
    )


@pytest.fixture
def ascii_source(new_source: NewSource, ascii_owner: "psycopg.Connection[Any]") -> Source:
    ascii_owner.execute("SET client_encoding = 'UTF8'")
    return new_source(id_type="text", owner=ascii_owner)


def test_text_of_a_database_without_an_encoding_is_read_as_utf8(ascii_source: Source) -> None:
    names = ["café.jpg", "плажа", "\U0001f468\u200d\U0001f469", "plain"]
    ascii_source.insert(image(number, id=f"ü{number}", original_filename=name) for number, name in enumerate(names))

    with ascii_source.reader() as reader:
        rows = [row for page in reader.pages(MARCH, None, 2) for row in page]
        assert [(row[0], row[NAME]) for row in rows] == [(f"ü{number}", name) for number, name in enumerate(names)]
        assert [row[0] for page in reader.all_rows(3) for row in page] == [row[0] for row in rows]
        assert reader.rows(["ü1", "nobody", "b'x'"]) == {"ü1": rows[1]}
        assert len(reader.sample(9, 1, PICTURE)) == 4
        assert reader.rows_per_bucket(PICTURE, 3) == {"images-prod": 4}


def test_a_bad_byte_costs_its_row_and_no_neighbour(ascii_source: Source) -> None:
    ascii_source.insert(image(number) for number in range(6))
    set_bytes(ascii_source, 2, "original_filename", r"caf\351.jpg")
    set_bytes(ascii_source, 4, "s3_key", r"\377\376")

    transform = transformer(IMAGE)
    with ascii_source.reader() as reader:
        before = reader.inventory(MARCH)
        rows = [row for page in reader.pages(MARCH, None, 3) for row in page]
        set_bytes(ascii_source, 2, "original_filename", r"caf\350.jpg")
        after = reader.inventory(MARCH)

    assert [row[0] for row in rows] == [row_id(number) for number in range(6)]
    assert rows[2][NAME] == b"caf\xe9.jpg"
    rejected = [found for row in rows if isinstance(found := transform(row), Rejection)]
    assert [(each.row_id, each.field, each.code) for each in rejected] == [
        (row_id(2), "original_filename", "not_utf8"),
        (row_id(4), "s3_key", "not_utf8"),
    ]
    assert (before.rows, after.rows) == (6, 6)
    assert before.digest != after.digest


@pytest.mark.parametrize("id_type", ["text", "char(9)"])
def test_a_bad_byte_in_an_id_is_named_and_found_again(
    new_source: NewSource, ascii_owner: "psycopg.Connection[Any]", id_type: str
) -> None:
    source = new_source(id_type=id_type, owner=ascii_owner)
    source.insert(image(number, id=f"img-{number:05}", created_at="2024-03-01Z") for number in range(6))
    # The last of a page too: the next one begins behind it.
    set_bytes(source, 1, "id", r"img-\351")
    set_bytes(source, 3, "id", r"img-\377")
    bad = b"img-\xff" + (b" " * 4 if id_type == "char(9)" else b"")

    with source.reader() as reader:
        pages = list(reader.pages(MARCH, None, 2))
        named = [str(row[0]) for page in pages for row in page]
        assert len(named) == 6
        assert named[-1] == str(bad)
        assert [str(row[0]) for page in reader.all_rows(1) for row in page] == named
        assert [found for _counts, page in reader.recount([MARCH], 2) for found in page] == named
        assert list(reader.rows([str(bad)])) == [str(bad)]
        with reader.window_ids(MARCH) as ids_between:
            assert sorted(ids_between(None, None)) == sorted(named)
            assert sorted(ids_between(pages[1].until, None)) == sorted(named[4:])
        rejected = transformer(IMAGE)(pages[2][1])

    assert isinstance(rejected, Rejection)
    assert (rejected.row_id, rejected.field, rejected.code) == (str(bad), "id", "not_utf8")


def test_text_of_latin1_is_the_same_text(new_source: NewSource, latin_owner: "psycopg.Connection[Any]") -> None:
    latin_owner.execute("SET client_encoding = 'UTF8'")
    source = new_source(id_type="text", owner=latin_owner)
    source.insert(image(number, id=f"é{number}", original_filename="Größe.jpg") for number in range(4))

    with source.reader() as reader:
        rows = [row for page in reader.pages(MARCH, None, 3) for row in page]
        assert [(row[0], row[NAME]) for row in rows] == [(f"é{number}", "Größe.jpg") for number in range(4)]
        # A key of the target can hold what the database cannot.
        assert list(reader.rows(["é1", "💥", "\0"])) == ["é1"]
        assert reader.inventory(MARCH).rows == 4
