"""The items that the stub keeps: in a file, so that ten million of them need no memory but for their keys."""

import os
import tempfile
from array import array
from collections.abc import Iterator
from typing import Final

_LENGTH_BITS: Final = 20  # an item has at most 409,600 bytes
_PAGE_BYTES: Final = 2**20  # a page of a scan ends with the item that makes it 1 MB


class KeptItems:
    """JSON of items by partition key, in the order in which the keys were first written."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as the stub
        self._end = 0
        self._numbers: dict[str, int] = {}
        # Of each item by its number: where in the file it begins, and how long it is.
        self._places = array("Q")

    def __len__(self) -> int:
        return len(self._places)

    def number(self, key: str) -> int | None:
        """Which of the items has this key."""
        return self._numbers.get(key)

    def read(self, number: int) -> bytes:
        """An item by its number."""
        place = self._places[number]
        return os.pread(self._file.fileno(), place & (1 << _LENGTH_BITS) - 1, place >> _LENGTH_BITS)

    def page(self, start: int, end: int) -> Iterator[bytes]:
        """The items from a number on, up to another one or as many as a page of a scan holds."""
        size = 0
        for number in range(start, end):
            if size >= _PAGE_BYTES:
                return
            item = self.read(number)
            size += len(item)
            yield item

    def keep(self, key: str, item: bytes) -> None:
        """Add an item, or replace that of its key."""
        self._file.write(item)
        place, self._end = self._end << _LENGTH_BITS | len(item), self._end + len(item)
        number = self._numbers.setdefault(key, len(self._places))
        if number == len(self._places):
            self._places.append(place)
        else:
            self._places[number] = place
