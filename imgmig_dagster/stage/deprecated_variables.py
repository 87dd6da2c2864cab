"""The variables that were settings before stages had files. They work in this version, and win over the file.

`sections` declares what replaces them. To remove them, delete this module and its uses in `config`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from imgmig_dagster.stage.sections import SECTIONS, keys_of

_DECLARATION: Final = "in the table's declaration"


@dataclass(frozen=True)
class Replacement:
    """What replaces a variable: `key` of `section`, or `instead` if the file has no such key."""

    section: str
    key: str
    instead: str = ""

    @property
    def place(self) -> str | None:
        """The key as messages name it; None if the file has no such key."""
        return f"{self.key} in [{self.section}]" if self.key in keys_of(self.section) else None

    def advice(self, file: str) -> str:
        """What to do instead of setting the variable."""
        return self.instead.format(file=file) or f"set {self.place} of {file}"


DEPRECATED: Final[Mapping[str, Replacement]] = {
    "IMGMIG_SOURCE_URL": Replacement(
        "source", "url", "set url in [source] of {file} without its password, and the password as PGPASSWORD"
    ),
    "IMGMIG_SOURCE_SECRET": Replacement("source", "secret"),
    "IMGMIG_SOURCE_TIME_ZONE": Replacement("source", "time_zone"),
    "IMGMIG_MAPPINGS": Replacement("tables", "mappings"),
    "IMGMIG_SOURCE_SCHEMA": Replacement("tables", "source_schema", f"set `table` {_DECLARATION}, and keep its `name`"),
    "IMGMIG_SOURCE_TABLE": Replacement("tables", "source_table", f"set `table` {_DECLARATION}, and keep its `name`"),
    "IMGMIG_IGNORED_COLUMNS": Replacement("tables", "ignored_columns", f"set `ignored` {_DECLARATION}"),
    "IMGMIG_PARTITION_GRAIN": Replacement("tables", "partition_grain", f"set `partitions` {_DECLARATION}"),
    "IMGMIG_PARTITION_START": Replacement(
        "tables", "partition_start", f"set `partitions: {{{{every: ..., start: ...}}}}` {_DECLARATION}"
    ),
    "IMGMIG_PARTITIONS_PER_RUN": Replacement("tables", "partitions_per_run"),
    "IMGMIG_TARGET_TABLE": Replacement("target", "table"),
    "IMGMIG_AWS_ACCOUNT": Replacement("target", "aws_account"),
    "IMGMIG_DUAL_WRITE": Replacement("target", "application_writes"),
    "IMGMIG_WRITE_MODE": Replacement(
        "target", "write_mode", "set application_writes in [target] of {file}, which decides it"
    ),
    "IMGMIG_FORCE_BATCH": Replacement("target", "batch_by_force"),
    "IMGMIG_WRITE_RATE": Replacement("target", "write_units_per_s"),
    "IMGMIG_REQUESTS_IN_FLIGHT": Replacement(
        "target", "requests_in_flight", "unset it: their number follows latency and throttling, up to 64"
    ),
    "IMGMIG_PAGE_SIZE": Replacement("source", "page_size", "unset it: a page has 1,000 rows"),
    "IMGMIG_SETTLE_SECONDS": Replacement(
        "target", "recheck_delay_s", "set application_writes in [target] of {file}, which decides it"
    ),
    "IMGMIG_EXPORT_URL": Replacement("target", "export_url"),
    "IMGMIG_STATE_URL": Replacement("state", "url"),
    "IMGMIG_REPORTS_URL": Replacement("reports", "url"),
    "IMGMIG_SIGNING_KEY": Replacement("reports", "signing_key"),
    "IMGMIG_SHOW_VALUES": Replacement("reports", "keep_values"),
    "IMGMIG_SPOT_CHECK_PICTURES": Replacement("reports", "spot_check_pictures"),
    "IMGMIG_UI_URL": Replacement("alerts", "ui_url"),
    "IMGMIG_ALLOW_INSECURE": Replacement("connections", "allow_insecure"),
}
LOCATIONS: Final = (("source", "url"), ("source", "secret"), ("target", "table"), ("state", "url"))
"""The settings that name a stage's own services. With none of them set, dev uses the sandbox."""


def warnings_of(variables: Mapping[str, str], file: str) -> list[str]:
    """A line for each of these variables: where its setting is now."""
    return [f"{name} is deprecated: {DEPRECATED[name].advice(file)}" for name in DEPRECATED if variables.get(name)]


def values_of(variables: Mapping[str, str]) -> dict[tuple[str, str], Any]:
    """The values of deprecated variables, by the section and key that replaces each, with the type that it has there.

    A value that does not fit that type stays text, and the setting refuses it.
    """
    found = {}
    for name, replacement in DEPRECATED.items():
        if not (value := variables.get(name)):
            continue
        # It said nothing unless batches were asked for.
        if name == "IMGMIG_FORCE_BATCH" and variables.get("IMGMIG_WRITE_MODE") != "batch":
            continue
        found[replacement.section, replacement.key] = _typed(replacement, value)
    return found


def _typed(replacement: Replacement, value: str) -> Any:
    declared = SECTIONS[replacement.section].model_fields.get(replacement.key)
    for kind in (bool, int, float):
        if declared is not None and kind in _kinds(declared.annotation):
            try:
                return TypeAdapter(kind).validate_python(value)
            except ValidationError:
                return value
    return value


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", (annotation,))
