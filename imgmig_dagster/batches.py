"""Cuts a sequence into batches that fit one request or one statement."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

_ThingT = TypeVar("_ThingT")


def batched(things: Sequence[_ThingT], size: int) -> Iterator[Sequence[_ThingT]]:
    """The things in order, `size` at a time; fewer only in the last batch.

    Python 3.12 has `itertools.batched`, which copies each batch into a tuple.
    """
    return (things[start : start + size] for start in range(0, len(things), size))


def batched_by(things: Iterable[_ThingT], size: Callable[[_ThingT], int], most: int) -> Iterator[list[_ThingT]]:
    """The things in order, in batches whose sizes add up to `most` at most, or of one thing."""
    batch, total = list[_ThingT](), 0
    for thing in things:
        if batch and total + size(thing) > most:
            yield batch
            batch, total = [], 0
        batch.append(thing)
        total += size(thing)
    if batch:
        yield batch
