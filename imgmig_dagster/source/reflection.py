"""Keys, unique indexes and comments of a table, from SQLAlchemy's inspector. Only drafts of declarations use it.

`catalog` reads what a run relies on, with what the inspector does not know: inheritance, policies, validity.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from warnings import catch_warnings, simplefilter

from sqlalchemy import create_engine, inspect
from sqlalchemy.engine.reflection import Inspector
from sqlalchemy.exc import DBAPIError, NoSuchTableError, SAWarning
from sqlalchemy.pool import StaticPool

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.source.connections import ReadOnlyConnections


@dataclass(frozen=True)
class Reflected:
    """Keys and indexes of one table, by the names of their columns; `comments` by column.

    `unique` holds the indexes and constraints that cover every row, `leading` the columns that an index begins with.
    """

    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    leading: frozenset[str] = frozenset()
    comments: Mapping[str, str] = field(default_factory=dict)


def reflect(connections: ReadOnlyConnections, schema: str, table: str) -> Reflected:
    """Ask the inspector.

    Raises:
        SourceError: as for `ReadOnlyConnections.fetch`.
    """
    with _inspector(connections) as inspector:
        primary_key = tuple(inspector.get_pk_constraint(table, schema)["constrained_columns"])
        indexes = [(tuple(each["column_names"]), each) for each in inspector.get_indexes(table, schema)]
        with catch_warnings():
            # `catalog` reads the types: it knows all of them.
            simplefilter("ignore", SAWarning)
            comments = {each["name"]: each["comment"] or "" for each in inspector.get_columns(table, schema)}
    # An expression has no name; an index on some of the rows has a condition.
    plain = [(names, each) for names, each in indexes if None not in names]
    full = [(names, each) for names, each in plain if not each.get("dialect_options", {}).get("postgresql_where")]
    unique = {tuple(str(name) for name in names) for names, each in full if each["unique"]}
    leading = {str(names[0]) for names, _each in full if names}
    return Reflected(primary_key, tuple(sorted(unique)), frozenset({*leading, *primary_key[:1]}), comments)


@contextmanager
def _inspector(connections: ReadOnlyConnections) -> Iterator[Inspector]:
    with connections.lent() as driver:
        engine = create_engine(
            "postgresql+psycopg://", creator=lambda: driver, poolclass=StaticPool, use_native_hstore=False
        )
        try:
            with engine.connect() as connection:
                yield inspect(connection)
        except NoSuchTableError as error:
            raise SourceRefused(f"there is no table {error} that this role can see") from None
        except DBAPIError as error:
            if error.orig is None:
                raise
            raise error.orig from None
