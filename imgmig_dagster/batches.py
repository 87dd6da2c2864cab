"""Cuts a sequence into batches that fit one request or one statement."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

_ThingT = TypeVar("_ThingT")


def batched(things: Sequence[_ThingT], size: int) -> Iterator[Sequence[_ThingT]]:
    """The things in order, `size` at a time; fewer only in the last batch.

    Python 3.12 has `itertools.batched`, which copies each batch into a tuple.
    """
    return (things[start : start + size] for start in range(0, len(things), size))
