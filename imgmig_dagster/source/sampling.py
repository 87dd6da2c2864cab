"""A sample of the table that is random, spread over time, and has rows of rare shapes in it."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from imgmig_dagster.mapping.rows import Row

RARE_SHARE: Final = 12
"""Of this many rows drawn, one is drawn for each rare shape: three shapes, a quarter of the sample."""


class Shape(str, Enum):
    """Why a row is in the sample."""

    RANDOM = "at random"
    """Drawn from its part of the table, whatever it is: only such rows say something about those not drawn."""
    NO_THUMBNAIL = "has no thumbnail"
    NAME = "name beyond ASCII"
    """Or with control characters in it."""
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
    SELECT {{id}} AS id, {{order}} AS moment, {{size}} AS size,
           pg_catalog.hashtextextended(pg_catalog.concat({{id_text}}, '/', %(seed)s::text) COLLATE "C", 0) AS ticket,
           {{thumbnail}} IS NULL AS has_no_thumbnail, {{name}}::text ~ '[^ -~]' AS is_beyond_ascii
    FROM {{table}} t
), rare AS (
    SELECT id, min(shape) AS shape FROM (
        (SELECT id, '{Shape.NO_THUMBNAIL.value}' AS shape FROM lottery WHERE has_no_thumbnail
         ORDER BY ticket, id LIMIT %(rare)s)
        UNION ALL
        (SELECT id, '{Shape.NAME.value}' FROM lottery WHERE is_beyond_ascii ORDER BY ticket, id LIMIT %(rare)s)
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
SELECT drawn.shape, {{columns}} FROM drawn JOIN {{table}} t ON {{id}} = drawn.id
ORDER BY drawn.shape <> '{Shape.RANDOM.value}', drawn.shape, {{order}}, {{id}}
"""  # noqa: S608 - the shapes are constants of this module
