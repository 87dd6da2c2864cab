"""Moves rows from PostgreSQL to DynamoDB, and proves that nothing was lost or changed."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgmig_dagster.defs.component import TableMigration as TableMigration

__version__ = "0.1.0"

_COMPONENT = "TableMigration"


def __getattr__(name: str) -> Any:
    # Dagster takes two seconds to import: only who asks for the component waits for it.
    if name == _COMPONENT:
        from imgmig_dagster.defs.component import TableMigration

        return TableMigration
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), _COMPONENT])
