"""The tables of a stage: finds their declarations and checks that they go together. `mapping/` reads each one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Final

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.mapping.declaration import PACKAGED, Declaration, DeclarationRefused, load
from imgmig_dagster.mapping.declaration.loading import load_components
from imgmig_dagster.mapping.spec import KeyAttribute, TableMapping
from imgmig_dagster.stage.config import load_table_settings
from imgmig_dagster.stage.partitions import partitions_of
from imgmig_dagster.stage.stage_table import StageTable
from imgmig_dagster.stage.stages import Stage

COMPONENT: Final = "imgmig_dagster.TableMigration"
"""The component in a `defs.yaml` of Dagster whose attributes are a declaration."""

_DEFAULT: Final = Path("mappings")
_START: Final = "IMGMIG_PARTITION_START"  # deprecated, and wins where it is set


def declarations(stage: Stage) -> Mapping[str, Declaration]:
    """The declarations of a stage's tables, by their names. Reads files and the environment only.

    They are the YAML files of the folder that the setting `mappings` names, by default `mappings` of the working
    directory, else the package's own; and the attributes of the `defs.yaml` files below it that are of the component.

    Raises:
        SettingsError: one of them is wrong, there are none, or they do not go together.
    """
    folder = _folder(stage)
    found = list(_declared_in(folder))
    if not found:
        raise SettingsError(
            f"no table is declared in {folder.absolute()}: put a declaration there, which imgmig mapping draft makes, "
            "or name another folder by mappings in [tables]"
        )
    return stage_declarations(stage, found)


def stage_declarations(stage: Stage, found: Iterable[Declaration]) -> Mapping[str, Declaration]:
    """Declarations that make up a stage, with what its variables say of the only table, by their names.

    Raises:
        SettingsError: they do not go together.
    """
    by_name = _together(found)
    is_only = len(by_name) == 1
    settings = load_table_settings(stage, of_sandbox=is_only)
    if settings.of_one_table and not is_only:
        raise SettingsError(
            f"{' and '.join(settings.of_one_table)} can be said of a stage's only table, and {stage.value} has "
            f"{', '.join(sorted(by_name))}: write it in their declarations"
        )
    return {name: replace(each, partitions=settings.cut(each.partitions)) for name, each in by_name.items()}


def stage_tables(stage: Stage) -> Sequence[StageTable]:
    """The declared tables of a stage.

    Raises:
        SettingsError: the partitioning of the stage, or a declaration, is wrong.
    """
    found = declarations(stage)
    return [stage_table(stage, name, found) for name in found]


def stage_table(stage: Stage, name: str, declared: Mapping[str, Declaration]) -> StageTable:
    """A table of a stage; `declared` are those of all its tables."""
    declaration = declared[name]
    others = tuple(each.mapping for each in declared.values() if each is not declaration)
    partitions = partitions_of(declaration.partitions, declaration.mapping.order)
    per_run = load_table_settings(stage).partitions_per_run
    return StageTable(stage, declaration.mapping, partitions, per_run, not others, others)


def require_beside_others(stage: Stage, declared: Declaration) -> None:
    """Compare a declaration with the others of the stage's folder, except one of the same table and name.

    Raises:
        DeclarationRefused: they do not go together.
    """
    folder, mapping = _folder(stage), declared.mapping
    if folder != PACKAGED:
        mine = (mapping.name, mapping.schema, mapping.table)
        found = ((each, each.mapping) for each in _declared_in(folder))
        others = [each for each, of in found if mine != (of.name, of.schema, of.table)]
        place = Path(declared.place).resolve()
        _together([*(each for each in others if Path(each.place).resolve() != place), declared])


def _together(found: Iterable[Declaration]) -> dict[str, Declaration]:
    by_name: dict[str, Declaration] = {}
    for each in found:
        name = each.mapping.name
        if name in by_name:
            raise DeclarationRefused(
                f"{each.place}: {name} is declared in {by_name[name].place} too; give one of them a `name` of its own"
            )
        by_name[name] = each
    for one, other in combinations(by_name.values(), 2):
        if _may_share_a_key(one.mapping, other.mapping):
            raise DeclarationRefused(
                f"{other.place}: items of {other.mapping.name} can have the key of items of {one.mapping.name}: begin "
                "one of its key attributes with another text"
            )
    return by_name


def chosen_tables(stage: Stage, name: str | None) -> list[str]:
    """The names of the stage's tables, or the one that `--table` names.

    Raises:
        SettingsError: there is no such table.
    """
    known = sorted(declarations(stage))
    if name is not None and name not in known:
        lacks = f"stage {stage.value} has no table {name!r}"
        if _folder(stage) == PACKAGED:
            raise SettingsError(
                f"{lacks}: no folder {_DEFAULT} is in {Path.cwd()}, so that only the packaged {', '.join(known)} is "
                "known; change to the folder that has it, or name it by mappings in [tables]"
            )
        raise SettingsError(f"{lacks}: choose one of {', '.join(known)}")
    return known if name is None else [name]


def chosen_table(stage: Stage, name: str | None) -> str:
    """The table that `--table` names, or the only one.

    Raises:
        SettingsError: there is no such table, or there are several and none is named.
    """
    found = chosen_tables(stage, name)
    if len(found) > 1:
        raise SettingsError(f"stage {stage.value} has several tables: name one by --table, of {', '.join(found)}")
    return found[0]


def set_in(stage: Stage, name: str) -> str:
    """Where the first partition of a table is set: in its declaration, or by the variable that wins.

    Empty for a table divided into buckets.
    """
    declared = declarations(stage)
    found = declared[name]
    if found.partitions.buckets is not None:
        return ""
    if len(declared) == 1 and _START in load_table_settings(stage).of_one_table:
        return _START
    if PACKAGED in Path(found.place).parents:
        return f"`partitions` in mappings/images.yaml, which imgmig init --stage {stage.value} --images writes"
    return f"`partitions: {{start: ...}}` in {found.place}"


def _folder(stage: Stage) -> Path:
    return load_table_settings(stage).mappings or (_DEFAULT if _DEFAULT.is_dir() else PACKAGED)


def _declared_in(folder: Path) -> Iterator[Declaration]:
    if not folder.is_dir():
        raise SettingsError(
            f"mappings in [tables] names {folder.absolute()}, which is no folder: make it, or name another"
        )
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        if path.name != "defs.yaml":
            yield load(path)
    for path in sorted(folder.rglob("defs.yaml")):
        yield from load_components(path, COMPONENT)


def _may_share_a_key(one: TableMapping, other: TableMapping) -> bool:
    """Whether an item could be of either table, as far as the keys' templates tell."""
    pairs = {each.attribute: each for each in one.primary_key}
    return all(each.attribute not in pairs or _may_be_equal(pairs[each.attribute], each) for each in other.primary_key)


def _may_be_equal(one: KeyAttribute, other: KeyAttribute) -> bool:
    if not one.template.columns:
        return other.template.parse(one.template.text) is not None
    if not other.template.columns:
        return one.template.parse(other.template.text) is not None
    (first, last), (other_first, other_last) = _ends(one), _ends(other)
    begins = first.startswith(other_first) or other_first.startswith(first)
    return begins and (last.endswith(other_last) or other_last.endswith(last))


def _ends(key: KeyAttribute) -> tuple[str, str]:
    parts = key.template.parts
    return parts[0][0], parts[-1][0]
