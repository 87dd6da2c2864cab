"""Where a mapping has a condition, rows outside of it exist for no statement."""

import pytest

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.mapping.spec import Order, TableMapping
from imgmig_dagster.source.counting import present
from imgmig_dagster_tests.arrange import MARCH
from imgmig_dagster_tests.unit.source.things import Things, assert_all_looks_agree, text_field, things_mapping

KEPT = ["1", "3"]
CONDITIONS = [
    "deleted IS NULL",
    "deleted IS NULL -- deleted rows are not migrated",
    "things.deleted IS NULL",
    "name LIKE 'keep%' AND id % 2 = 1",
    "name <> '{}' AND id IN (SELECT 1 UNION SELECT 3)",
    "CASE WHEN id > 0 THEN name <> 'random()' END AND deleted IS NULL",
    "length(name) > 4",
]


def mapping(where: str | None) -> TableMapping:
    return things_mapping(text_field("name"), order=Order("at"), where=where)


def make(things: Things, id_type: str = "int PRIMARY KEY") -> None:
    things.make(
        f"id {id_type}, name text, at timestamptz, deleted date",
        "VALUES (1, 'keep%', '2024-03-01Z', NULL), (2, 'gone', '2024-03-02Z', '2024-03-03'),"
        " (3, 'keep3', '2024-03-03Z', NULL), (4, '{}', NULL, '2024-03-03')",
    )


@pytest.mark.parametrize("where", CONDITIONS)
def test_the_other_rows_exist_for_no_statement(things: Things, where: str) -> None:
    make(things)

    with things.reader(mapping(where)) as reader:
        assert_all_looks_agree(reader, {MARCH: KEPT})
        assert reader.count_all() == 2
        assert reader.rows(["1", "2", "4"]).keys() == {"1"}
        with reader.snapshot() as snapshot:
            assert present(snapshot, ["1", "2"]) == {"1"}


def test_the_index_serves_the_pages_all_the_same(things: Things) -> None:
    make(things)
    things.execute("CREATE INDEX ON {t} (at, id)")
    things.owner.execute("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off")
    try:
        with things.reader(mapping("deleted IS NULL")) as reader:
            relation = reader.table.qualified.as_string()
        plan = things.execute(f"EXPLAIN (TABLE {relation} t ORDER BY t.at, t.id)".replace("TABLE", "SELECT * FROM"))
        assert "Index Scan" in str(plan)
    finally:
        things.owner.execute("RESET enable_seqscan; RESET enable_sort; RESET enable_bitmapscan")


def test_an_index_of_the_rows_alone_keeps_them_apart_if_a_look_finds_them_so(things: Things) -> None:
    make(things, "int NOT NULL")
    things.execute("CREATE UNIQUE INDEX ON {t} (id) WHERE deleted IS NULL")

    with pytest.raises(SourceRefused, match="has no unique index on id"), things.reader(mapping(None)) as reader:
        reader.count_all()
    with things.reader(mapping("deleted IS NULL")) as reader:
        assert not reader.table.id_is_indexed
        assert_all_looks_agree(reader, {MARCH: KEPT})


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("deleted IS", "does not accept the condition"),
        ("no_such_column > 1", "does not accept the condition"),
        ("name", "does not accept the condition"),
        ("no_such_function(id)", "does not accept the condition"),
        ("true)) t LIMIT 0; SELECT 1; SELECT FROM (SELECT 1 WHERE (true", "does not accept the condition"),
        ("random() < 0.5", "calls random\\(\\)"),
        ('id > 0 AND "random" () < 0.5', "calls random\\(\\)"),
        ("clock_timestamp() > at", "calls clock_timestamp\\(\\)"),
        ("name <> $$'$$ AND random() < 0.5 AND name <> $$'$$", "calls random\\(\\)"),
        ("name <> E'\\'' AND random() < 0.5 AND name <> ''", "calls random\\(\\)"),
        ("id > 0 -- '\nAND random() < 0.5 -- '", "calls random\\(\\)"),
        ("id IN (SELECT 1 WHERE random() < 0.5)", "calls random\\(\\)"),
    ],
)
def test_a_condition_that_gives_no_rows_for_certain_is_refused_once(things: Things, where: str, fault: str) -> None:
    make(things)

    with things.reader(mapping(where)) as reader, pytest.raises(SourceRefused, match=fault) as caught:
        reader.count(MARCH)
    assert "where" in str(caught.value)


def test_evidence_is_of_one_condition() -> None:
    assert mapping("deleted IS NULL").fingerprint() != mapping(None).fingerprint()
