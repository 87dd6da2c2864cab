"""A draft is made of both sides as they are, and is a declaration by which rows can be read and made items."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from imgmig_dagster.drafting.draft import draft
from imgmig_dagster.drafting.sampled import sample
from imgmig_dagster.drafting.written import Draft
from imgmig_dagster.errors import SourceRefused, TargetUnavailable
from imgmig_dagster.mapping.declaration.loading import Declaration, parse
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster_tests.arrange import Source, access
from imgmig_dagster_tests.conftest import NewSource, NewTable, Services

Drafting = Callable[..., Draft]


@pytest.fixture
def drafting(services: Services) -> Iterator[Drafting]:
    """Drafts the declaration of a source table."""
    opened = []

    def of(source: Source, target: str = "not-there-yet", url: str | None = None) -> Draft:
        opened.append(ReadOnlyConnections(source.url, RetryPolicy(delays=())))
        return draft(opened[-1], access(url or services.dynamodb_url), source.schema, source.table, target, "UTC")

    yield of
    for connections in opened:
        connections.close()


def declared(found: Draft) -> Declaration:
    return parse(found.text, "draft.yaml")


def made_items(source: Source, found: Declaration) -> Any:
    with SourceReader(ReadOnlyConnections(source.url), source.schema, source.table, found.mapping) as reader:
        return sample(reader, None)


def test_a_table_as_an_application_has_it(source: Source, drafting: Drafting) -> None:
    source.execute("ALTER TABLE {t} ALTER created_at SET NOT NULL, ALTER updated_at SET NOT NULL")
    source.execute("INSERT INTO {t} (id, created_at, updated_at) VALUES (gen_random_uuid(), '2021-05-06', now())")

    found = drafting(source)
    declaration = declared(found)

    assert found.decide == ()
    assert found.remarks == ("Rows that were looked at: 1. DynamoDB can hold all of them.",)
    mapping = declaration.mapping
    assert (mapping.identity, mapping.order.column, mapping.modified) == (("id",), "created_at", "updated_at")
    assert [(each.attribute, each.template.text) for each in mapping.primary_key] == [
        ("PK", "IMAGE#{id}"),
        ("SK", "METADATA"),
    ]
    assert str(declaration.partitions.start) == "2021-05-01"
    assert made_items(source, declaration).rejected == {}


def test_names_that_need_quotes_in_every_language(new_source: NewSource, drafting: Drafting) -> None:
    source = new_source(table='100 % of "my.photos"')
    source.execute(
        'ALTER TABLE {t} RENAME COLUMN id TO "select"; ALTER TABLE {t} RENAME user_id TO "Owner.Id";'
        'ALTER TABLE {t} RENAME s3_key TO "50 %"; ALTER TABLE {t} RENAME width TO "no: #"'
    )
    source.execute('INSERT INTO {t} ("select", created_at, "50 %") VALUES (gen_random_uuid(), now(), \'x\')')

    declaration = declared(drafting(source))

    assert declaration.mapping.table == source.table
    assert declaration.mapping.name == "rows_100_of_my_photos"
    assert {"Owner.Id", "50 %", "no: #"} <= declaration.mapping.mapped_columns
    assert made_items(source, declaration).rows == 1


def test_the_key_and_the_indexes_of_the_target_are_followed(
    source: Source, drafting: Drafting, new_table: NewTable
) -> None:
    found = drafting(source, new_table({"imageId": "S"}, {"userId": "S", "GSI1PK": "S"}))

    mapping = declared(found).mapping
    assert mapping.key("7") == {"imageId": {"S": "IMAGE#7"}}
    assert [field.null.value for field in mapping.fields if field.attribute == "userId"] == ["left out"]
    assert "the index by-GSI1PK has the key GSI1PK, which nothing here fills" in " ".join(found.decide)


def test_rows_that_dynamodb_cannot_hold_are_counted_without_their_ids(source: Source, drafting: Drafting) -> None:
    source.execute("ALTER TABLE {t} ALTER created_at SET NOT NULL")
    source.execute("INSERT INTO {t} (id, created_at, updated_at) VALUES (gen_random_uuid(), now(), 'infinity')")

    found = drafting(source)

    assert found.decide[0] == "DECIDE: rows that were looked at: 1, and 1 would be rejected:"
    assert "timestamp_out_of_range, column updated_at" in found.text
    assert "declare `as: text` for updated_at, or leave them out with `where`" in found.text
    ((row_id,),) = source.execute("SELECT id::text FROM {t}")
    assert row_id not in found.text


def test_a_source_without_a_unique_index_is_said_to_be_refused(new_source: NewSource, drafting: Drafting) -> None:
    found = drafting(new_source(id_constraint=""))

    assert "DECIDE: no primary key and no unique index was found; id is a guess by its name." in found.decide
    assert [each for each in found.decide if "a migration is refused" in each]


def test_what_cannot_be_asked_ends_the_draft(source: Source, drafting: Drafting) -> None:
    with pytest.raises(TargetUnavailable):
        drafting(source, url="http://127.0.0.1:9")
    source.execute("DROP TABLE {t}")
    with pytest.raises(SourceRefused, match="there is no table"):
        drafting(source)
