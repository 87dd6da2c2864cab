"""The documented table of types."""

from imgmig_dagster.mapping.fields import FieldType
from imgmig_dagster.mapping.types import TYPES, table_of_types


def test_every_type_is_documented() -> None:
    assert set(TYPES) == set(FieldType)
    assert all(f"| {kind.value} | {TYPES[kind].dynamodb} |" in table_of_types() for kind in FieldType)
