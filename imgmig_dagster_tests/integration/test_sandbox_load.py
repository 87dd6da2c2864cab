"""Tables of a person's own in the sandbox: their DDL and rows as PostgreSQL's own client runs them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from imgmig_dagster.cli.app import app
from imgmig_dagster.errors import SandboxError, SettingsError
from imgmig_dagster.mapping.declaration import load
from imgmig_dagster.mapping.spec import KeyAttribute, TableMapping
from imgmig_dagster.mapping.template import Template
from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster.sandbox.aws_process import client
from imgmig_dagster_tests.images import IMAGE

SCRIPT = """
-- As pg_dump writes it: several statements, rows by COPY, a function in dollars.
CREATE SCHEMA IF NOT EXISTS shop;
DROP TABLE IF EXISTS shop."Orders";
CREATE TABLE shop."Orders" (
    shop text, "no" integer, total numeric(12,2), placed timestamptz NOT NULL, tags text[], PRIMARY KEY (shop, "no")
);
COPY shop."Orders" (shop, "no", total, placed, tags) FROM stdin;
north\t1\t10.50\t2024-01-02 03:04:05.678901+00\t{a,b}
north\t2\t\\N\t2024-02-02 00:00:00+00\t{}
south\t1\t0.10\t2024-03-02 00:00:00+00\t\\N
\\.
CREATE OR REPLACE FUNCTION shop.same(x integer) RETURNS integer LANGUAGE sql AS $$ SELECT x; $$;
INSERT INTO shop."Orders" VALUES ('south', 2, 1, '2024-03-03', '{c}');
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path_factory.mktemp("load") / ".imgmig")
    sandbox.start()
    yield sandbox
    sandbox.delete()


def script(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "own.sql"
    file.write_text(text)
    return file


def test_the_reader_reads_the_rows_that_a_file_made(sandbox: Sandbox, tmp_path: Path) -> None:
    assert sandbox.load(script(tmp_path, SCRIPT), "shop", "Orders") == 4

    with psycopg.connect(sandbox.environment()["IMGMIG_SOURCE_URL"]) as reader:
        assert reader.execute('SELECT count(*), sum(total)::text FROM shop."Orders"').fetchone() == (4, "11.60")


def test_a_table_that_is_loaded_says_itself_when_its_partitions_begin(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.load(script(tmp_path, SCRIPT), "shop", "Orders")

    assert "IMGMIG_PARTITION_START" not in sandbox.environment()
    assert "IMGMIG_PARTITION_START" not in (sandbox.root / "sandbox.env").read_text()
    assert sandbox.start().partition_start is None

    sandbox.seed_synthetic(10)
    assert sandbox.environment()["IMGMIG_PARTITION_START"] == "2023-01-01"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("CREATE TABLE a (x integer);\nINSERT INTO a\nVALUES ('one');", r'own\.sql:3: .*invalid input syntax .*"one"'),
        ("SELECT 1;\nSELEC 2;\n", r"own\.sql:2: .*syntax error at or near"),
        ("CREATE TABLE b (x integer);\nCOPY b FROM stdin;\n1\nx\n\\.\n", r"own\.sql:5: .*COPY b, line 2, column x"),
        ("SELECT 1;", r"there is no table shop\.none .*own\.sql"),
    ],
)
def test_what_postgresql_refuses_is_told_with_its_line(sandbox: Sandbox, tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SandboxError, match=said) as caught:
        sandbox.load(script(tmp_path, text), "shop", "none")

    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert ("imgmig sandbox reset --yes" in str(caught.value)) is (text != "SELECT 1;")


def test_a_file_that_is_not_there_is_told(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"none\.sql") as caught:
        sandbox.load(tmp_path / "none.sql", "shop", "Orders")

    assert caught.value.exit_code == 2


def keyed(*key: KeyAttribute) -> TableMapping:
    return replace(IMAGE, primary_key=key)


def key_schema(sandbox: Sandbox) -> list[tuple[str, str]]:
    table = dynamodb(sandbox).describe_table(TableName="images-dev")["Table"]
    return [(each["AttributeName"], each["KeyType"]) for each in table["KeySchema"]]


def dynamodb(sandbox: Sandbox) -> Any:
    status = sandbox.start()
    assert status.aws_port
    return client("dynamodb", status.aws_port)


def test_the_target_table_gets_the_key_that_is_declared_and_keeps_it(sandbox: Sandbox) -> None:
    sandbox.prepare_target(keyed(KeyAttribute("id", Template("{id}"), "N")))
    assert key_schema(sandbox) == [("id", "HASH")]

    sandbox.stop()
    assert key_schema(sandbox) == [("id", "HASH")]

    sandbox.prepare_target(IMAGE)
    assert key_schema(sandbox) == [("PK", "HASH"), ("SK", "RANGE")]


