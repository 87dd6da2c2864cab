"""A sample of the table that is random, spread over time, and has rows of rare shapes in it."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from psycopg import sql

from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.mapping.spec import PictureColumns
from imgmig_dagster.source.expressions import Expressions

RARE_SHARE: Final = 12
"""Of this many rows drawn, one is drawn for each rare shape: three shapes, a quarter of the sample."""


class Shape(str, Enum):
    """Why a row is in the sample."""

    RANDOM = "at random"
    """Drawn from its part of the table, whatever it is: only such rows say something about those not drawn."""
    NO_THUMBNAIL = "has no thumbnail"
    NULL = "has a NULL"
    """In a table without pictures."""
    NAME = "name beyond ASCII"
    """Or with control characters in it."""
    TEXT = "text beyond ASCII"
    """The same in any column, in a table without pictures."""
    LARGEST = "among the largest"


@dataclass(frozen=True)
class SampledRow:
    """A row, and why it was drawn."""

    shape: Shape
    row: Row


# One statement, and so one snapshot. The rows of rare shapes are set aside; the others, in order of time, are cut into
# as many parts of equal size as rows are still to be drawn, and one is drawn from each. That spreads them over the
# partitions, and finds a fault at least as often as drawing without parts (by the inequality of the means), so that
# the usual bounds hold. The lottery is a hash that is none of cryptography, by its full name: a server in FIPS mode
# refuses md5(), and a role's search_path may hold another one.
SAMPLE: Final = f"""
WITH lottery AS (
    SELECT {{id_value}} AS id, {{order}} AS moment, {{size}} AS size,
           pg_catalog.hashtextextended(pg_catalog.concat({{id_text}}, '/', %(seed)s::text) COLLATE "C", 0) AS ticket,
           {{lacks}} AS lacks, {{text}} ~ '[^ -~]' AS is_beyond_ascii
    FROM {{table}} t
), rare AS (
    SELECT id, min(shape) AS shape FROM (
        (SELECT id, {{lacking}} AS shape FROM lottery WHERE lacks ORDER BY ticket, id LIMIT %(rare)s)
        UNION ALL
        (SELECT id, {{beyond_ascii}} FROM lottery WHERE is_beyond_ascii ORDER BY ticket, id LIMIT %(rare)s)
        UNION ALL
        (SELECT id, '{Shape.LARGEST.value}' FROM lottery ORDER BY size DESC NULLS LAST, ticket, id LIMIT %(rare)s)
    ) AS shapes GROUP BY id
), parts AS (
    SELECT id, ticket, ntile((%(size)s - (SELECT count(*) FROM rare))::integer) OVER (ORDER BY moment, id) AS part
    FROM lottery WHERE id NOT IN (SELECT id FROM rare)
), drawn AS (
    (SELECT DISTINCT ON (part) id, '{Shape.RANDOM.value}' AS shape FROM parts ORDER BY part, ticket, id)
    UNION ALL
    SELECT id, shape FROM rare
)
SELECT drawn.shape, {{columns}} FROM drawn JOIN {{table}} t ON {{id_value}} = drawn.id
ORDER BY drawn.shape <> '{Shape.RANDOM.value}', drawn.shape, {{order}}, {{id}}
"""  # noqa: S608 - the shapes are constants of this module


def rare_shapes(pieces: Expressions, picture: PictureColumns | None) -> dict[str, sql.Composable]:
    """What `SAMPLE` takes for rare: of pictures, or where there are none of whatever the mapping reads."""
    if picture is None:
        row = sql.SQL("ROW({})").format(sql.SQL(", ").join(map(pieces.bare, pieces.table.mapping.columns)))
        return {
            "lacks": sql.SQL("NOT ({} IS NOT NULL)").format(row),
            "lacking": sql.Literal(Shape.NULL.value),
            "text": sql.SQL("{}::text").format(row),
            "beyond_ascii": sql.Literal(Shape.TEXT.value),
            "size": sql.SQL("octet_length({}::text)").format(row),
        }
    thumbnail = None if picture.thumbnail_key is None else pieces.bare(picture.thumbnail_key)
    return {
        "lacks": sql.SQL("false") if thumbnail is None else sql.SQL("{} IS NULL").format(thumbnail),
        "lacking": sql.Literal(Shape.NO_THUMBNAIL.value),
        "text": sql.SQL("{}::text").format(pieces.bare(picture.name)),
        "beyond_ascii": sql.Literal(Shape.NAME.value),
        "size": pieces.bare(picture.size),
    }
