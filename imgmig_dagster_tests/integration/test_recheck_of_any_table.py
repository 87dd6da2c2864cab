"""recheck/recheck.py on a table with a column of every type, and on each way in which rows lie in partitions.

Items are as the migration writes them, the certificate's figures as PostgreSQL and our own comparison compute them: all
three have to agree.
"""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from psycopg import sql

from imgmig_dagster.mapping.fields import Field, FieldType, Null, Unit
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.spec import Constant, KeyAttribute, Order, TableMapping
from imgmig_dagster.mapping.template import Template
from imgmig_dagster.mapping.transform import transformer
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import UNDATED_WINDOW, Window
from imgmig_dagster_tests.arrange import MARCH, Source, Target, month
from imgmig_dagster_tests.audits import Audit, for_boto3
from imgmig_dagster_tests.conftest import NewSource

T = FieldType
COLUMNS = (
    "tenant text, number bigint, at_ms bigint, note character(5), amount numeric, ratio double precision,"
    " fine boolean, seen timestamp, gone timestamptz, day date, facts json, more jsonb, parts int[], marks text[],"
    " sizes numeric[], picture bytea, kind smallint, address inet, PRIMARY KEY (tenant, number)"
)
FIELDS = (
    Field("at_ms", "at", T.TIMESTAMP, Null.LEFT_OUT, column_unit=Unit.MILLISECONDS),
    Field("note", "note", T.TEXT, Null.WRITTEN),
    Field("amount", "money", T.NUMBER, Null.WRITTEN, member="amount"),
    Field("ratio", "money", T.NUMBER, Null.WRITTEN, member="ratio"),
    Field("fine", "fine", T.BOOLEAN, Null.LEFT_OUT),
    Field("seen", "seen", T.TIMESTAMP, Null.WRITTEN),
    Field("gone", "ttl", T.EPOCH, Null.LEFT_OUT, unit=Unit.SECONDS, plus_us=30 * 86_400_000_000),
    Field("day", "day", T.DATE, Null.WRITTEN),
    Field("facts", "facts", T.DOCUMENT, Null.WRITTEN),
    Field("more", "more", T.DOCUMENT, Null.WRITTEN),
    Field("parts", "parts", T.LIST, Null.WRITTEN),
    Field("marks", "marks", T.TEXT_SET, Null.WRITTEN),
    Field("sizes", "sizes", T.NUMBER_SET, Null.WRITTEN),
    Field("picture", "picture", T.BINARY, Null.WRITTEN),
    Field("kind", "kind", T.LABEL, Null.WRITTEN, labels=(("0", "image"), ("1", "video"))),
    Field("", "GSI1PK", T.TEXT, Null.LEFT_OUT, template=Template("KIND#{kind}#{day}")),
    Field("address", "address", T.TEXT, Null.WRITTEN),
)
THINGS = TableMapping(
    name="things",
    entity="thing",
    schema="public",
    table="things",
    identity=("tenant", "number"),
    primary_key=(KeyAttribute("PK", Template("TENANT#{tenant}")), KeyAttribute("SK", Template("THING#{number}"))),
    order=Order("at_ms", Unit.MILLISECONDS),
    fields=FIELDS,
    modified="gone",
    constants=(Constant("entity", {"S": "thing"}),),
)
ROWS = r"""
    ('a|b\c', 1, 1709294400123, 'é', 1.500, 1e100, true, '2024-03-01 12:00:00.1239', '2024-03-01Z', '2024-02-29',
     '{"zz": 1.50, "é": [1E2, null, "\u00e9\/\ud83d\ude00"], "z": {"a": 0}}', '[-0.0, 12345678901234567890123456789]',
     '{1,NULL,3}', '{é,z,zz}', '{10,9,1.50}', '\x00ff', 1, '10.0.0.1/8'),
    ('a|b\c', 2, 1709294400124, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL),
    ('', 3, 1709294400125, '', -0.0, '-0', false, '0001-01-01', '1969-12-31 23:59:59.5Z', '9999-12-31', '{}',
     '"text"', '{}', '{}', '{}', '', 0, '::1'),
    ('b', -3, 1711929599999, 'a', 1e-130, 1e-130, false, '9999-12-31 23:59:59.999999', '2286-11-20Z', '0001-01-01',
     'null', '5.00', '{{1,2},{3,4}}', '{1.50}', '{1e-130,-1e125}', '\x', 0, '192.168.0.0/16')
"""


def insert(things: Source, rows: str) -> None:
    """Add rows, which are told in SQL."""
    table = sql.Identifier(things.schema, things.table)
    things.owner.execute(sql.SQL("INSERT INTO {} VALUES {}").format(table, sql.SQL(rows)))


def put_items(audit: Audit) -> None:
    """Write the item of each row."""
    transform = transformer(audit.mapping)
    table = audit.source.schema, "things", audit.mapping, audit.time_zone
    with SourceReader(ReadOnlyConnections(audit.source.url), *table) as reader:
        rows = [row for window in audit.windows for page in reader.pages(window, None, 100) for row in page]
    for row in rows:
        item = transform(row)
        assert isinstance(item, dict), item
        audit.target.put(for_boto3(item))


