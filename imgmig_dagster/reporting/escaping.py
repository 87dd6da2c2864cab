"""Makes text from the database inert: for HTML, for Markdown and for spreadsheets.

The template engine escapes HTML. This module makes invisible characters visible: an id or a file name may hold line
breaks, control characters or a right-to-left override, which reverses a whole line.
"""

import re
import unicodedata
from typing import Any, Final

from markupsafe import Markup, escape

# These join emoji and letters of several scripts: part of a name, and harmless.
_JOINERS: Final = "\u200c\u200d"
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
# Punctuation that Markdown acts on anywhere in a line, and what would turn a bare address into a link.
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>|~#!@&$]|:(?=//)|(?<=www)\.)")
# Full-width characters too: spreadsheets of Asian locales treat them the same.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_LISTED_CODE_POINTS: Final = 12
_LONG: Final = 2_000
"""A longer value is shown in parts: this many characters at each end, and around the first difference."""
_END: Final = 200
_AROUND: Final = 100


def visible_text(text: str) -> str:
    """The text with every invisible character spelled out."""
    return text.translate({ord(character): _spell(character) for character in _invisible_in(text)})


def visible_html(text: str) -> Markup:
    """The same as HTML; what is spelled out is marked, to tell it from the same letters in the data."""
    spelled = {ord(character): f'<span class="escape">{_spell(character)}</span>' for character in _invisible_in(text)}
    # Escaping adds only visible characters, and what is spelled out needs no escaping.
    return Markup(str(escape(text)).translate(spelled))  # noqa: S704


def markdown_text(value: Any) -> str | Markup:
    """The value as Markdown that is plain text; `Markup` and numbers stay as they are."""
    if isinstance(value, (Markup, int, float)):
        return str(value)
    return _MARKDOWN.sub(r"\\\1", visible_text(str(value)))


def markdown_code(text: str) -> Markup:
    """The text as a code span."""
    inert = visible_text(text).replace("`", "'")
    return Markup(f"`{inert}`")  # noqa: S704 - nothing but a backtick ends it


def spreadsheet_cell(value: Any) -> Any:
    """The value, safe to open in a spreadsheet: text that would be a formula begins with a quote."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def shown_value(text: str, other: str | None = None, has_whole: bool = True) -> Markup:
    """A value as HTML; compared with another one, the part that differs is marked.

    A long value is shown as its ends, the surroundings of the first difference, its length, and with `has_whole` the
    whole value, folded. If the part that differs is short and not ASCII, its code points are listed: two spellings can
    look the same.
    """
    start, stop = (len(text), len(text)) if other is None else _difference(text, other)
    is_long = len(text) > _LONG
    spans = _in_sight(len(text), start, stop) if is_long else [(0, len(text))]
    html, end = Markup(), 0
    for begin, until in spans:
        if begin > end:
            html += Markup(' <span class="cut">({} characters left out)</span> ').format(f"{begin - end:,}")
        html += visible_html(text[begin : min(until, start)])
        if other is not None and begin <= start <= until:
            html += Markup("<mark>{}</mark>").format(visible_html(text[start : min(until, stop)]))
        html += visible_html(text[max(begin, stop) : until])
        end = until
    part = text[start:stop]
    if not part.isascii() and len(part) <= _LISTED_CODE_POINTS:
        listed = " ".join(f"U+{ord(character):04X}" for character in part)
        html += Markup('<span class="code-points">{}</span>').format(listed)
    return html + _about_long(text, None if other in (None, text) else start, has_whole) if is_long else html


def _about_long(text: str, difference: int | None, has_whole: bool) -> Markup:
    place = "" if difference is None else f"; the first difference is at character {difference + 1:,}"
    html = Markup('<span class="length">{} characters{}</span>').format(f"{len(text):,}", place)
    if has_whole:
        html += Markup("<details><summary>The whole value</summary>{}</details>").format(visible_text(text))
    return html


def _in_sight(length: int, start: int, stop: int) -> list[tuple[int, int]]:
    """The parts of a long text that are shown: its ends, and the surroundings of the part that differs."""
    around = (max(0, start - _AROUND), min(length, stop + _AROUND, start + _AROUND + _END))
    spans = list[tuple[int, int]]()
    for begin, until in sorted([(0, _END), around, (length - _END, length)]):
        if spans and begin <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], until))
        else:
            spans.append((begin, until))
    return spans


def _difference(text: str, other: str) -> tuple[int, int]:
    """Where the part of a text that differs from another one begins and ends."""
    start = _common_prefix(text, other)
    return start, len(text) - _common_prefix(text[start:][::-1], other[start:][::-1])


def _common_prefix(text: str, other: str) -> int:
    # Bisect: comparing slices is faster than comparing characters.
    equal, unequal = 0, min(len(text), len(other)) + 1
    while unequal - equal > 1:
        middle = (equal + unequal) // 2
        if text[equal:middle] == other[equal:middle]:
            equal = middle
        else:
            unequal = middle
    return equal


def _invisible_in(text: str) -> list[str]:
    if text.isprintable():
        return []
    return [each for each in set(text) if each not in _JOINERS and unicodedata.category(each) in _INVISIBLE]


def _spell(character: str) -> str:
    code = ord(character)
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character) or (
        f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
    )
