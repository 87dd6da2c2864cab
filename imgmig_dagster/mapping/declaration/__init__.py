"""A table's declaration: the file that says how its rows become items.

`marks` reads YAML; `form` and `scalars` are what may stand in it; `faults` words what does not fit; `attributes` and
`meaning` make the mapping of it; `loading` puts them together. `schema` is the form for editors.
"""

from imgmig_dagster.mapping.declaration.loading import (
    PACKAGED,
    Declaration,
    DeclarationRefused,
    declare,
    load,
    load_components,
)
from imgmig_dagster.mapping.declaration.meaning import Partitions
from imgmig_dagster.mapping.declaration.scalars import Grain, earliest_day

__all__ = [
    "PACKAGED",
    "Declaration",
    "DeclarationRefused",
    "Grain",
    "Partitions",
    "declare",
    "earliest_day",
    "load",
    "load_components",
]
