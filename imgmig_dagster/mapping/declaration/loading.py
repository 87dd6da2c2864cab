"""Makes a `Declaration` from a file, or from data; reports every fault at once, each by line.

`meaning` says what the values mean.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.files import refusals_as
from imgmig_dagster.mapping.declaration.declaration_faults import without, worded
from imgmig_dagster.mapping.declaration.form import DeclarationForm
from imgmig_dagster.mapping.declaration.meaning import DeclarationMeaning, DeclaredPartitions
from imgmig_dagster.mapping.declaration.yaml_lines import DeclarationFault, YamlWithLines, of_data, read
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.mapping.template import Template

PACKAGED: Final = Path(__file__).parents[2] / "mappings"
"""The folder of the declarations that come with the package."""


class DeclarationRefused(SettingsError):
    """A table's declaration cannot be used; one line for each fault, with its place and what to write."""


@dataclass(frozen=True)
class Declaration:
    """What a table's file says: its mapping and partitions. `text` is the file's text, `place` says where it is.

    `lines` has the first line that names a column.
    """

    mapping: TableMapping
    partitions: DeclaredPartitions
    text: str
    place: str
    lines: Mapping[str, int] = field(default_factory=dict)

    def at(self, column: str) -> str:
        """Where a column is named, as ``FILE:LINE``; only the file if the line is not known."""
        return f"{self.place}:{self.lines[column]}" if column in self.lines else self.place


def load(path: Path) -> Declaration:
    """The declaration in a file.

    Raises:
        DeclarationRefused: it cannot be read, or is not a declaration; names every fault with its line.
    """
    return parse(_text(path), str(path))


def parse(text: str, place: str) -> Declaration:
    """The declaration in a text of YAML; `place` is for messages.

    Raises:
        DeclarationRefused: it is not one; names every fault with its line.
    """
    first, *others = read(text) or [YamlWithLines()]
    if others:
        first.lines["---",] = others[0].line(())
        first.faults.append(
            DeclarationFault(("---",), "a second document (---) begins before here; write one table to a file")
        )
    return _declared(first, text, place, by_line=True)


def load_components(path: Path, kind: str) -> list[Declaration]:
    """The declarations in the attributes of Dagster components of one kind in a `defs.yaml`.

    Raises:
        DeclarationRefused: the file cannot be read, or one of them is not a declaration; names the first one's faults.
    """
    text = _text(path)
    documents = read(text)
    for each in documents:
        if each.data is None and each.faults:
            _declared(each, text, str(path), by_line=True)
    own = [each for each in documents if isinstance(each.data, dict) and each.data.get("type") == kind]
    return [_declared(each.below("attributes"), text, str(path), by_line=True) for each in own]


def declare(data: Mapping[str, Any], place: str) -> Declaration:
    """The declaration in data that was read elsewhere, such as a component's attributes; `place` is for messages.

    Raises:
        DeclarationRefused: it is not one; names every fault with its path.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
    return _declared(of_data(data), text, place, by_line=False)


def _text(path: Path) -> str:
    with refusals_as(DeclarationRefused, path, "name another file", reads=True):
        content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DeclarationRefused(f"{path}:{line}: this is not text in UTF-8; save the file as UTF-8") from None


def _declared(marked: YamlWithLines, text: str, place: str, by_line: bool) -> Declaration:
    found, faults = _understood(marked)
    if found is None or faults:
        at = {fault: marked.line(fault.path) if by_line else 0 for fault in faults}
        lines = [
            f"{place}:{at[fault]}: {fault.message}" if by_line else f"{place}: {_shown(fault)}{fault.message}"
            for fault in sorted(dict.fromkeys(faults), key=lambda fault: at[fault])
        ]
        raise DeclarationRefused("\n".join(lines))
    named = _lines(found.mapping, marked) if by_line else {}
    return Declaration(found.mapping, found.partitions, text, place, named)


def _lines(mapping: TableMapping, marked: YamlWithLines) -> dict[str, int]:
    lines: dict[str, int] = {}
    columns = {*mapping.columns, *mapping.ignored}
    for text, line in marked.texts():
        for column in columns & {text, *Template(text).columns}:
            lines.setdefault(column, line)
    return lines


def _understood(marked: YamlWithLines) -> tuple[DeclarationMeaning | None, list[DeclarationFault]]:
    """What the data means, as far as it has the form, and everything that is wrong with it."""
    faults = list(marked.faults)
    if not isinstance(marked.data, dict):
        if not faults:
            faults.append(
                DeclarationFault((), "there is no declaration here; write at least table, identity, modified, key")
            )
        return None, faults
    data: dict[Any, Any] = marked.data
    try:
        form = DeclarationForm.model_validate(data)
    except ValidationError as error:
        of_form = worded(error, data)
        known = {fault.path for fault in faults}
        faults += [fault for fault in of_form if fault.path not in known]
        try:
            form = DeclarationForm.model_validate(without(data, (fault.path for fault in of_form)))
        except ValidationError:
            return None, faults
    found = DeclarationMeaning(form)
    # Without the faulty order it would seem that there is none.
    half = {"order", "partitions"} & {step for fault in faults for step in fault.path[:1]}
    return found, [*faults, *(fault for fault in found.faults if not (half and fault.path[:1] == ("partitions",)))]


def _shown(fault: DeclarationFault) -> str:
    return f"{'.'.join(map(str, fault.path))}: " if fault.path else ""
