"""The component with which a Dagster project migrates its own tables: one `defs.yaml` per table declares it."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import dagster as dg
from dagster.components import Scaffolder, ScaffoldRequest
from pydantic import BaseModel, RootModel

from imgmig_dagster.defs.build import EXECUTOR, definitions_of, resources_of
from imgmig_dagster.defs.table import Table
from imgmig_dagster.mapping.declaration import Declaration, DeclarationRefused, declare
from imgmig_dagster.mapping.declaration.loading import load_components
from imgmig_dagster.stage.config import load_places, stage_from_env
from imgmig_dagster.stage.places import Places
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.tables import COMPONENT, stage_declarations, stage_table

_SCAFFOLD: Final = """\
type: {type}
attributes:
  # docs/declaration.md says what each key means; `imgmig mapping draft public.{name}` writes all of it for a table.
  table: public.{name}
  identity: [id]
  order: created_at
  modified: {{newer: source}}
  key:
    PK: "{name}#{{id}}"
    SK: METADATA
  attributes:
    createdAt: created_at
"""


class DeclaredAttributes(RootModel[dict[Any, Any]]):
    """The attributes of a `defs.yaml`: a declaration."""


class TableScaffolder(Scaffolder[Any]):
    """Writes a first declaration, to edit."""

    def scaffold(self, request: ScaffoldRequest[Any]) -> None:
        """Write the folder's `defs.yaml`."""
        name = request.target_path.name
        request.target_path.mkdir(parents=True, exist_ok=True)
        text = _SCAFFOLD.format(type=request.type_name, name=name)
        (request.target_path / "defs.yaml").write_text(text, encoding="utf-8")


@dg.scaffold_with(TableScaffolder)
class TableMigration(dg.Component):
    """Migrates a table of PostgreSQL to DynamoDB, and verifies it: assets, checks, jobs, schedules and alerts."""

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The model of the attributes."""
        return DeclaredAttributes

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "TableMigration":
        """The component that the attributes declare.

        Raises:
            DeclarationRefused: they are no valid declaration; names every fault, with its line.
        """
        data: Mapping[str, Any] = attributes.root if isinstance(attributes, DeclaredAttributes) else {}
        file = context.path / "defs.yaml" if context.path.is_dir() else context.path
        try:
            return cls(declare(data, str(file)))
        except DeclarationRefused:
            # The file itself knows the lines.
            load_components(file, COMPONENT)
            raise

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The table's definitions; in a project with several tables, their names begin with the table's."""
        stage = stage_from_env()
        everything = [each.declaration for each in context.component_tree.get_all_components(of_type=TableMigration)]
        declared = stage_declarations(stage, everything)
        places = load_places(stage)
        table = Table(**vars(stage_table(stage, self.declaration.mapping.name, declared)))
        return dg.Definitions.merge(definitions_of(table, places), _shared(stage, places))


@cache
def _shared(stage: Stage, places: Places) -> dg.Definitions:
    """What the tables share. Dagster needs the same object in each."""
    return dg.Definitions(resources=resources_of(stage, places), executor=EXECUTOR)
