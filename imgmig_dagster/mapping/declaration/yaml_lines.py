"""Reads YAML with the line of every key and value.

Scalars follow the rules of YAML 1.2, as in editors: ``on``, ``no`` and ``2020-01-01`` are texts, and a number with a
point keeps its digits. A key is always a text. A key that occurs twice is a fault, and so is an alias.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypeAlias

import yaml  # type: ignore[import-untyped]  # no stubs

Path: TypeAlias = tuple[str | int, ...]

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: Final[Mapping[str, bool | None]] = {
    **{word: value for value in (True, False) for word in (str(value), str(value).lower(), str(value).upper())},
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}


@dataclass(frozen=True)
class DeclarationFault:
    """What is wrong at a path of the data, and what to write instead."""

    path: Path
    message: str


def _empty(path: Path) -> DeclarationFault:
    """The fault of a key without a value."""
    return DeclarationFault(path, f"`{path[-1]}` is empty; write a value, or leave the key out")


@dataclass
class YamlWithLines:
    """Data, the line of each of its paths, and what is wrong with its form."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[DeclarationFault] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest thing around it in the text."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)

    def texts(self) -> Iterator[tuple[str, int]]:
        """Every text in the data, and every key, with its line; in the order of the lines."""
        for path, line in sorted(self.lines.items(), key=lambda each: each[1]):
            found = self.data
            for step in path:
                found = found.get(step) if isinstance(found, dict) else found[step]
            yield from ((each, line) for each in (found, *path[-1:]) if isinstance(each, str))

    def below(self, key: str) -> "YamlWithLines":
        """The part under a key."""
        return YamlWithLines(
            self.data.get(key),
            {path[1:]: line for path, line in self.lines.items() if path[:1] == (key,)},
            [DeclarationFault(each.path[1:], each.message) for each in self.faults if each.path[:1] == (key,)],
        )


def read(text: str) -> list[YamlWithLines]:
    """The documents of a text in YAML. A text that is not YAML is a fault, without data."""
    found: list[YamlWithLines] = []
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            marked = YamlWithLines()
            marked.data = _Reading(marked).of(node, ())
            found.append(marked)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f"{error.context}, " if error.context else ""
        fault = DeclarationFault((), f"this is not YAML: {context}{error.problem}; put texts with : # or {{ in quotes")
        return [YamlWithLines(None, {(): 1 if mark is None else mark.line + 1}, [fault])]
    except yaml.YAMLError:
        fault = DeclarationFault((), "this is not YAML: a character is not allowed there; save the file as UTF-8 text")
        return [YamlWithLines(None, {}, [fault])]
    return found


class _Reading:
    def __init__(self, found: YamlWithLines) -> None:
        self._found = found
        self._seen: set[int] = set()

    def of(self, node: yaml.Node, path: Path) -> Any:
        self._found.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in self._seen:
            self._found.faults.append(DeclarationFault(path, "an alias (*) is not allowed here; write out its value"))
            return None
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.of(each, (*path, index)) for index, each in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[Any, Any]:
        data: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._found.lines.setdefault((*path, "?"), key_node.start_mark.line + 1)
                self._found.faults.append(DeclarationFault((*path, "?"), "a key has to be a text; put it in quotes"))
                continue
            key = _key(key_node)
            place = (*path, key)
            if key in data:
                self._found.lines[place] = key_node.start_mark.line + 1
                self._found.faults.append(
                    DeclarationFault(place, f"`{key_node.value}` is there twice; leave one of them out")
                )
                continue
            self._found.lines[place] = key_node.start_mark.line + 1
            data[key] = self.of(value_node, place)
            if data[key] is None and not any(fault.path == place for fault in self._found.faults):
                self._found.faults.append(_empty(place))
        return data


def _key(node: yaml.ScalarNode) -> str:
    """A key as it is written; `null` is a name, and not nothing."""
    text: str = node.value
    return text.lower() if node.style is None and isinstance(_WORDS.get(text), bool) else text


def of_data(data: Any) -> YamlWithLines:
    """Data that another reader of YAML made, with its keys as texts."""
    found = YamlWithLines()
    found.data = _with_texts_for_keys(data, (), found)
    return found


def _with_texts_for_keys(data: Any, path: Path, found: YamlWithLines) -> Any:
    if isinstance(data, (list, tuple)):
        return [_with_texts_for_keys(each, (*path, index), found) for index, each in enumerate(data)]
    if not isinstance(data, Mapping):
        return data
    kept = {}
    for key, value in data.items():
        # The labels of a boolean column belong to its texts; elsewhere yes, no, on and off were meant as names.
        text = "null" if key is None else str(key).lower() if isinstance(key, bool) else str(key)
        if isinstance(key, bool) and path[-1:] != ("values",):
            found.faults.append(
                DeclarationFault(
                    (*path, text), f"a key here is the truth value {text}; put yes, no, on or off in quotes"
                )
            )
        if value is None:
            found.faults.append(_empty((*path, text)))
        kept[text] = _with_texts_for_keys(value, (*path, text), found)
    return kept


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return Decimal(text) if _DECIMAL.fullmatch(text) else text
