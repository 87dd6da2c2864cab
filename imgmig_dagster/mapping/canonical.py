"""One spelling per item, so that two looks at the same item can be compared by a hash of it; and the short hash."""

import hashlib
import json
from typing import Any, Final

from imgmig_dagster.mapping.rows import Item

_SETS: Final = frozenset({"SS", "NS", "BS"})


def canonical_item(item: Item) -> bytes:
    """The item as JSON: names sorted, no white space, the elements of sets in order, which DynamoDB does not keep."""
    ordered = {name: _ordered(value) for name, value in item.items()}
    return json.dumps(ordered, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def short_hash(content: bytes) -> int:
    """The first 8 bytes of a SHA-256, as a signed big-endian number: one that PostgreSQL can sum up."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big", signed=True)


def _ordered(value: dict[str, Any]) -> dict[str, Any]:
    kind, content = next(iter(value.items()))
    if kind in _SETS:
        return {kind: sorted(content)}
    if kind == "L":
        return {kind: [_ordered(element) for element in content]}
    if kind == "M":
        return {kind: {name: _ordered(element) for name, element in content.items()}}
    return value