def test_a_target_table_with_items_keeps_its_key(sandbox: Sandbox) -> None:
    sandbox.prepare_target(IMAGE)
    key = {"PK": {"S": "IMAGE#1"}, "SK": {"S": "METADATA"}}
    dynamodb(sandbox).put_item(TableName="images-dev", Item=key)

    with pytest.raises(SandboxError, match=r"its key is PK \(S\), SK \(S\), not id \(S\) as declared"):
        sandbox.prepare_target(keyed(KeyAttribute("id", Template("{id}"))))

    assert key_schema(sandbox) == [("PK", "HASH"), ("SK", "RANGE")]
    dynamodb(sandbox).delete_item(TableName="images-dev", Key=key)


@pytest.fixture
def folder(sandbox: Sandbox, tmp_path: Path, clean_environment: pytest.MonkeyPatch) -> Path:
    clean_environment.setenv("IMGMIG_SANDBOX_DIR", str(sandbox.root))
    clean_environment.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Any:
    return CliRunner().invoke(app, words)


def test_the_command_declares_the_table_and_says_what_is_next(sandbox: Sandbox, folder: Path) -> None:
    file = script(folder, SCRIPT)

    ended = run("sandbox", "load", str(file), "--table", "shop.Orders")

    assert ended.exit_code == 0, ended.output
    assert "shop.Orders holds 4 rows." in ended.output
    assert "imgmig mapping check mappings/Orders.yaml" in ended.output
    declared = load(folder / "mappings" / "Orders.yaml").mapping
    assert (declared.schema, declared.table, declared.identity) == ("shop", "Orders", ("shop", "no"))
    assert [each.attribute for each in declared.primary_key] == [name for name, _role in key_schema(sandbox)]


def test_a_declaration_that_is_there_stays_and_its_key_is_the_tables(sandbox: Sandbox, folder: Path) -> None:
    file = script(folder, SCRIPT)
    run("sandbox", "load", str(file), "--table", "shop.Orders")
    path = folder / "mappings" / "Orders.yaml"
    text = path.read_text()
    assert "  SK:" in text
    path.write_text(text.replace("  PK:", "  shop:").replace("  SK:", "  order:"))

    ended = run("sandbox", "load", str(file), "--table", "shop.Orders")

    assert ended.exit_code == 0, ended.output
    assert "exists already: kept" in ended.output
    assert key_schema(sandbox) == [("shop", "HASH"), ("order", "RANGE")]
    sandbox.prepare_target(IMAGE)


def test_two_tables_of_other_keys_do_not_go_into_one_table(folder: Path) -> None:
    run("sandbox", "load", str(script(folder, SCRIPT)), "--table", "shop.Orders")
    path = folder / "mappings" / "Orders.yaml"
    path.write_text(path.read_text().replace("  PK:", "  shop:"))
    other = script(folder, "DROP TABLE IF EXISTS shop.items; CREATE TABLE shop.items (id uuid PRIMARY KEY);")

    ended = run("sandbox", "load", str(other), "--table", "shop.items")

    assert isinstance(ended.exception, SettingsError)
    assert "one DynamoDB table, which has one key" in str(ended.exception)


def test_a_name_that_is_none_is_told(folder: Path) -> None:
    ended = run("sandbox", "load", str(script(folder, SCRIPT)), "--table", "a.b.c")

    assert isinstance(ended.exception, SettingsError)


def test_an_application_writes_the_table_by_its_declaration(sandbox: Sandbox, folder: Path) -> None:
    run("sandbox", "load", str(script(folder, SCRIPT)), "--table", "shop.Orders")

    for _ in range(10):
        ended = run("sandbox", "dual-write", "--table", "Orders", "--rate", "100", "--seconds", "1")
        assert ended.exit_code == 0, ended.output
        # On a busy machine it may write little, and delete it again.
        if "insert: " in ended.output and (items := dynamodb(sandbox).scan(TableName="images-dev")["Items"]):
            break
    else:
        raise AssertionError(f"nothing was inserted that stayed: {ended.output}")
    for item in items:
        dynamodb(sandbox).delete_item(TableName="images-dev", Key={name: item[name] for name in ("PK", "SK")})

    ended = run("sandbox", "dual-write", "--table", "nothing")
    assert isinstance(ended.exception, SettingsError)
    assert "no table 'nothing': choose one of Orders" in str(ended.exception)


def test_the_self_test_works_on_copies_of_its_rows(folder: Path) -> None:
    run("sandbox", "load", str(script(folder, SCRIPT)), "--table", "shop.Orders")

    ended = run("verify", "--self-test", "--table", "Orders", "--count", "150", "--seed", "1", "--json")

    found = json.loads(ended.stdout)
    assert (found["missed"], found["false"], found["planted"]) == ([], [], 150)
    assert ended.exit_code == 0
