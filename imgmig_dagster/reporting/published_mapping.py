"""The mapping as a certificate publishes it for an outsider: how rows become items.

docs/recheck.md explains each field, and recheck/recheck.py reads them: raise `certificate.FORMAT` if you change the
form. `source.published` does the same for the source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgmig_dagster.mapping.fields import Field, FieldType
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.mapping.template import Template, taken_apart


@dataclass(frozen=True)
class PublishedKey:
    """An attribute of the primary key, ``S`` or ``N``; `template` has columns in braces."""

    attribute: str
    type: str
    template: str


@dataclass(frozen=True)
class PublishedOrder:
    """What divides the rows into partitions; see `spec.Order`."""

    column: str | None
    unit: str | None
    buckets: int | None
    has_undated: bool


@dataclass(frozen=True)
class PublishedField:
    """One value: of a `column` or of a `template` of columns, and the attribute or `member` of it that holds the value.

    `labels` is what is written by the column's text. The units are ``s``, ``ms`` or ``us``.
    """

    attribute: str
    member: str | None
    type: str
    column: str | None
    template: str | None
    rule: str
    column_unit: str | None
    unit: str | None
    plus_us: int
    labels: Mapping[str, str]


@dataclass(frozen=True)
class PublishedMapping:
    """How one table's rows become items. `id` are the columns whose texts make up the id of a row.

    `name` is the declaration's, `version` the attribute that the application raises with each write.
    """

    name: str
    id: Sequence[str]
    identity: Sequence[str]
    key: Sequence[PublishedKey]
    order: PublishedOrder
    where: str | None
    modified: str | None
    version: str | None
    fields: Sequence[PublishedField]
    constants: Mapping[str, Mapping[str, Any]]

    def partition_key(self, row_id: str) -> str:
        """The first attribute of the key of a row's item."""
        texts = taken_apart(row_id, len(self.id)) or [row_id]
        return Template(self.key[0].template).render(dict(zip(self.id, texts, strict=True)))


def published_mapping(mapping: TableMapping) -> PublishedMapping:
    """The mapping in its published form."""
    order = mapping.order
    return PublishedMapping(
        name=mapping.name,
        id=list(mapping.key_columns),
        identity=list(mapping.identity),
        key=[PublishedKey(each.attribute, each.type, each.template.text) for each in mapping.primary_key],
        order=PublishedOrder(
            order.column or None, order.unit.value if order.unit else None, order.buckets, order.has_undated
        ),
        where=mapping.where,
        modified=mapping.modified,
        version=mapping.version.attribute if mapping.version else None,
        fields=[_published(each) for each in mapping.fields],
        constants={each.attribute: each.value for each in mapping.constants},
    )


def _published(field: Field) -> PublishedField:
    is_epoch = field.type is FieldType.EPOCH
    return PublishedField(
        attribute=field.attribute,
        member=field.member,
        type=field.type.value,
        column=field.column if field.template is None else None,
        template=field.template.text if field.template else None,
        rule=field.rule.value,
        column_unit=field.column_unit.value if field.column_unit else None,
        unit=field.unit.value if is_epoch else None,
        plus_us=field.plus_us,
        labels=dict(field.labels),
    )
