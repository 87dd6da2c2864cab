"""``imgmig init``: writes the files of a stage, for a person to edit. The texts are in `stage.stage_template`."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from imgmig_dagster.cli.console import Output
from imgmig_dagster.cli.options import StageOption, named
from imgmig_dagster.errors import FilesUnavailable, SettingsError
from imgmig_dagster.files import refusals_as
from imgmig_dagster.stage.config import sandbox_values, stage_values
from imgmig_dagster.stage.dagster_home import write_local_dagster_yaml
from imgmig_dagster.stage.deprecated_variables import DEPRECATED, LOCATIONS
from imgmig_dagster.stage.sections import SECTIONS, keys_of
from imgmig_dagster.stage.stage_template import images_declaration, stage_file_text, variables_file_text
from imgmig_dagster.stage.stage_values import StageValues
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.table_settings import TableSettings
from imgmig_dagster.transport import holds_password, without_password

EXAMPLES: Final = (
    "Examples: imgmig init --stage staging; "
    "imgmig init --stage prod --dagster-home /var/lib/imgmig/dagster --target-table images-prod"
)
_IMAGES: Final = Path("mappings/images.yaml")
_WITHOUT_A_KEY: Final = ("IMGMIG_WRITE_MODE", "IMGMIG_SETTLE_SECONDS")


def init(
    stage: StageOption = None,
    source_url: Annotated[
        str | None, typer.Option("--source-url", help="libpq URL of the PostgreSQL primary, without a password.")
    ] = None,
    target_table: Annotated[str | None, typer.Option("--target-table", help="Name of the DynamoDB table.")] = None,
    state_url: Annotated[str | None, typer.Option("--state-url", help="file:///FOLDER or s3://BUCKET/PREFIX.")] = None,
    dagster_home: Annotated[
        Path | None, typer.Option("--dagster-home", help="Folder of Dagster's instance.", show_default=".dagster/STAGE")
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help=f"Write {_IMAGES} too, the declaration of the table images, to edit.")
    ] = False,
) -> None:
    """Write a stage's files: its settings, its variables, and the folder of Dagster's instance.

    What is set in the environment or in .env.STAGE goes into the settings. A file that exists stays as it is.
    """
    chosen, output = named(stage), Output(json=False)
    # The sandbox's settings stay with it: written into a file they would lose its endpoints, and mean AWS itself.
    said = replace(stage_values(chosen), sandbox=None)
    if handed_on := _of_the_sandbox(said):
        raise SettingsError(
            f"this terminal has the sandbox's {', '.join(handed_on)}, by imgmig sandbox env: use another terminal"
        )
    options = {("source", "url"): source_url, ("target", "table"): target_table, ("state", "url"): state_url}
    if source_url is not None and holds_password(source_url):
        raise SettingsError(f"--source-url holds a password: leave it out, and set PGPASSWORD in {chosen.env_file}")
    wanted = _values(said)
    values = wanted | {place: value for place, value in options.items() if value is not None}
    if any(holds_password(value) for value in values.values() if isinstance(value, str)):
        raise SettingsError(
            "a variable holds a password in a form that cannot be taken out of it: give the URL without it by "
            f"--source-url, and set PGPASSWORD in {chosen.env_file}"
        )
    _write(output, said.file.path, stage_file_text(chosen, values))
    home = (dagster_home or Path(said.variables.get("DAGSTER_HOME") or f".dagster/{chosen.value}")).absolute()
    with refusals_as(FilesUnavailable, home, "name another folder by --dagster-home"):
        made = write_local_dagster_yaml(home)
    output.say(f"{'Wrote' if made else 'Kept'} {home / 'dagster.yaml'}")
    _write(output, Path(chosen.env_file), variables_file_text(str(home)), mode=0o600)
    if stage_values(chosen).variables.get("DAGSTER_HOME") is None:
        output.say(f"Add to {chosen.env_file}: DAGSTER_HOME={home}")
    _declare(output, said, images)
    _say_what_is_left(output, said, wanted)
    output.say(f"Next: edit {said.file.path}, then imgmig doctor --stage {chosen.value}")


def _declare(output: Output, said: StageValues, images: bool) -> None:
    """Write the declaration of `images` if variables set parts of it, and no folder of declarations exists."""
    tables = said.validated(TableSettings, said.section("tables"), "tables")
    given, ignored = tables.model_fields_set, dict(tables.ignored_columns)
    place = f"{tables.source_schema or 'public'}.{tables.source_table or 'images'}"
    partitions: str = tables.partition_grain
    if "partition_start" in given:
        partitions = f"{{every: {tables.partition_grain}, start: {tables.partition_start}}}"
    if images or (tables.of_one_table and tables.mappings is None and not _IMAGES.parent.exists()):
        _write(output, _IMAGES, images_declaration(place, partitions, ignored))
    elif tables.of_one_table:
        lines = {
            "table": place if given & {"source_schema", "source_table"} else "",
            "partitions": partitions if given & {"partition_grain", "partition_start"} else "",
            "ignored": json.dumps(ignored, ensure_ascii=False) if ignored else "",
        }
        said_so = "; ".join(f"{key}: {value}" for key, value in lines.items() if value)
        output.say(f"Write into the table's declaration what variables set: {said_so}")


def _of_the_sandbox(said: StageValues) -> list[str]:
    """The variables that name the sandbox's own database, table or state."""
    of_sandbox = sandbox_values()
    return [
        name
        for name, each in DEPRECATED.items()
        if (place := (each.section, each.key)) in LOCATIONS
        and (value := said.variables.get(name))
        and of_sandbox.get(place) == value
    ]


def _values(said: StageValues) -> dict[tuple[str, str], Any]:
    """What the stage's file and variables say, as the new file can say it: without a password."""
    found = {
        (section, key): without_password(value) if isinstance(value, str) else value
        for section in SECTIONS
        for key, value in said.section(section).items()
        if key in keys_of(section)
    }
    if said.section("target").get("write_mode") == WriteMode.CONDITIONAL.value:
        found["target", "application_writes"] = True  # conditional writes are what it means now
    return found


def _say_what_is_left(output: Output, said: StageValues, wanted: Mapping[tuple[str, str], Any]) -> None:
    """What a person still has to move: secrets, and variables that would win over the file.

    `wanted` is what a new file says; one that was kept may say something else.
    """
    url = said.variables.get("IMGMIG_SOURCE_URL", "")
    if holds_password(url):
        output.say(f"The password in IMGMIG_SOURCE_URL is in no file: set it as PGPASSWORD in {said.stage.env_file}")
    written = stage_values(said.stage).file.values
    done = []
    for name, each in DEPRECATED.items():
        if not said.variables.get(name):
            continue
        value = wanted.get((each.section, each.key))
        if each.place is None and name in _WITHOUT_A_KEY:
            output.say(f"{name} is no setting any more: {each.advice(str(said.file.path))}")
        elif value is not None and written.get(each.section, {}).get(each.key) != value:
            output.say(f"Add to [{each.section}] of {said.file.path}: {each.key} = {json.dumps(value)} ({name})")
        else:
            done.append(name)
    if done:
        output.say(f"Remove from the environment and from {said.stage.env_file}: {', '.join(done)}")


def _write(output: Output, path: Path, text: str, mode: int = 0o644) -> None:
    with refusals_as(FilesUnavailable, path, "work in another folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.touch(mode, exist_ok=False)
            path.write_text(text, encoding="utf-8")
        except FileExistsError:
            output.say(f"Kept {path}")
        else:
            output.say(f"Wrote {path}")
