"""docs/recheck.md: its definition, its test vectors, PostgreSQL, our own comparison and recheck.py give one digest."""

import hashlib
import importlib
import json
import re
import sys
import uuid
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import datetime, timezone
from types import ModuleType
from typing import Any

import psycopg
import pytest
from psycopg import sql

from imgmig_dagster.mapping.digests import item_digester
from imgmig_dagster.mapping.fields import Field, FieldType, Null, Rule, Unit
from imgmig_dagster.mapping.spec import KeyAttribute, Order, TableMapping, Version
from imgmig_dagster.mapping.template import Template
from imgmig_dagster.reporting.published_mapping import published_mapping
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window
from imgmig_dagster_tests.arrange import COLUMNS, MARCH, Source, image
from imgmig_dagster_tests.conftest import NewSource, Services
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.orchestration.documents import REPOSITORY

PAGE = (REPOSITORY / "docs" / "recheck.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PUBLISHED = json.loads((REPOSITORY / "docs" / "recheck.vectors.json").read_text(encoding="utf-8"))
VECTORS: list[dict[str, Any]] = PUBLISHED["rows"]
VALUES: list[dict[str, Any]] = PUBLISHED["values"]
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
    assert len([line for line in code.splitlines() if line.strip()]) <= 50
    defined: dict[str, Any] = {}
    exec(compile(code, "docs/recheck.md", "exec"), defined)  # noqa: S102
    return defined


@pytest.fixture(scope="module")
def recheck() -> Iterator[ModuleType]:
    """What an auditor runs: the part of it that reads both sides."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(REPOSITORY / "recheck")
        yield importlib.import_module("sides")


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
    assert str(item_digester(DOCUMENT)(vector["item"])) == vector["digest"]


@each_item
def test_recheck_computes_the_digest_of_the_item(recheck: ModuleType, vector: dict[str, Any]) -> None:
    fields = asdict(published_mapping(DOCUMENT))["fields"]
    values = [recheck.of_item(field, vector["item"]) for field in fields]
    contents = sys.modules["contents"]
    assert str(contents.digest(fields, vector["row"][0], values)) == vector["digest"]


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


class TestValues:
    """One field of each type, and of what else a mapping can say of it."""

    each_value = pytest.mark.parametrize("vector", VALUES, ids=[each["what"] for each in VALUES])
    each_attribute = pytest.mark.parametrize(
        "vector", [each for each in VALUES if "attribute" in each], ids=lambda each: each["what"]
    )
    each_plain = pytest.mark.parametrize(
        "vector",
        # The page's own code says which values it takes.
        [
            each
            for each in VALUES
            if not {"column_unit", "template", "labels"} & each.keys()
            and "BC" not in (each["value"] or "")
            and not each["content"].startswith("J?")
        ],
        ids=lambda each: each["what"],
    )

    def test_there_is_a_vector_of_each_type(self) -> None:
        assert {each["type"] for each in VALUES} == {each.value for each in FieldType}

    @each_value
    def test_postgresql_computes_the_digest(self, made: Callable[..., Source], vector: dict[str, Any]) -> None:
        source = made(vector)
        mapping = mapping_of(vector)
        connections = ReadOnlyConnections(source.url)
        with SourceReader(connections, source.schema, source.table, mapping) as reader:
            assert reader.inventory(ALWAYS).digest == digest_of(vector)

    @each_value
    def test_recheck_reads_the_row(
        self, made: Callable[..., Source], recheck: ModuleType, vector: dict[str, Any]
    ) -> None:
        source = made(vector)
        published = asdict(published_mapping(mapping_of(vector)))
        where = {"schema": source.schema, "table": source.table, "only": True, "time_zone": "UTC"}
        certificate = {
            "recheck": {"mapping": published, "source": where},
            "identity": {"target": "arn:aws:dynamodb:us-east-1:1:table/none"},
        }
        sides = recheck.Sides(certificate, source.url)
        with sides.connection, sides.snapshot():
            ((row,),) = sides.rows(sql.SQL("true"), [])
        assert recheck.content(published["fields"][0], row[0]).decode() == vector["content"]

    @each_attribute
    def test_recheck_reads_the_item(self, recheck: ModuleType, vector: dict[str, Any]) -> None:
        field = asdict(published_mapping(mapping_of(vector)))["fields"][0]
        attribute = dict(vector["attribute"])
        if "B" in attribute:  # as boto3 hands it over
            attribute["B"] = b64decode(attribute["B"])
        assert recheck.content(field, recheck.of_item(field, {"v": attribute})).decode() == vector["content"]

    @each_attribute
    def test_our_comparison_computes_the_digest_of_the_item(self, vector: dict[str, Any]) -> None:
        item = {"PK": {"S": "DOC#1"}, "v": vector["attribute"]}
        assert str(item_digester(mapping_of(vector))(item)) == digest_of(vector)

    @each_plain
    def test_the_pages_own_code_gives_the_content(
        self, made: Callable[..., Source], page: dict[str, Any], vector: dict[str, Any]
    ) -> None:
        text = {
            "binary": "encode(v, 'hex')",
            "timestamp": "to_json(v AT TIME ZONE 'UTC')::text",
            "list": "array_to_json(v)::text",
        }
        text |= {"text set": text["list"], "number set": text["list"], "epoch": text["timestamp"]}
        source, told = made(vector), sql.SQL(text.get(vector["type"], "concat(v)"))
        query = sql.SQL("SELECT {} FROM {}").format(told, sql.Identifier(source.schema, source.table))
        ((value,),) = source.owner.execute(query).fetchall()
        if vector["type"] in ("timestamp", "epoch"):
            value = value.strip('"') + "+00:00"
        found = page["content"](vector["type"], vector["value"] and value, vector.get("unit", "ms"))
        assert found.decode() == vector["content"]


def mapping_of(vector: dict[str, Any]) -> TableMapping:
    """A table of an id, a time, and the vector's column."""
    names = ("member", "plus_us", "template", "unit", "column_unit", "labels")
    said = {name: vector[name] for name in names if name in vector}
    for name, kind in (("template", Template), ("unit", Unit), ("column_unit", Unit)):
        if name in said:
            said[name] = kind(said[name])
    if "labels" in said:
        said["labels"] = tuple(said["labels"].items())
    field = Field("" if "template" in said else "v", "v", FieldType(vector["type"]), null=Null.WRITTEN, **said)
    return replace(DOCUMENT, primary_key=DOCUMENT.primary_key[:1], fields=(field,), modified=None)


def digest_of(vector: dict[str, Any]) -> str:
    """The digest of the vector's row, whose id is 1."""
    hashed = hashlib.sha256(b"S1:1" + vector["content"].encode()).digest()
    return str(int.from_bytes(hashed[:8], "big", signed=True))


@pytest.fixture
def made(services: Services) -> Iterator[Callable[[dict[str, Any]], Source]]:
    """Makes the table of a vector, with its one row."""
    schema = f"test_{uuid.uuid4().hex[:12]}"
    source = Source(services.owner, services.environment["IMGMIG_SOURCE_URL"], schema, "documents")

    def make(vector: dict[str, Any]) -> Source:
        services.owner.execute(
            f"CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO imgmig_reader;"
            f" CREATE TABLE {schema}.documents (id text PRIMARY KEY, created timestamptz, v {vector['column']});"
            f" GRANT SELECT ON {schema}.documents TO imgmig_reader"
        )
        source.execute("INSERT INTO {t} VALUES ('1', now(), %s)", vector["value"])
        return source

    yield make
    services.owner.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
