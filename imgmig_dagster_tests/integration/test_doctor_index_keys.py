"""What the doctor says of the keys of indexes and of time to live, for attributes of every kind."""

from dataclasses import replace
from typing import Any

import pytest

from imgmig_dagster.doctor import hazards
from imgmig_dagster.doctor.diagnosis import Health
from imgmig_dagster.mapping.fields import Field, FieldType, Null, Unit
from imgmig_dagster.mapping.spec import Constant, TableMapping
from imgmig_dagster.mapping.template import Template
from imgmig_dagster_tests.arrange import access
from imgmig_dagster_tests.conftest import NewTable, Services
from imgmig_dagster_tests.images import IMAGE


def with_fields(*fields: Field, **more: Any) -> TableMapping:
    return replace(IMAGE, fields=fields, pictures=None, modified=None, version=None, **more)


TEXT, EPOCH = FieldType.TEXT, FieldType.EPOCH
BY_USER = Template("USER#{user_id}")


@pytest.mark.parametrize(
    ("field", "kind", "health", "said", "remedy"),
    [
        (Field("a", "key", TEXT, Null.WRITTEN), "S", Health.WARN, "column a", "null: left_out"),
        (Field("a", "key", TEXT, Null.LEFT_OUT), "S", Health.WARN, "column a", "empty text"),
        (Field("a", "key", TEXT, Null.REJECTED), "S", Health.WARN, "column a", "empty text"),
        (Field("", "key", TEXT, Null.LEFT_OUT, template=BY_USER), "S", Health.OK, "1; a write", ""),
        (Field("", "key", TEXT, Null.WRITTEN, template=BY_USER), "S", Health.WARN, "column user_id", "null: left_out"),
        (Field("", "key", TEXT, Null.LEFT_OUT, template=BY_USER), "N", Health.FAIL, "and S is written", "recreate it"),
        (Field("a", "key", FieldType.NUMBER, Null.LEFT_OUT), "N", Health.OK, "1; a write", ""),
        (Field("a", "key", EPOCH, Null.LEFT_OUT, unit=Unit.MILLISECONDS), "N", Health.OK, "1; a write", ""),
        (Field("a", "key", FieldType.DATE, Null.LEFT_OUT), "S", Health.OK, "1; a write", ""),
        (Field("a", "key", FieldType.TIMESTAMP, Null.LEFT_OUT), "S", Health.OK, "1; a write", ""),
        (Field("a", "key", FieldType.LABEL, Null.LEFT_OUT, labels=(("0", "x"),)), "S", Health.OK, "1; a write", ""),
        (Field("a", "key", FieldType.BINARY, Null.LEFT_OUT), "B", Health.WARN, "column a", "empty"),
        (Field("a", "key", FieldType.BOOLEAN, Null.LEFT_OUT), "S", Health.FAIL, "and BOOL is written", "recreate it"),
        (Field("a", "key", FieldType.DOCUMENT), "S", Health.FAIL, "and a document is written", "recreate it"),
        (Field("a", "key", FieldType.LIST), "S", Health.FAIL, "and L is written", "recreate it"),
        (Field("a", "key", FieldType.TEXT_SET), "S", Health.FAIL, "and SS is written", "recreate it"),
        (Field("a", "key", FieldType.NUMBER_SET), "S", Health.FAIL, "and NS is written", "recreate it"),
        (Field("a", "key", TEXT, member="x"), "S", Health.FAIL, "and M is written", "recreate it"),
    ],
)
def test_each_kind_of_attribute_as_an_indexs_key(
    services: Services,
    new_table: NewTable,
    field: Field,
    kind: str,
    health: Health,
    said: str,
    remedy: str,
) -> None:
    table = new_table(indexes={"key": kind})

    found = hazards.check_indexes(access(services.dynamodb_url), table, with_fields(field))

    assert found[0] is health
    assert said in found[1]
    assert remedy in found[2]


@pytest.mark.parametrize(("value", "health"), [({"S": "image"}, Health.OK), ({"N": "1"}, Health.FAIL)])
def test_a_constant_as_an_indexs_key(services: Services, new_table: NewTable, value: Any, health: Health) -> None:
    mapping = with_fields(constants=(Constant("key", value),))

    assert hazards.check_indexes(access(services.dynamodb_url), new_table(indexes={"key": "S"}), mapping)[0] is health


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (Field("a", "ttl", EPOCH), "DynamoDB deletes items by it"),
        (Field("a", "ttl", EPOCH, unit=Unit.MILLISECONDS), "counts milliseconds, and DynamoDB reads seconds"),
        (Field("a", "ttl", FieldType.TIMESTAMP), "is written as S, and DynamoDB reads numbers"),
    ],
)
def test_time_to_live_by_an_attribute_of_any_kind(
    services: Services, new_table: NewTable, field: Field, said: str
) -> None:
    table = new_table(indexes={"key": "S"})
    services.dynamodb.update_time_to_live(
        TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
    )

    found = hazards.check_time_to_live(access(services.dynamodb_url), table, with_fields(field))

    assert found[0] is Health.WARN
    assert said in found[1]
