"""Text is the same text in every encoding; an invalid byte costs its own row only."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from imgmig_dagster.errors import UnreadableText
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.source.texts import _CODECS
from imgmig_dagster_tests.arrange import COLUMNS, MARCH, Source, image, row_id
from imgmig_dagster_tests.conftest import NewSource, Services
from imgmig_dagster_tests.images import IMAGE, PICTURE

NAME = COLUMNS.index("original_filename")


def set_bytes(source: Source, number: int, column: str, content: str) -> None:
    """Write bytes that are no UTF-8; `content` is PostgreSQL's spelling of them."""
    source.execute(
        f"UPDATE {{t}} SET {column} = convert_from(%s::bytea, 'SQL_ASCII') WHERE size_bytes = %s",  # noqa: S608
        content,
        1000 + number,
    )


@pytest.fixture
def ascii_source(new_source: NewSource, ascii_owner: psycopg.Connection[Any]) -> Source:
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
        assert len(reader.sample(9, 1, PICTURE, [MARCH])) == 4
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
    new_source: NewSource, ascii_owner: psycopg.Connection[Any], id_type: str
) -> None:
    source = new_source(id_type=id_type, owner=ascii_owner)
    source.insert(image(number, id=f"img-{number:05}", created_at="2024-03-01Z") for number in range(6))
    # The last of a page too: the next one begins behind it.
    set_bytes(source, 1, "id", r"img-\351")
    set_bytes(source, 3, "id", r"img-\377")
    bad = b"img-\xff" + (b" " * 4 if id_type == "char(9)" else b"")

    with source.reader() as reader:
        pages = list(reader.pages(MARCH, None, 2))
        named = [row.id for page in pages for row in page]
        assert len(named) == 6
        assert named[-1] == str(bad)
        assert [row.id for page in reader.all_rows(1) for row in page] == named
        assert [found for _counts, page in reader.recount([MARCH], 2) for found in page] == named
        assert list(reader.rows([str(bad)])) == [str(bad)]
        with reader.window_ids(MARCH) as ids_between:
            assert sorted(ids_between(None, None)) == sorted(named)
            assert sorted(ids_between(pages[1].until, None)) == sorted(named[4:])
        rejected = transformer(IMAGE)(pages[2][1])

    assert isinstance(rejected, Rejection)
    assert (rejected.row_id, rejected.field, rejected.code) == (str(bad), "id", "not_utf8")


def test_text_of_latin1_is_the_same_text(new_source: NewSource, latin_owner: psycopg.Connection[Any]) -> None:
    latin_owner.execute("SET client_encoding = 'UTF8'")
    source = new_source(id_type="text", owner=latin_owner)
    source.insert(image(number, id=f"é{number}", original_filename="Größe.jpg") for number in range(4))

    with source.reader() as reader:
        rows = [row for page in reader.pages(MARCH, None, 3) for row in page]
        assert [(row[0], row[NAME]) for row in rows] == [(f"é{number}", "Größe.jpg") for number in range(4)]
        # A key of the target can hold what the database cannot.
        assert list(reader.rows(["é1", "💥", "\0"])) == ["é1"]
        assert reader.inventory(MARCH).rows == 4


# Of each encoding: what has a form in Unicode, and bytes that have none.
ENCODINGS = [
    pytest.param("WIN1252", "€ Größe", r"caf\201", id="WIN1252"),
    pytest.param("WIN1253", "Αθήνα", r"caf\252", id="WIN1253"),
    # The wave dash is another character to Python's codec.
    pytest.param("EUC_JP", "写真～①", r"\365\241", id="EUC_JP"),
    pytest.param("EUC_KR", "사진㉾", r"\311\241", id="EUC_KR"),
]


@pytest.fixture
def encoded_source(new_source: NewSource, encoded_owner: psycopg.Connection[Any]) -> Source:
    encoded_owner.execute("SET client_encoding = 'UTF8'")
    return new_source(id_type="text", owner=encoded_owner)


