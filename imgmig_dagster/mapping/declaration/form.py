"""The form of a declaration: its keys, the values that each takes, and the words and examples that describe them.

`scalars` has its words and texts, `json_schema` prints it for editors, `declaration_faults` words what does not fit it,
`meaning` says what the values mean together.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from imgmig_dagster.mapping.declaration.scalars import (
    As,
    Constant,
    Day,
    Filled,
    Grain,
    Name,
    Names,
    Nulls,
    Text,
)
from imgmig_dagster.mapping.fields import Unit
from imgmig_dagster.mapping.spec import Newer


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _either(short: str, *long: tuple[str, str]) -> Discriminator:
    """Chooses a form by what is written: a text, or a mapping by a key that it has; the last form is for any other.

    If no tag fits, no form fits.
    """

    def form(value: Any) -> str | None:
        if not isinstance(value, dict):
            return short if isinstance(value, (str, bool, int, float, Decimal)) else None
        return next((tag for key, tag in long if key in value), long[-1][1]) or None

    return Discriminator(form)


class PlaceForm(_Form):
    """A table whose name or schema has a point in it."""

    schema_: Name = Field("public", alias="schema", description="Its schema.", examples=["public"])
    name: Name = Field(description="Its name, letter for letter.", examples=["my.table"])


class TimeForm(_Form):
    """A column of numbers that are times."""

    column: Name = Field(description="A column of numbers that are times since 1970.", examples=["created_ts"])
    unit: Unit = Field(description="What such a number counts.", examples=["ms"])


class NewerForm(_Form):
    """Which side counts as newer, where no column tells."""

    newer: Newer = Field(description="The side that counts as newer where both differ.", examples=["target"])


class KeyForm(_Form):
    """A key attribute that is a number, or a text."""

    template: Name = Field(description="A text with columns in braces.", examples=["{id}"])
    type: Literal["S", "N"] = Field("S", description="N: a number, of a single column.", examples=["N"])


class VersionForm(_Form):
    """The attribute that the application counts up with each write."""

    attribute: Name = Field(description="The attribute that the application counts up.", examples=["version"])
    initial: int = Field(strict=True, description="Its value in an item of the migration.", examples=[1])


class EveryForm(_Form):
    """Partitions by time."""

    every: Grain = Field(description="The length of a partition.", examples=["monthly"])
    start: Day | None = Field(None, description="A day in the first partition.", examples=["2020-01-01"])


class BucketsForm(_Form):
    """Partitions by the identity, where there is no time."""

    buckets: int = Field(
        strict=True, ge=1, le=10_000, description="Partitions by a hash of the identity.", examples=[64]
    )


class ColumnForm(_Form):
    """An attribute of one column."""

    column: Name = Field(description="The column that the attribute holds.", examples=["size_bytes"])
    as_: As | None = Field(None, alias="as", description="What the attribute holds.", examples=["integer"])
    unit: Unit | None = Field(
        None, description="The column is a number and a time: what it counts since 1970.", examples=["ms"]
    )
    plus: Filled | None = Field(None, description="Added to a time as a number.", examples=["30 days"])
    values: dict[Text, Text] | None = Field(
        None, description="The text to write for each value of the column.", examples=[{"0": "image", "1": "video"}]
    )
    null: Nulls | None = Field(None, description="What becomes of NULL.", examples=["left_out"])
    tolerance: Literal["exact"] | None = Field(
        None, description="exact: times have to agree to the millisecond.", examples=["exact"]
    )
    sensitive: bool = Field(False, strict=True, description="Reports never show its values.", examples=[True])


class TemplateForm(_Form):
    """An attribute that is a text of several columns."""

    template: Name = Field(description="A text with columns in braces.", examples=["USER#{user_id}"])
    null: Nulls | None = Field(None, description="What becomes of a row that is NULL in one of the columns.")
    sensitive: bool = Field(False, strict=True, description="Reports never show its values.", examples=[True])


MemberForm: TypeAlias = Annotated[
    Annotated[Name, Tag("<text>")]
    | Annotated[ColumnForm, Tag("<column>")]
    | Annotated[TemplateForm, Tag("<template>")],
    _either("<text>", ("map", ""), ("constant", ""), ("template", "<template>"), ("column", "<column>")),
]


class MapForm(_Form):
    """An attribute that is a map, with a column for each member."""

    map: dict[Name, MemberForm] = Field(
        min_length=1, description="The members of an attribute that is a map.", examples=[{"x": "focal_point_x"}]
    )


class ConstantForm(_Form):
    """An attribute that is the same in every item."""

    constant: Constant = Field(
        description="The same value in every item: a text, a number, true or false.", examples=["media"]
    )


AttributeForm: TypeAlias = Annotated[
    Annotated[Name, Tag("<text>")]
    | Annotated[ColumnForm, Tag("<column>")]
    | Annotated[TemplateForm, Tag("<template>")]
    | Annotated[MapForm, Tag("<map>")]
    | Annotated[ConstantForm, Tag("<constant>")],
    _either("<text>", ("map", "<map>"), ("constant", "<constant>"), ("template", "<template>"), ("column", "<column>")),
]


class PicturesForm(_Form):
    """The columns that say where in S3 a row's picture is, and what it is."""

    bucket: Name = Field(description="The column with the bucket.", examples=["s3_bucket"])
    key: Name = Field(description="The column with the picture's key.", examples=["s3_key"])
    thumbnail: Name | None = Field(None, description="The column with the thumbnail's key.", examples=["thumb_key"])
    type: Name = Field(description="The column with the media type.", examples=["mime_type"])
    size: Name = Field(description="The column with the size in bytes.", examples=["size_bytes"])
    name: Name = Field(description="The column with the file's name.", examples=["original_filename"])