def bucket_windows(number: int) -> list[Window]:
    """Bucket k is second k since 1970."""
    start = datetime(1970, 1, 1, tzinfo=timezone.utc)
    moments = [start + timedelta(seconds=second) for second in range(number + 1)]
    return [Window(f"bucket-{n}", *pair) for n, pair in enumerate(pairwise(moments))]


@pytest.fixture
def things(new_source: NewSource) -> Source:
    """A table of every type, which is empty."""
    source = replace(new_source(), table="things")
    source.execute(f"CREATE TABLE {{t}} ({COLUMNS})")
    source.execute("GRANT SELECT ON {t} TO imgmig_reader")
    return source


@pytest.fixture
def audit(things: Source, target: Target, tmp_path: Path) -> Audit:
    """Rows with values at the edge of each type, and their items; not yet a certificate."""
    insert(things, ROWS)
    audit = Audit(things, target, tmp_path, THINGS)
    put_items(audit)
    return audit


def test_three_implementations_agree_on_every_type(audit: Audit) -> None:
    audit.certify()
    said = audit.run("--scan")
    assert said.error == ""
    assert said.out.splitlines()[1:] == [
        "agrees  2024-03-01: 4 rows agree with their items as certified",
        "agrees  0 items have no row",
        "2 of 2 findings agree",
    ]


