"""Reads `stages/<stage>.toml`. Refuses unknown settings and secrets, with their line. Never shows a value."""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.stage.deprecated_variables import DEPRECATED
from imgmig_dagster.stage.sections import SECTIONS, keys_of
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.transport import holds_password

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SECRETS: Final = {
    ("source", "password"): "PGPASSWORD",
    ("source", "url"): "PGPASSWORD",
    ("alerts", "webhook"): "IMGMIG_ALERT_WEBHOOK",
    ("alerts", "alert_webhook"): "IMGMIG_ALERT_WEBHOOK",
}
_ANYWHERE: Final = {
    **{name: f"{name} in [{section}]" for section in SECTIONS for name in keys_of(section)},
    **{name.removeprefix("IMGMIG_").lower(): each.place for name, each in DEPRECATED.items() if each.place},
}
"""The place of each setting, by its name and by the name of its earlier variable."""
_HEADER: Final = re.compile(r"\s*\[\s*([\w\"'.-]+)\s*\]")
_KEY: Final = re.compile(r"\s*([\w\"'.-]+)\s*=")


@dataclass(frozen=True)
class StageFile:
    """What a stage's file says: `values` by section and key; none if the file does not exist."""

    path: Path
    exists: bool = False
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lines: Mapping[tuple[str, str], int] = field(default_factory=dict, repr=False)

    def place(self, section: str, key: str = "") -> str:
        """The file and, where it is known, the line of a section or a key."""
        line = self.lines.get((section, key))
        return f"{self.path}:{line}" if line else str(self.path)


def read_stage_file(path: Path, stage: Stage) -> StageFile:
    """The file of a stage.

    Raises:
        SettingsError: it cannot be read, is no TOML, or holds what is no setting or a secret; each such place is named.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = tomllib.loads(text)
    except FileNotFoundError:
        return StageFile(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}. Let this user read it") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 from byte {error.start} on: save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no TOML: {error}. docs/settings.md shows the form") from None
    found = StageFile(path, True, values, dict(_lines(text)))
    if faults := list(_faults(found, stage)):
        raise SettingsError(f"settings of stage {stage.value}: {'; '.join(faults)}")
    return found


def _faults(file: StageFile, stage: Stage) -> Iterator[str]:
    for section, keys in file.values.items():
        if not isinstance(keys, dict) or section not in SECTIONS:
            place = file.place(section) if isinstance(keys, dict) else file.place("", section)
            wrong = f"{section} is a section: write [{section}]" if section in SECTIONS else _unknown(section)
            yield f"{place}: {wrong}"
            continue
        for key, value in keys.items():
            place = file.place(section, key)
            if key not in keys_of(section):
                yield f"{place}: {_secret(section, key, stage) or _unknown(key, section)}"
            elif isinstance(value, str) and holds_password(value):
                yield f"{place}: {key} in [{section}] holds a password: {_elsewhere(section, key, stage)}"


def _secret(section: str, key: str, stage: Stage) -> str | None:
    if (section, key) not in _SECRETS:
        return None
    return f"{key} in [{section}] is a secret: {_elsewhere(section, key, stage)}"


def _elsewhere(section: str, key: str, stage: Stage) -> str:
    variable = _SECRETS.get((section, key))
    if variable is None:
        return "remove it"
    return f"remove it, and set {variable} in the environment or in {stage.env_file}"


def _unknown(name: str, section: str = "") -> str:
    """The message that there is no such section or setting, with what may be meant."""
    here = keys_of(section) if section else SECTIONS
    wanted = name.lower().removeprefix("imgmig_")
    if meant := get_close_matches(wanted, here, 1):
        hint = f"did you mean {meant[0]}?" if section else f"did you mean [{meant[0]}]?"
    elif meant := get_close_matches(wanted, _ANYWHERE, 1, cutoff=0.8):
        hint = f"did you mean {_ANYWHERE[meant[0]]}?"
    else:
        hint = f"there are {', '.join(here if section else (f'[{each}]' for each in here))}"
    return f"there is no setting {name} in [{section}]; {hint}" if section else f"there is no section {name}; {hint}"


def _lines(text: str) -> Iterator[tuple[tuple[str, str], int]]:
    """Each section and key with the number of its line, as far as they are written in the usual form."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            section = _plain(header[1])
            of, _, name = section.rpartition(".")
            yield (of, name) if of else (section, ""), number
        elif key := _KEY.match(line):
            of, _, name = f"{section}.{_plain(key[1])}".lstrip(".").rpartition(".")
            yield (of, name), number


def _plain(name: str) -> str:
    return name.replace('"', "").replace("'", "")