class DeclarationForm(_Form):
    """How the rows of one table of PostgreSQL become items of DynamoDB."""

    table: Annotated[
        Annotated[Name, Tag("<text>")] | Annotated[PlaceForm, Tag("<place>")], _either("<text>", ("name", "<place>"))
    ] = Field(description="The table, with its schema.", examples=["public.images"])
    name: Name | None = Field(
        None, description="What commands, folders and assets call it; the table's name by default.", examples=["images"]
    )
    entity: Name | None = Field(None, description="What a row is, in one word.", examples=["image"])
    identity: Names = Field(min_length=1, description="The columns that are unique together.", examples=[["id"]])
    order: (
        Annotated[
            Annotated[Name, Tag("<text>")] | Annotated[TimeForm, Tag("<time>")],
            _either("<text>", ("column", "<time>")),
        ]
        | None
    ) = Field(
        None,
        description="The time that cuts the rows into partitions and puts them in order; identity where there is none.",
        examples=["created_at", {"column": "created_ts", "unit": "ms"}, "identity"],
    )
    undated: bool = Field(
        False, strict=True, description="Rows whose order is NULL have a partition of their own.", examples=[True]
    )
    partitions: (
        Annotated[
            Annotated[Grain, Tag("<text>")]
            | Annotated[EveryForm, Tag("<every>")]
            | Annotated[BucketsForm, Tag("<buckets>")],
            _either("<text>", ("buckets", "<buckets>"), ("every", "<every>")),
        ]
        | None
    ) = Field(
        None,
        description="What a partition holds; monthly by default.",
        examples=["monthly", {"every": "daily", "start": "2020-01-01"}, {"buckets": 64}],
    )
    modified: Annotated[
        Annotated[Name, Tag("<text>")] | Annotated[TimeForm, Tag("<time>")] | Annotated[NewerForm, Tag("<newer>")],
        _either("<text>", ("newer", "<newer>"), ("column", "<time>")),
    ] = Field(
        description="The time that tells which side is newer. Or none, as {newer: target}: what differs is named and "
        "left alone. Or {newer: source}: the row counts.",
        examples=["updated_at", "none", {"newer": "source"}],
    )
    key: dict[
        Name,
        Annotated[
            Annotated[Name, Tag("<text>")] | Annotated[KeyForm, Tag("<key>")],
            _either("<text>", ("template", "<key>")),
        ],
    ] = Field(
        min_length=1,
        max_length=2,
        description="The primary key: the partition key, then the sort key if there is one.",
        examples=[{"PK": "IMAGE#{id}", "SK": "METADATA"}],
    )
    version: (
        Annotated[
            Annotated[Literal["none"], Tag("<none>")] | Annotated[VersionForm, Tag("<version>")],
            _either("<none>", ("attribute", "<version>")),
        ]
        | None
    ) = Field(
        None,
        description="The attribute that the application counts up with each write, or none.",
        examples=[{"attribute": "version", "initial": 1}, "none"],
    )
    nulls: Nulls = Field(
        Nulls.WRITTEN, description="What becomes of NULL where an attribute does not say.", examples=["rejected"]
    )
    attributes: dict[Name, AttributeForm] = Field(
        description="The attributes of an item, without its key, and the column of each.",
        examples=[{"userId": "user_id", "sizeBytes": {"column": "size_bytes", "as": "integer"}}],
    )
    ignored: dict[Name, Filled] = Field(
        default_factory=dict,
        description="The columns that no item carries on purpose, each with the reason.",
        examples=[{"caption": "never shown, dropped in 2023"}],
    )
    sensitive: Names = Field(
        default_factory=list, description="Columns whose values no report ever shows.", examples=[["email"]]
    )
    where: Filled | None = Field(
        None, description="A condition in SQL: the rows that are migrated.", examples=["deleted_at IS NULL"]
    )
    pictures: PicturesForm | None = Field(None, description="Where in S3 a row's picture is.")


FORMS: Final[Mapping[str, type[BaseModel]]] = {
    "<place>": PlaceForm,
    "<time>": TimeForm,
    "<newer>": NewerForm,
    "<every>": EveryForm,
    "<buckets>": BucketsForm,
    "<key>": KeyForm,
    "<column>": ColumnForm,
    "<template>": TemplateForm,
    "<map>": MapForm,
    "<constant>": ConstantForm,
    "<version>": VersionForm,
    "pictures": PicturesForm,
}
"""The form by what an error's place names: a tag above, or one of the two keys with a single form."""
