"""The values that a stage's file and variables give to settings, and where each comes from. `config` gathers them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.stage.deprecated_variables import DEPRECATED, LOCATIONS, values_of, warnings_of
from imgmig_dagster.stage.sections import SECTIONS
from imgmig_dagster.stage.stage_file import StageFile
from imgmig_dagster.stage.stages import Stage

_ModelT = TypeVar("_ModelT", bound=BaseModel)


@dataclass(frozen=True)
class StageValues:
    """For each setting the deprecated variable wins, then the stage's file, then the sandbox's file.

    `variables` are those of the environment and of ``.env.<stage>``; `sandbox` is None where the stage is not its.
    """

    stage: Stage
    file: StageFile
    variables: Mapping[str, str]
    sandbox: StageFile | None = None

    @property
    def has_locations(self) -> bool:
        """Whether the file or a variable names one of the stage's own services."""
        said = values_of(self.variables)
        return any((section, key) in said or key in self.file.values.get(section, {}) for section, key in LOCATIONS)

    def section(self, name: str) -> dict[str, Any]:
        """The values of a section's settings."""
        layers = [*([self.sandbox] if self.sandbox else []), self.file]
        found = {key: value for layer in layers for key, value in layer.values.get(name, {}).items()}
        return found | {key: value for (section, key), value in values_of(self.variables).items() if section == name}

    def text(self, section: str, key: str) -> str | None:
        """A setting's value as given, if it is text."""
        value = self.section(section).get(key)
        return value if isinstance(value, str) and value else None

    def sections(self) -> dict[str, dict[str, Any]]:
        """The values of each section."""
        return {name: self.section(name) for name in SECTIONS}

    def validated(self, kind: type[_ModelT], values: Mapping[str, Any], section: str = "") -> _ModelT:
        """A model made from the values, of one `section` or of all.

        Raises:
            SettingsError: each setting that is missing or wrong is named, with its place.
        """
        try:
            # As JSON, so that text may name a path or a choice, and a number is no text.
            return kind.model_validate_json(json.dumps(values, default=lambda _value: {}))
        except ValidationError as error:
            raise self.refused(error, section) from None

    def refused(self, error: ValidationError, section: str = "") -> SettingsError:
        """The faults of a model as one error, without any value: it may be a secret."""
        return self.refusing(self._described(fault, section) for fault in error.errors())

    def refusing(self, faults: Iterable[str]) -> SettingsError:
        """The error that names these faults."""
        command = f"imgmig init --stage {self.stage.value}"
        remedy = f"Set them in {self.file.path}" if self.file.exists else f"{command} writes {self.file.path} to edit"
        return SettingsError(f"settings of stage {self.stage.value}: {'; '.join(faults)}. {remedy}")

    def warnings(self, handed_on: Mapping[tuple[str, str], Any]) -> list[str]:
        """A line for each deprecated variable that a person sets: not for those with the value that was `handed_on`."""
        chosen = {
            name: value
            for name, value in self.variables.items()
            if name in DEPRECATED and not values_of({name: value}).items() & handed_on.items()
        }
        return warnings_of(chosen, str(self.file.path))

    def _described(self, fault: Any, section: str) -> str:
        place = [str(each) for each in ([section] if section else []) + list(fault["loc"])]
        message = str(fault["msg"]).removeprefix("Value error, ")
        if not place or (place[0] in SECTIONS and len(place) < 2):
            # A fault of several settings names one, or the variable that set it.
            for variable, each in DEPRECATED.items():
                if each.place and message.startswith(each.place) and self.variables.get(variable):
                    return message.replace(each.place, variable, 1)
            return message
        if place[0] not in SECTIONS:
            return f"{place[0]}: {message}"
        of, key = place[0], place[1]
        if fault["type"] == "missing":
            return f"{key} in [{of}] is missing"
        for variable, each in DEPRECATED.items():
            if (each.section, each.key) == (of, key) and self.variables.get(variable):
                return f"{variable}: {message}"
        return f"{self.file.place(of, key)}: {key} in [{of}]: {message}"
