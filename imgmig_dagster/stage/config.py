"""Loads a stage's settings: the only module that reads the environment. Loading them starts nothing.

`sections` declares them, `stage_file` reads their file, `stage_values` puts file and variables together, and
`settings` is what comes of it. `sandbox.attaching` starts what the stage dev uses by default.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings

from imgmig_dagster.errors import SandboxNotRunning, SettingsError
from imgmig_dagster.stage.aws_settings import AwsSettings
from imgmig_dagster.stage.deprecated_variables import values_of
from imgmig_dagster.stage.metrics_settings import MetricsSettings
from imgmig_dagster.stage.places import Places
from imgmig_dagster.stage.settings import Sections, Settings
from imgmig_dagster.stage.source_secret import SourceSecret
from imgmig_dagster.stage.stage_file import StageFile, read_stage_file
from imgmig_dagster.stage.stage_values import StageValues
from imgmig_dagster.stage.stages import Stage, parse_stage
from imgmig_dagster.stage.table_settings import TableSettings
from imgmig_dagster.transport import LOOPBACK_NAMES

SANDBOX_VARIABLES: Final = "sandbox.env"
"""The file of variables that a sandbox writes into its folder."""
SANDBOX_SETTINGS: Final = "sandbox.toml"
"""The file with the settings of stage dev that a sandbox writes into its folder."""
_STAGES: Final = "stages"


def stage_from_env() -> Stage:
    """The stage that STAGE names; dev where it is not set."""
    return parse_stage(os.environ.get("STAGE", Stage.DEV.value))


def stage_file(stage: Stage) -> Path:
    """Where the stage's file is: in the folder that IMGMIG_STAGES names, or in ``stages``."""
    return Path(os.environ.get("IMGMIG_STAGES") or _STAGES) / f"{stage.value}.toml"


def sandbox_root() -> Path:
    """Where the sandbox lives: IMGMIG_SANDBOX_DIR, or ``.imgmig`` in the current directory."""
    return Path(os.environ.get("IMGMIG_SANDBOX_DIR") or ".imgmig").absolute()


def uses_sandbox(stage: Stage) -> bool:
    """Whether the stage is of the sandbox: dev, with no location of its own set."""
    return stage is Stage.DEV and not stage_values(stage).has_locations


def dagster_home(stage: Stage) -> Path:
    """The folder of the Dagster instance: DAGSTER_HOME, or the sandbox's in dev."""
    if uses_sandbox(stage):
        return sandbox_root() / "dagster_home"
    home = _variable(stage, "DAGSTER_HOME")
    if not home:
        raise SettingsError(
            f"DAGSTER_HOME is not set for stage {stage.value}: imgmig init --stage {stage.value} --dagster-home FOLDER "
            f"makes the folder and sets it in {stage.env_file}"
        )
    return Path(home).absolute()


def hand_on_dagster_variables(stage: Stage) -> None:
    """Put Dagster's own variables of the stage's file, such as DAGSTER_POSTGRES_URL, where dagster.yaml reads them.

    Its ``env:`` knows the environment of the process alone. What is set there already stays.
    """
    os.environ.update(_variables_of(stage, "DAGSTER_"))


def _variables_of(stage: Stage, prefix: str) -> dict[str, str]:
    """Those of the stage's file that the environment does not set."""
    found = dotenv_values(stage.env_file).items()
    return {name: value for name, value in found if name.startswith(prefix) and value and name not in os.environ}


def child_environment(stage: Stage) -> dict[str, str]:
    """The environment for a Dagster process of this stage. Its parts talk to each other past any proxy."""
    unproxied = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), *LOOPBACK_NAMES)))
    return {
        **_variables_of(stage, "DAGSTER_"),
        **os.environ,
        "STAGE": stage.value,
        "DAGSTER_HOME": str(dagster_home(stage)),
        "PYTHONWARNINGS": "ignore",
        "NO_PROXY": unproxied,
        "no_proxy": unproxied,
    }


def load_table_settings(stage: Stage, of_sandbox: bool = True) -> TableSettings:
    """What the stage says of its tables. Reads files and the environment only: definitions load offline.

    With `of_sandbox` partitions start with the sandbox's rows where the declaration names no start.
    """
    said = stage_values(stage)
    values = said.section("tables")
    if of_sandbox and said.sandbox and (start := _sandbox_variables().get("IMGMIG_PARTITION_START")):
        values["sandbox_start"] = start
    return said.validated(TableSettings, values, "tables")


def load_places(stage: Stage) -> Places:
    """Where the stage's tables, state and reports are. Reads files and the environment only, and validates nothing."""
    said = stage_values(stage)
    return _validated(
        Places,
        said,
        source_url=said.text("source", "url"),
        source_schema=said.text("tables", "source_schema"),
        source_table=said.text("tables", "source_table"),
        target_table=said.text("target", "table"),
        state_url=said.text("state", "url"),
        reports_url=said.text("reports", "url"),
    )


