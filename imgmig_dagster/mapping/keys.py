"""The key of a row's item from the row's id, and the id from the key, as functions made once per mapping.

`spec.TableMapping` keeps them: a migration makes one key per row, a verification splits one per item. `template` says
what a key's text consists of, and how several texts make one id.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.sizes import MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES
from imgmig_dagster.mapping.template import joined, taken_apart
from imgmig_dagster.mapping.unfit import KEY_AMBIGUOUS, KEY_EMPTY, KEY_NOT_WHOLE, KEY_NULL

if TYPE_CHECKING:
    from imgmig_dagster.mapping.spec import KeyAttribute

# As DynamoDB returns a number: an item with any other spelling would not be found again.
_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]{0,37}")
_LIMITS: Final = (("partition key", MAX_PARTITION_KEY_BYTES), ("sort key", MAX_SORT_KEY_BYTES))


def renderer(attributes: Sequence["KeyAttribute"], columns: Sequence[str], name: str) -> Callable[[str], Item]:
    """A function that makes the key of an id. It raises ValueError if the id cannot be one of the table `name`."""
    if len(columns) == 1:
        return _renderer_of_one(attributes)

    def render(row_id: str) -> Item:
        texts = taken_apart(row_id, len(columns))
        if texts is None:
            raise ValueError(f"{row_id} is not an id of {name}, which consists of {', '.join(columns)}")
        of = dict(zip(columns, texts, strict=True))
        return {each.attribute: {each.type: each.template.render(of)} for each in attributes}

    return render


def _renderer_of_one(attributes: Sequence["KeyAttribute"]) -> Callable[[str], Item]:
    own, same = _by_column(attributes)
    frame: dict[str, Any] = {each.attribute: same.get(each.attribute) for each in attributes}

    def render(row_id: str) -> Item:
        key: Item = frame.copy()
        for attribute, kind, before, after in own:
            key[attribute] = {kind: before + row_id + after}
        return key

    return render


def parser(attributes: Sequence["KeyAttribute"], columns: Sequence[str]) -> Callable[[Item], str | None]:
    """A function that finds the id in an item's key; None if the item is another entity's."""
    if len(columns) == 1:
        return _parser_of_one(attributes)

    def parse(item: Item) -> str | None:
        texts: dict[str, str] = {}
        for each in attributes:
            content = item.get(each.attribute, {}).get(each.type)
            found = each.template.parse(content) if isinstance(content, str) else None
            if found is None or any(texts.setdefault(name, text) != text for name, text in found.items()):
                return None
        return joined([texts[name] for name in columns])

    return parse


def _parser_of_one(attributes: Sequence["KeyAttribute"]) -> Callable[[Item], str | None]:
    (first, *others), same = _by_column(attributes)
    own_attribute, own_kind, own_before, own_after = first
    rest = list(same.items())
    length = len(own_before)

    def parse_prefixed(item: Item) -> str | None:
        for attribute, literal in rest:
            if item.get(attribute) != literal:
                return None
        own = item.get(own_attribute)
        content = None if own is None else own.get(own_kind)
        return content[length:] if content.__class__ is str and content.startswith(own_before) else None

    if not others and not own_after:
        return parse_prefixed

    def parse(item: Item) -> str | None:
        for attribute, literal in rest:
            if item.get(attribute) != literal:
                return None
        row_id = _inside(item.get(own_attribute), own_kind, own_before, own_after)
        for attribute, kind, before, after in others:
            if _inside(item.get(attribute), kind, before, after) != row_id:
                return None
        return row_id

    return parse


def _inside(attribute: Mapping[str, Any] | None, kind: str, before: str, after: str) -> str | None:
    content = None if attribute is None else attribute.get(kind)
    if not isinstance(content, str) or not content.startswith(before) or not content.endswith(after):
        return None
    end = len(content) - len(after)
    return content[len(before) : end] if len(before) <= end else None


def _by_column(attributes: Sequence["KeyAttribute"]) -> tuple[list[tuple[str, str, str, str]], Item]:
    """Name and type of those with the column, and the texts before and after it; the others as constants."""
    own, same = [], {}
    for each in attributes:
        (before, column), *rest = each.template.parts
        if column is None:
            same[each.attribute] = {each.type: before}
        else:
            own.append((each.attribute, each.type, before, rest[0][0]))
    return own, same


def fault_finder(
    attributes: Sequence["KeyAttribute"], render: Callable[[str], Item], parse: Callable[[Item], str | None]
) -> Callable[[str], tuple[str, str] | None]:
    """A function that says why no item can have an id's key: code and reason, or None."""
    if any(each.type != "S" for each in attributes) or len({*_columns(attributes)}) > 1:
        return lambda row_id: _fault(attributes, render, parse, row_id)
    # A character takes at most four bytes: only the giants are measured.
    literals = [sum(len(literal.encode()) for literal, _column in each.template.parts) for each in attributes]
    short = min(limit - taken for (_name, limit), taken in zip(_LIMITS, literals, strict=False)) // 4
    return lambda row_id: None if 0 < len(row_id) <= short else _fault(attributes, render, parse, row_id)


def _columns(attributes: Sequence["KeyAttribute"]) -> list[str]:
    return [column for each in attributes for column in each.template.columns]


def _fault(
    attributes: Sequence["KeyAttribute"],
    render: Callable[[str], Item],
    parse: Callable[[Item], str | None],
    row_id: str,
) -> tuple[str, str] | None:
    try:
        key = render(row_id)
    except ValueError:  # how the source writes the id of a row whose key is not complete
        return KEY_NULL
    for each, (name, limit) in zip(attributes, _LIMITS, strict=False):
        text = key[each.attribute][each.type]
        if not text:
            return KEY_EMPTY
        if each.type == "N" and _WHOLE.fullmatch(text) is None:
            return KEY_NOT_WHOLE
        if each.type == "S" and (size := len(text.encode("utf-8", "surrogatepass"))) > limit:
            return "key_too_long", f"the {name} has {size:,} bytes; DynamoDB takes {limit:,}"
    return None if parse(key) == row_id else KEY_AMBIGUOUS
