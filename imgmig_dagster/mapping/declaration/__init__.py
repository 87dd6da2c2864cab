"""A table's declaration: the file that says how its rows become items.

`yaml_lines` reads YAML; `form` and `scalars` say what it may hold; `declaration_faults` words what does not fit;
`declared_attributes` and `meaning` make the mapping; `loading` puts them together.
`json_schema` is the form for editors.
"""

from imgmig_dagster.mapping.declaration.loading import (
    PACKAGED,
    Declaration,
    DeclarationRefused,
    declare,
    load,
    load_components,
)
from imgmig_dagster.mapping.declaration.meaning import DeclaredPartitions
from imgmig_dagster.mapping.declaration.scalars import Grain, earliest_day

__all__ = [
    "PACKAGED",
    "Declaration",
    "DeclarationRefused",
    "DeclaredPartitions",
    "Grain",
    "declare",
    "earliest_day",
    "load",
    "load_components",
]