def load_settings(stage: Stage) -> Settings:
    """The stage's settings; in dev with no location set those that the sandbox wrote when it was last started.

    `SettingsError` names every setting that is missing or wrong; `SandboxNotRunning` says that no sandbox was started.
    """
    said = stage_values(stage)
    if said.sandbox and not said.sandbox.values:
        raise SandboxNotRunning(f"there is no sandbox in {sandbox_root()}: run `imgmig sandbox start` first")
    sections = said.validated(Sections, said.sections())
    access = _validated(AwsSettings, said, allow_insecure=sections.connections.allow_insecure)
    url = sections.source.url.get_secret_value() if sections.source.url else ""
    if sections.source.secret is not None:
        url = SourceSecret(access.aws(), sections.source.secret, url or None).url()
    try:
        return Settings(
            stage=stage,
            access=access,
            source_url=SecretStr(_with_login(stage, url)),
            alert_webhook=_variable(stage, "IMGMIG_ALERT_WEBHOOK"),
            confirm_writes=_variable(stage, "IMGMIG_CONFIRM_WRITES"),
            **dict(sections),
        )
    except ValidationError as error:
        raise said.refused(error) from None


def deprecation_warnings(stage: Stage) -> list[str]:
    """A line for each deprecated variable that a person sets for the stage: where its setting is now."""
    return stage_values(stage).warnings(sandbox_values() if stage is Stage.DEV else {})


def sandbox_values() -> Mapping[tuple[str, str], Any]:
    """What the sandbox of this folder gives to settings, by section and key; `imgmig sandbox env` hands it on."""
    return {**values_of(_sandbox_variables()), **_by_place(_sandbox_file().values)}


def metrics_collector(stage: Stage) -> str | None:
    """Where metrics are posted to, by OpenTelemetry's variables; None where they are off.

    Those of the stage's file are put where OpenTelemetry reads them. What is set in the environment already stays.
    """
    os.environ.update(_variables_of(stage, "OTEL_"))
    return _validated(MetricsSettings, stage_values(stage)).collector


def stage_values(stage: Stage) -> StageValues:
    """What the file and the variables of the stage say of its settings."""
    said = StageValues(stage, read_stage_file(stage_file(stage), stage), _variables(stage))
    if stage is not Stage.DEV or said.has_locations:
        return said
    return replace(said, sandbox=_sandbox_file())


def _sandbox_file() -> StageFile:
    """What the sandbox wrote; one of an earlier version wrote variables alone."""
    found = read_stage_file(sandbox_root() / SANDBOX_SETTINGS, Stage.DEV)
    if found.exists:
        return found
    values: dict[str, dict[str, Any]] = {}
    for (section, key), value in values_of(_sandbox_variables()).items():
        if section != "tables":
            values.setdefault(section, {})[key] = value
    return replace(found, values=values)


def _by_place(values: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], Any]:
    return {(section, key): value for section, keys in values.items() for key, value in keys.items()}


def _sandbox_variables() -> dict[str, str]:
    found = dotenv_values(sandbox_root() / SANDBOX_VARIABLES)
    return {name: value for name, value in found.items() if value}


def _with_login(stage: Stage, url: str) -> str:
    """The source's URL, with the password of the stage's file of variables where nothing else says one."""
    parts, said = urlsplit(url), _variables_of(stage, "PGPASS")
    names = {"PGPASSWORD": "password", "PGPASSFILE": "passfile"}
    if parts.password or parse_qs(parts.query).keys() & {*names.values()} or os.environ.keys() & names.keys():
        return url
    for variable, parameter in names.items():
        if value := said.get(variable):
            return f"{url}{'&' if parts.query else '?'}{parameter}={quote(value, safe='')}"
    return url


_SettingsT = TypeVar("_SettingsT", bound=BaseSettings)


def _validated(kind: type[_SettingsT], said: StageValues, **values: Any) -> _SettingsT:
    """Settings by other tools' variables. Of AWS's the sandbox's win: real credentials never go to an emulator."""
    sandbox = _sandbox_variables() if said.sandbox else {}
    values |= {name.lower(): value for name, value in sandbox.items() if name.startswith("AWS_")}
    try:
        return kind(_env_file=said.stage.env_file, stage=said.stage, **values)
    except ValidationError as error:
        raise said.refused(error) from None


def _variables(stage: Stage) -> dict[str, str]:
    """Those of the stage's file of variables, and those of the environment, which win; empty ones say nothing."""
    found = {**dotenv_values(stage.env_file), **{name: value for name, value in os.environ.items() if value}}
    return {name: value for name, value in found.items() if value}


def _variable(stage: Stage, name: str) -> str | None:
    return _variables(stage).get(name)