@pytest.mark.parametrize(("encoded_owner", "text", "bad"), ENCODINGS, indirect=["encoded_owner"])
def test_a_value_without_a_form_in_unicode_costs_its_row_and_no_neighbour(
    encoded_source: Source, text: str, bad: str
) -> None:
    encoded_source.insert(image(number, id=f"{text}{number}", original_filename=text) for number in range(5))
    set_bytes(encoded_source, 2, "original_filename", bad)

    transform = transformer(IMAGE)
    with encoded_source.reader() as reader:
        rows = [row for page in reader.pages(MARCH, None, 2) for row in page]
        assert [row[0] for row in rows] == [f"{text}{number}" for number in range(5)]
        assert [row[NAME] for row in rows if row[0] != f"{text}2"] == [text] * 4
        rejected = [found for row in rows if isinstance(found := transform(row), Rejection)]
        assert [(each.row_id, each.field, each.code) for each in rejected] == [
            (f"{text}2", "original_filename", "not_utf8")
        ]
        assert [row[0] for page in reader.all_rows(2) for row in page] == sorted(row.id for row in rows)
        assert [found for _counts, page in reader.recount([MARCH], 2) for found in page] == [row[0] for row in rows]
        assert list(reader.rows([f"{text}1", "💥", "\0", f"{text}2"])) == [f"{text}1", f"{text}2"]
        assert reader.inventory(MARCH).rows == len(reader.sample(9, 1, PICTURE, [MARCH])) == 5


def test_python_decodes_only_what_it_decodes_as_postgresql_does(services: Services) -> None:
    services.owner.execute(
        "CREATE OR REPLACE FUNCTION pg_temp.text_of(given bytea, encoding name) RETURNS text LANGUAGE plpgsql AS"
        " 'BEGIN RETURN convert_from(given, encoding); EXCEPTION WHEN OTHERS THEN RETURN NULL; END'"
    )
    every_byte = [bytes([number]) for number in range(1, 256)]
    for encoding, codec in _CODECS.items():
        if encoding == "SQL_ASCII":
            continue
        ((texts,),) = services.owner.execute(
            "SELECT ARRAY(SELECT pg_temp.text_of(given, %s) FROM unnest(%s) WITH ORDINALITY AS u(given, n) ORDER BY n)",
            (encoding, every_byte),
        ).fetchall()
        assert texts == [_decoded(byte, codec) for byte in every_byte], encoding


def _decoded(byte: bytes, codec: str) -> str | None:
    try:
        return byte.decode(codec)
    except UnicodeDecodeError:
        return None


@pytest.fixture
def unchecked(source: Source) -> Iterator[Source]:
    """A table of a database in UTF-8, and a cast that does not look at what it makes text of."""
    source.execute("ALTER TABLE {t} ALTER id TYPE text USING id::text")
    source.insert(image(number) for number in range(6))
    source.owner.execute("CREATE CAST (bytea AS text) WITHOUT FUNCTION")
    yield source
    source.owner.execute("DROP CAST (bytea AS text)")


def test_a_bad_byte_in_a_database_in_utf8_costs_its_row_and_no_neighbour(unchecked: Source) -> None:
    bad = b"caf\xe9.jpg"
    unchecked.execute("UPDATE {t} SET original_filename = %s::bytea::text WHERE size_bytes = 1002", bad)

    with unchecked.reader() as reader:
        rows = [row for page in reader.pages(MARCH, None, 2) for row in page]
        assert [row[0] for row in rows] == [row_id(number) for number in range(6)]
        assert rows[2][NAME] == bad
        assert len(reader.sample(9, 1, PICTURE, [MARCH])) == reader.inventory(MARCH).rows == 6
    rejected = transformer(IMAGE)(rows[2])
    assert isinstance(rejected, Rejection)
    assert (rejected.field, rejected.code) == ("original_filename", "not_utf8")


def test_an_id_of_bad_bytes_in_a_database_in_utf8_is_found_again(unchecked: Source) -> None:
    unchecked.execute("UPDATE {t} SET id = %s::bytea::text WHERE size_bytes = 1002", b"img-\xff")
    named = str(b"img-\xff")

    with unchecked.reader() as reader:
        (page,) = reader.pages(MARCH, None, 10)
        assert str(page[2][0]) == named
        assert list(reader.rows([row_id(1), named])) == [row_id(1), named]
        with reader.window_ids(MARCH) as ids_between:
            assert named in ids_between(None, page.until)
        # No statement in UTF-8 can name that position: it is said, and no row is passed over.
        with pytest.raises(UnreadableText, match="fix it in the source"):
            list(reader.pages(MARCH, None, 3))
