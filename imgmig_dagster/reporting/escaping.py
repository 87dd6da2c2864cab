"""Text from the database made inert: for HTML, for Markdown and for spreadsheets.

HTML's own escaping is the template engine's. What is added here is that nothing invisible stays invisible: an id or a
file name may hold line breaks, control characters or a right-to-left override, which turns a whole line around.
"""

import re
import unicodedata
from typing import Any, Final

from markupsafe import Markup, escape

# They join emoji and letters of several scripts: part of a name, and no danger.
_JOINERS: Final = "\u200c\u200d"
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
# Punctuation that Markdown acts on anywhere in a line, and what would make a link of a bare address.
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>|~#!@&$]|:(?=//)|(?<=www)\.)")
# The characters of full width too: spreadsheets of Asian locales take them for the others.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_LISTED_CODE_POINTS: Final = 12


def visible_text(text: str) -> str:
    """The text with every invisible character spelled out."""
    return text.translate({ord(character): _spell(character) for character in _invisible_in(text)})


def visible_html(text: str) -> Markup:
    """The same as HTML, with what is spelled out set apart from the same letters in the data."""
    spelled = {ord(character): f'<span class="escape">{_spell(character)}</span>' for character in _invisible_in(text)}
    # What escaping adds is visible, and what is spelled out needs none.
    return Markup(str(escape(text)).translate(spelled))  # noqa: S704


def markdown_text(value: Any) -> str | Markup:
    """The value as Markdown that is text and nothing else; `Markup` and numbers are left as they are."""
    if isinstance(value, (Markup, int, float)):
        return str(value)
    return _MARKDOWN.sub(r"\\\1", visible_text(str(value)))


def markdown_code(text: str) -> Markup:
    """The text as a code span."""
    inert = visible_text(text).replace("`", "'")
    return Markup(f"`{inert}`")  # noqa: S704 - nothing but a backtick ends it


def spreadsheet_cell(value: Any) -> Any:
    """The value as a spreadsheet may open it: text that would be a formula begins with a quote."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def mark_difference(text: str, other: str) -> Markup:
    """The text as HTML, with the part marked in which it differs from the other.

    Where that part is short and not ASCII its code points are listed: two spellings can look the same.
    """
    start = _common_prefix(text, other)
    stop = len(text) - _common_prefix(text[start:][::-1], other[start:][::-1])
    part = text[start:stop]
    html = visible_html(text[:start]) + Markup("<mark>{}</mark>").format(visible_html(part)) + visible_html(text[stop:])
    if part.isascii() or len(part) > _LISTED_CODE_POINTS:
        return html
    listed = " ".join(f"U+{ord(character):04X}" for character in part)
    return html + Markup('<span class="code-points">{}</span>').format(listed)


def _common_prefix(text: str, other: str) -> int:
    # By halves: a comparison of parts looks at many characters at once.
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
