"""docs/recheck.md: its definition, its test vectors, PostgreSQL, our own comparison and recheck.py give one digest."""

import hashlib
import importlib.util
import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from types import ModuleType
from typing import Any

import psycopg
import pytest
from psycopg import sql

from imgmig_dagster.mapping.compare import item_digest
from imgmig_dagster.mapping.fields import Field, FieldType, Null, Rule
from imgmig_dagster.mapping.image import IMAGE
from imgmig_dagster.mapping.spec import KeyAttribute, Order, TableMapping, Version
from imgmig_dagster.mapping.template import Template
from imgmig_dagster.reporting.published_mapping import published_mapping
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window
from imgmig_dagster_tests.arrange import COLUMNS, MARCH, image
from imgmig_dagster_tests.conftest import NewSource, Services
from imgmig_dagster_tests.orchestration.documents import REPOSITORY

PAGE = (REPOSITORY / "docs" / "recheck.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
VECTORS: list[dict[str, Any]] = json.loads(next(text for language, text in BLOCKS if language == "json"))
DOCUMENT = TableMapping(
    name="documents",
    entity="document",
    schema="public",
    table="documents",
    identity=("id",),
    primary_key=(KeyAttribute("PK", Template("DOC#{id}")), KeyAttribute("SK", Template("PAGE"))),
    order=Order("created"),
    modified="read",
    version=Version("version", 1),
    fields=(
        Field("title", "title", FieldType.TEXT, null=Null.WRITTEN),
        Field("pages", "pages", FieldType.INTEGER, null=Null.WRITTEN),
        Field("created", "created", FieldType.TIMESTAMP, rule=Rule.WITHIN_ONE_SECOND),
        Field("read", "read", FieldType.TIMESTAMP, null=Null.WRITTEN, rule=Rule.WITHIN_ONE_SECOND),
    ),
)
KINDS = ["text", *(field.type.value for field in DOCUMENT.fields)]
ALWAYS = Window("always", datetime(1, 1, 1, tzinfo=timezone.utc), datetime.max.replace(tzinfo=timezone.utc))
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=[each["what"] for each in VECTORS])
each_item = pytest.mark.parametrize(
    "vector", [each for each in VECTORS if "item" in each], ids=lambda each: each["what"]
)


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """What the page's own code defines."""
    code = next(text for language, text in BLOCKS if language == "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    defined: dict[str, Any] = {}
    exec(compile(code, "docs/recheck.md", "exec"), defined)  # noqa: S102
    return defined


@pytest.fixture(scope="module")
def recheck() -> ModuleType:
    """The file that an auditor runs."""
    spec = importlib.util.spec_from_file_location("contents", REPOSITORY / "recheck" / "contents.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def by_postgresql(services: Services) -> Iterator[Callable[[list[str | None]], tuple[int, str]]]:
    """Adds a row to an empty table or to those before it, and gives the count and digest that PostgreSQL computes."""
    schema = f"test_{uuid.uuid4().hex[:12]}"
    names = {"schema": sql.Identifier(schema), "table": sql.Identifier(schema, "documents")}
    create = (
        "CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO imgmig_reader;"
        " CREATE TABLE {table} (id text PRIMARY KEY, title text, pages bigint, created timestamptz, read timestamptz);"
        " GRANT SELECT ON {table} TO imgmig_reader"
    )
    services.owner.execute(sql.SQL(create).format(**names))
    connections = ReadOnlyConnections(services.environment["IMGMIG_SOURCE_URL"])
    with SourceReader(connections, schema, "documents", DOCUMENT) as reader:

        def computed(row: list[str | None], alone: bool = True) -> tuple[int, str]:
            if alone:
                services.owner.execute(sql.SQL("TRUNCATE {table}").format(**names))
            services.owner.execute(sql.SQL("INSERT INTO {table} VALUES (%s, %s, %s, %s, %s)").format(**names), row)
            found = reader.inventory(ALWAYS)
            return found.rows, found.digest

        yield computed
    services.owner.execute(sql.SQL("DROP SCHEMA {schema} CASCADE").format(**names))


def test_there_is_a_vector_of_each_kind() -> None:
    rows = [each["row"] for each in VECTORS]
    items = [each["item"] for each in VECTORS if "item" in each]
    spelled = {attribute.get("N", attribute.get("S")) for item in items for attribute in item.values()}
    assert any(None in row for row in rows)
    assert any("" in row for row in rows)
    assert any(len(text.encode()) > len(text) and max(text) > "\uffff" for row in rows for text in row if text)
    assert {"infinity", "-infinity"} <= {row[4] for row in rows}
    assert any(int(row[2] or 0) < 0 for row in rows)
    assert {"1E2", "2024-03-01T14:00:00.123+02:00", "2024-03-01T12:00:00Z"} <= spelled
    assert any(row[3].startswith("1969-") and not row[3].endswith("000Z") for row in rows)
    assert any("read" not in item for item in items)
    assert any(item.get("read") == {"NULL": True} for item in items)


@each_vector
def test_the_pages_own_code_gives_content_and_digest(page: dict[str, Any], vector: dict[str, Any]) -> None:
    assert b"".join(map(page["content"], KINDS, vector["row"])).decode() == vector["content"]
    assert str(page["digest"](KINDS, vector["row"])) == vector["digest"]


@each_vector
def test_postgresql_computes_the_digest_of_the_row(
    by_postgresql: Callable[[list[str | None]], tuple[int, str]], vector: dict[str, Any]
) -> None:
    assert by_postgresql(vector["row"]) == (1, vector["digest"])


@each_item
def test_our_comparison_computes_the_digest_of_the_item(vector: dict[str, Any]) -> None:
    assert str(item_digest(DOCUMENT, vector["item"])) == vector["digest"]


@each_item
def test_recheck_computes_the_digest_of_the_item(recheck: ModuleType, vector: dict[str, Any]) -> None:
    fields = asdict(published_mapping(DOCUMENT))["fields"]
    values = [recheck.of_item(field, vector["item"]) for field in fields]
    assert str(recheck.digest(fields, vector["row"][0], values)) == vector["digest"]


def test_the_digest_of_many_is_their_sum(by_postgresql: Callable[..., tuple[int, str]]) -> None:
    different = {each["digest"]: each["row"] for each in VECTORS}
    said = re.search(r"sum of the (\d+) different digests is `(-?\d+)`", PAGE)
    assert said
    first, *others = different.values()
    found = by_postgresql(first)
    for row in others:
        found = by_postgresql(row, alone=False)

    assert found == (len(different), said[2]) == (int(said[1]), str(sum(map(int, different))))
    assert abs(int(said[2])) > 2**63, "no sum of 64 bits would be seen to be one"


def test_a_database_in_another_encoding_hashes_the_bytes_that_it_stores(
    new_source: NewSource, latin_owner: psycopg.Connection[Any], page: dict[str, Any]
) -> None:
    latin_owner.execute("SET client_encoding = 'UTF8'")
    source = new_source(id_type="text", owner=latin_owner)
    source.insert([image(1, original_filename="é.jpg")])
    with source.reader() as reader:
        ((row,),) = reader.pages(MARCH, None, 10)
        stored = reader.inventory(MARCH).digest
    kinds = ["text", *(field.type.value for field in IMAGE.fields)]
    moments = [
        image(1)[name] if kind == "timestamp" else value for name, kind, value in zip(COLUMNS, kinds, row, strict=True)
    ]
    in_utf8 = b"".join(page["content"](kind, value and str(value)) for kind, value in zip(kinds, moments, strict=True))

    in_latin = in_utf8.replace("S6:é".encode(), "S5:é".encode("latin-1"))

    assert in_latin != in_utf8
    assert stored == str(int.from_bytes(hashlib.sha256(in_latin).digest()[:8], "big", signed=True))
