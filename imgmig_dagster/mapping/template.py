"""Texts made of several columns, such as ``USER#{user_id}``, for keys and for attributes of indexes.

`keys` makes keys of them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_SEPARATOR = "|"
_PIECE = re.compile(r"(?:[^\\|]|\\.)*", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class Template:
    """A text with columns in braces. A literal brace is not possible."""

    text: str

    @cached_property
    def parts(self) -> tuple[tuple[str, str | None], ...]:
        """Literals, each with the column that follows it; None after the last one."""
        pieces = _PLACEHOLDER.split(self.text)
        literals, columns = pieces[::2], pieces[1::2]
        return tuple(zip(literals, [*columns, None], strict=True))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns, each once, in their order."""
        return tuple(dict.fromkeys(column for _literal, column in self.parts if column is not None))

    @property
    def fault(self) -> str:
        """Why its values cannot be split again; empty if they can."""
        columns = [column for _literal, column in self.parts if column is not None]
        if len(set(columns)) < len(columns):
            return f"{self.text} names a column twice: leave one of them out"
        for literal, column in self.parts[1:]:
            if column is not None and not literal:
                return f"{self.text} has nothing between two columns: put a separator such as # there"
        if self.has_stray_brace:
            return f"{self.text} has a brace that names no column: write {{column}}, and no other braces"
        return ""

    @property
    def has_stray_brace(self) -> bool:
        """Whether a brace belongs to no column."""
        return not {"{", "}"}.isdisjoint(_PLACEHOLDER.sub("", self.text))

    def render(self, texts: Mapping[str, str]) -> str:
        """The text of some columns' texts."""
        return "".join(literal + ("" if column is None else texts[column]) for literal, column in self.parts)

    def parse(self, text: str) -> dict[str, str] | None:
        """The columns' texts; None if it is not a text of this template. A separator ends at its first occurrence."""
        match = self._pattern.fullmatch(text)
        return None if match is None else dict(zip(self.columns, match.groups(), strict=True))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        # Lazily up to each separator; the last column takes the rest.
        groups = [f"{re.escape(literal)}{'' if column is None else '(.*?)'}" for literal, column in self.parts]
        return re.compile("".join(groups), re.DOTALL)


def joined(texts: Sequence[str]) -> str:
    """Several texts as one, which `taken_apart` splits again; a single one stays as it is."""
    if len(texts) == 1:
        return texts[0]
    return _SEPARATOR.join(text.replace("\\", "\\\\").replace(_SEPARATOR, f"\\{_SEPARATOR}") for text in texts)


def taken_apart(text: str, number: int) -> list[str] | None:
    """The `number` texts that `joined` made one; None if it did not make it."""
    if number == 1:
        return [text]
    if "\\" not in text:
        plain = text.split(_SEPARATOR)
        return plain if len(plain) == number else None
    found = [part for part in parts(text, number) or () if part is not None]
    return found if len(found) == number and joined(found) == text else None


def parts(text: str, number: int) -> list[str | None] | None:
    """The `number` texts of a row's id as the source makes it; None for a column that is NULL.

    The source writes NULL as an escape that `joined` never writes: no key can be made of that id.
    """
    if number == 1:
        return [text]
    pieces = _pieces(text)
    if len(pieces) != number:
        return None
    return [None if piece == "\\N" else _ESCAPED.sub(r"\1", piece) for piece in pieces]


def _pieces(text: str) -> list[str]:
    found, place = [], 0
    while match := _PIECE.match(text, place):
        found.append(match[0])
        place = match.end() + 1
        if place > len(text):
            break
    return found
