"""Results as JSON files: what a run leaves for the next run, for reports and for checks."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, TypeVar

import orjson
from pydantic import AliasChoices, Field, TypeAdapter, ValidationError

from imgmig_dagster.errors import StateError
from imgmig_dagster.state.store import ABSENT, StateStore

Record = TypeVar("Record")


def renamed(name: str, before: str) -> Any:
    """Marks a field, by `Annotated`, that earlier versions wrote as `before`: files of both names are read."""
    return Field(validation_alias=AliasChoices(name, before))


def save_record(store: StateStore, name: str, record: Any, replacing: str | None = None) -> None:
    """Replace the file `name` with a dataclass as JSON; `replacing` is that of `StateStore.write`."""
    store.write(name, orjson.dumps(record, option=orjson.OPT_INDENT_2), replacing)


def load_record(store: StateStore, name: str, kind: type[Record]) -> Record | None:
    """The dataclass in the file `name`, or None where there is no file.

    Raises:
        StateError: the file cannot be read as that dataclass; it is never taken for an absent one.
    """
    return load_versioned(store, name, kind)[0]


def load_versioned(store: StateStore, name: str, kind: type[Record]) -> tuple[Record | None, str]:
    """The same as `load_record`, and the version that a write can name as the one it replaces."""
    found = store.read(name)
    return (_parse(store, name, kind, found.content), found.version) if found else (None, ABSENT)


def save_lines(store: StateStore, name: str, records: Iterable[Any]) -> None:
    """Replace the file `name` with one line of JSON per dataclass."""
    store.write(name, b"".join(orjson.dumps(record) + b"\n" for record in records))


def load_lines(store: StateStore, name: str, kind: type[Record]) -> list[Record]:
    """The dataclasses in the lines of the file `name`; none where there is no file.

    Raises:
        StateError: as for `load_record`.
    """
    found = store.read(name)
    return [_parse(store, name, kind, line) for line in found.content.splitlines()] if found else []


def _parse(store: StateStore, name: str, kind: type[Record], content: bytes) -> Record:
    try:
        found: Record = _adapter(kind).validate_json(content)  # type: ignore[arg-type]  # a class is hashable
    except ValidationError:
        raise StateError(
            f"{store.locate(name)} cannot be read: it was altered, or another version wrote it. Move it away, and "
            "run again what made it"
        ) from None
    return found


@lru_cache(maxsize=32)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    # Compiling the validator of a kind takes longer than validating a part of a thousand ids.
    return TypeAdapter(kind)