WRONG: dict[str, Item] = {
    "at_ms": {"at": {"S": "2024-03-01T12:00:00.124Z"}},
    "note": {"note": {"S": "é"}},
    "amount": {"money": {"M": {"amount": {"N": "1.6"}, "ratio": {"N": "1E100"}}}},
    "ratio": {"money": {"M": {"amount": {"N": "1.5"}}}},
    "fine": {"fine": {"BOOL": False}},
    "seen": {"seen": {"S": "2024-03-01T12:00:00.124Z"}},
    "gone": {"ttl": {"N": "1709251200"}},
    "day": {"day": {"S": "2024-02-28"}},
    "facts": {"facts": {"M": {"zz": {"N": "1.5"}}}},
    "more": {"more": {"L": [{"S": "0"}, {"N": "12345678901234567890123456789"}]}},
    "parts": {"parts": {"L": [{"N": "1"}, {"N": "3"}]}},
    "marks": {"marks": {"L": [{"S": "z"}, {"S": "zz"}, {"S": "é"}]}},
    "sizes": {"sizes": {"NS": ["10", "9"]}},
    "picture": {"picture": {"B": b"\x00"}},
    "kind": {"kind": {"S": "image"}},
    "GSI1PK": {"GSI1PK": {"S": "KIND#1#2024-02-30"}},
    "address": {"address": {"NULL": True}},
    "entity": {"entity": {"S": "other"}},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_of_each_type_is_named(audit: Audit, name: str) -> None:
    audit.certify()
    (item,) = [for_boto3(each) for each in audit.items() if each["SK"] == {"S": "THING#1"}]
    audit.target.put({**item, **WRONG[name]})
    said = audit.run()
    assert said.exit_code == 1
    assert f"1 of 4 rows do not agree: a\\|b\\\\c|1 ({name})" in said.out
    assert "the source's" not in said.out
    assert ("the target's" in said.out) == (name != "entity"), "a constant is in no digest"


# No item can hold them; the certificate counts and digests the rows all the same.
WITHOUT_ITEM = {
    "amount": ["NaN", "-Infinity", "1e-131", "1e400"],
    "ratio": ["NaN", "Infinity", "1e300"],
    "seen": ["infinity", "0044-03-15 12:00 BC", "294276-12-31 23:59:59"],
    "gone": ["-infinity", "294276-12-31 23:59:59.999999Z", "4713-01-01 00:00Z BC"],
    "day": ["infinity", "-infinity", "0044-03-15 BC", "5874897-12-31"],
    "facts": [
        '{"a": 1, "a": 2}',
        '{"": 1}',
        r'"\u0000"',
        r'["\ud800", "\\\\u0000"]',
        "1e1000",
        "-1E-0001000",
        "1" + "0" * 254,
        "[" * 100 + "]" * 100,
        '"1e1000"',
        "1e200",
    ],
    "more": ['{"": {"b": [], "a": {}}}', "1" + "0" * 254, "0." + "0" * 200 + "1"],
    "parts": ["{{{1}},{{NULL}}}"],
    "marks": ["{a,NULL,b,NULL}", "{z,z,é}"],
    "sizes": ["{NaN,1.50,NULL}", "{1e200,2}"],
}


def test_rows_that_no_item_can_hold_have_the_digest_that_is_certified(audit: Audit) -> None:
    number = 100
    for name, values in WITHOUT_ITEM.items():
        for value in values:
            number += 1
            table = sql.Identifier(audit.source.schema, "things")
            statement = sql.SQL("INSERT INTO {} (tenant, number, at_ms, {}) VALUES ('x', %s, 1709294400000, %s)")
            audit.source.owner.execute(statement.format(table, sql.Identifier(name)), [number, value])
    audit.certify()
    said = audit.run()
    assert f"{number - 100} of {number - 96} rows do not agree: x|101 (no item), x|102 (no item)" in said.out
    assert "count and digest" not in said.out
    assert said.error == ""


def test_rows_that_differ_by_what_orders_them_lie_in_its_partitions(audit: Audit) -> None:
    insert(
        audit.source,
        "('undated', 10, NULL), ('undated', 11, NULL), ('far', 12, 9223372036854775807), ('april', 13, 1711929600000)",
    )
    audit.mapping = replace(THINGS, order=replace(THINGS.order, has_undated=True))
    audit.windows = (MARCH, month(2024, 4), UNDATED_WINDOW)
    put_items(audit)
    audit.certify()
    said = audit.run("--scan")
    assert said.out.splitlines()[1:] == [
        "agrees  2024-03-01: 4 rows agree with their items as certified",
        "agrees  2024-04-01: 1 rows agree with their items as certified",
        "agrees  undated: 2 rows agree with their items as certified",
        "DIFFERS 1 rows are in no certified partition: far|12",
        "agrees  0 items have no row",
        "4 of 5 findings agree",
    ]


def test_buckets_of_the_identity(audit: Audit) -> None:
    insert(audit.source, ", ".join(f"('bucket', {number})" for number in range(40)))
    audit.mapping = replace(THINGS, order=Order("", buckets=4))
    audit.windows = bucket_windows(4)
    put_items(audit)
    audit.certify()
    said = audit.run("--scan")
    assert said.exit_code == 0, said
    rows = [int(line.split()[2]) for line in said.out.splitlines() if line.startswith("agrees  bucket-")]
    assert (len(rows), sum(rows), min(rows) > 0) == (4, 44, True)

    audit.edit(lambda document: document["partitions"].pop())
    assert f"DIFFERS {rows[3]} rows are in no certified partition: " in audit.run().out


def test_rows_outside_of_the_condition_do_not_exist(audit: Audit) -> None:
    # With what could break a statement: %, quotes, a colon, a comment at the end.
    audit.mapping = replace(THINGS, where="note IS NULL OR note NOT LIKE 'a%:start' AND note <> 'a' -- kept")
    audit.certify()
    said = audit.run("--scan")
    assert said.out.splitlines()[1:] == [
        "Only rows count where note IS NULL OR note NOT LIKE 'a%:start' AND note <> 'a' -- kept",
        "agrees  2024-03-01: 3 rows agree with their items as certified",
        "DIFFERS 1 items have no row: b|-3 (no row)",
        "1 of 2 findings agree",
    ]


def test_a_condition_that_is_more_than_one_runs_no_other_statement(audit: Audit) -> None:
    audit.certify()
    where = "true)) t LIMIT 0; COMMIT; DELETE FROM {s}.things; SELECT ((1 --".replace("{s}", audit.source.schema)
    audit.edit(lambda document: document["recheck"]["mapping"].update(where=where))
    info = audit.source.owner.info
    said = audit.run(url=f"host={info.host} port={info.port} user={info.user} dbname={info.dbname}")
    assert audit.source.execute("SELECT count(*) FROM {t}") == [(4,)]
    assert said.exit_code == 2
    assert "cannot insert multiple commands" in said.error


def test_days_order_rows(audit: Audit) -> None:
    audit.source.execute("DELETE FROM {t} WHERE day IS NULL")
    audit.mapping = replace(THINGS, order=Order("day"))
    audit.windows = (month(2024, 2),)
    audit.certify()
    said = audit.run()
    assert "agrees  2024-02-01: 1 rows agree with their items as certified" in said.out
    assert "DIFFERS 2 rows are in no certified partition: |3, b|-3" in said.out


def test_local_times_of_an_identity_keep_their_own_clock(audit: Audit) -> None:
    # In Berlin the clocks were put back, and put on, by an hour.
    audit.source.execute("DELETE FROM {t}")
    insert(
        audit.source,
        "('a', 1, 0, '', 0, 0, true, '2024-10-27 02:30'), ('a', 2, 0, '', 0, 0, true, '2024-03-31 02:30:00.000001')",
    )
    audit.mapping = replace(
        THINGS,
        identity=("number", "seen"),
        primary_key=(KeyAttribute("PK", Template("{seen}#{gone}")), KeyAttribute("SK", Template("{number}"))),
        order=Order("seen"),
        fields=(*FIELDS[:5], replace(FIELDS[15], template=Template("{seen}")), *FIELDS[6:15]),
    )
    audit.source.execute("UPDATE {t} SET gone = '2024-03-01 00:00:00.123456Z'")
    audit.source.execute("CREATE UNIQUE INDEX ON {t} (number, seen)")
    audit.time_zone = "Europe/Berlin"
    audit.windows = (MARCH, month(2024, 10))
    for item in audit.items():
        audit.target.client.delete_item(TableName=audit.target.name, Key={name: item[name] for name in ("PK", "SK")})
    put_items(audit)
    assert {item["PK"]["S"] for item in audit.items()} >= {"2024-10-27T02:30:00.000000#2024-03-01T00:00:00.123Z"}
    audit.certify()
    said = audit.run("--scan")
    assert said.exit_code == 0, said
