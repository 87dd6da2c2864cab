"""Names that a draft makes from PostgreSQL's: attributes, the entity; and what a column's name says. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W_A-Z]+|[A-Z]")
_CREATED: Final = frozenset(
    ("created", "added", "inserted", "uploaded", "registered", "published", "ctime", "creation", "creationtime")
)
_MODIFIED: Final = frozenset(("updated", "modified", "changed", "updation", "modification", "mtime", "edited"))
_TIME_WORDS: Final = frozenset(
    ("at", "on", "ts", "time", "date", "datetime", "timestamp", "when", "day", "ms", "us", "millis", "epoch", "utc")
)
_ALONE: Final = frozenset(("mtime", "ctime", "atime", "utime"))
_DELETED: Final = frozenset(("deleted", "trashed", "archived", "removed"))


def words(name: str) -> list[str]:
    """The words of a name in any convention, in small letters."""
    return [word.lower() for word in _WORDS.findall(name)]


def camel_case(name: str) -> str:
    """The name as an application in TypeScript would write it; a name without letter or digit stays."""
    first, *rest = words(name) or [name]
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def attributes(columns: Iterable[str], taken: Iterable[str]) -> Mapping[str, str]:
    """An attribute for each column, each once, and none of those that are taken."""
    used, found = set(taken), dict[str, str]()
    for column in columns:
        name, number = camel_case(column), 1
        while name in used:
            number += 1
            name = f"{camel_case(column)}{number}"
        used.add(name)
        found[column] = name
    return found


def entity(table: str) -> str:
    """What one row is called: the table's name in the singular, by letters alone."""
    name = "_".join(words(table)) or "row"
    if name.endswith("ies"):
        return name[:-3] + "y"
    if name.endswith(("sses", "xes", "ches", "shes")):
        return name[:-2]
    return name[:-1] if name.endswith("s") and not name.endswith(("ss", "us", "is")) else name


def says_created(name: str) -> bool:
    """Whether the name says when a row was made."""
    return _is_time_of(_CREATED, name)


def says_modified(name: str) -> bool:
    """Whether the name says when a row was last changed."""
    return _is_time_of(_MODIFIED, name)


def says_deleted(name: str) -> bool:
    """Whether the name says that rows count as deleted."""
    return bool(_DELETED & set(words(name))) and len(words(name)) <= 3


def says_time(name: str) -> bool:
    """Whether a number of that name may be a time."""
    found = words(name)
    return bool(found) and (found[-1] in _TIME_WORDS | _ALONE or says_created(name) or says_modified(name))


def _is_time_of(event: frozenset[str], name: str) -> bool:
    # created, created_at, createdOn, date_created, last_modified_at: no word but of the event and of time.
    found = words(name)
    return bool(event & set(found)) and set(found) <= event | _TIME_WORDS | {"last", "row", "record"}
