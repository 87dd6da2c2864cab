"""All declarations of a folder, by the names of their tables."""

from collections.abc import Mapping
from pathlib import Path

from imgmig_dagster.files import refusals_as
from imgmig_dagster.mapping.declaration.loading import Declaration, DeclarationRefused, load


def load_folder(folder: Path) -> Mapping[str, Declaration]:
    """The declarations in a folder's files, in the order of the files' names.

    Raises:
        DeclarationRefused: there is none, or one has a fault, or two have one name; names all of it.
    """
    with refusals_as(DeclarationRefused, folder, "name another folder", reads=True):
        paths = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    found: dict[str, Declaration] = {}
    faults = []
    for path in paths:
        try:
            declaration = load(path)
        except DeclarationRefused as error:
            faults.append(str(error))
            continue
        name = declaration.mapping.name
        if name in found:
            what = f"{path}:1: {name} is the name of the table in {found[name].place} too"
            faults.append(f"{what}; write another `name`, such as `name: {name}_2`")
        found[name] = declaration
    if not paths:
        faults.append(f"{folder}: there is no declaration, no file that ends in .yaml; write one")
    if faults:
        raise DeclarationRefused("\n".join(faults))
    return found
