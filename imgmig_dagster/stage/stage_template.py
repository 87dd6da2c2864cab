"""The texts of a new stage's files, which `imgmig init` writes and deploy/stages shows."""

import json
import textwrap
from collections.abc import Mapping
from typing import Any, Final

from imgmig_dagster.mapping.declaration import PACKAGED
from imgmig_dagster.stage.sections import SECRETS, SECTIONS, keys_of
from imgmig_dagster.stage.stages import Stage

_WIDTH: Final = 100
_EXAMPLES: Final[Mapping[tuple[str, str], Any]] = {
    ("source", "url"): "postgresql://imgmig_reader@db.example.com/images?sslmode=verify-full",
    ("source", "secret"): "imgmig/source",
    ("tables", "mappings"): "mappings",
    ("target", "table"): "images-{stage}",
    ("target", "aws_account"): "123456789012",
    ("target", "application_writes"): True,
    ("target", "batch_by_force"): "images-{stage}",
    ("target", "write_units_per_s"): 2000,
    ("target", "export_url"): "s3://bucket/prefix",
    ("state", "url"): "file:///var/lib/imgmig",
    ("reports", "url"): "s3://bucket/prefix",
    ("reports", "signing_key"): "alias/imgmig",
    ("connections", "allow_insecure"): "loopback",
}
_IMAGES: Final = PACKAGED / "images.yaml"


def stage_file_text(stage: Stage, values: Mapping[tuple[str, str], Any]) -> str:
    """The stage's file: every setting with its description, those with a value set and the others in comments."""
    lines = [f"# The settings of stage {stage.value}: docs/settings.md. No secret belongs here."]
    for section in SECTIONS:
        lines += ["", f"[{section}]", *_comment(SECTIONS[section].__doc__ or ""), ""]
        for key, declared in keys_of(section).items():
            example = _EXAMPLES.get((section, key), declared.default)
            if isinstance(example, str):
                example = example.format(stage=stage.value)
            value = values.get((section, key))
            lines += [*_comment(f"{key}: {declared.description}")]
            lines += [f"{key} = {_toml(value)}" if value is not None else f"# {key} = {_toml(example)}", ""]
    return "\n".join(lines)


def variables_file_text(dagster_home: str) -> str:
    """The stage's file of variables: where Dagster is, and places for the secrets."""
    lines = [f"DAGSTER_HOME={dagster_home}", "# AWS_REGION=eu-central-1"]
    for name, meaning in SECRETS.items():
        lines += [*_comment(meaning), f"# {name}="]
    return "\n".join(lines) + "\n"


def images_declaration(place: str, partitions: str, ignored: Mapping[str, str]) -> str:
    """The package's declaration of `images`, with another table, other partitions and columns that are ignored.

    It keeps its name, by which its state is found.
    """
    text = _IMAGES.read_text(encoding="utf-8")
    text = text.replace("table: public.images\n", f"table: {json.dumps(place, ensure_ascii=False)}\nname: images\n")
    text = text.replace("partitions: monthly\n", f"partitions: {partitions}\n")
    if ignored:
        text += "ignored:\n" + "".join(f"  {json.dumps(name)}: {json.dumps(why)}\n" for name, why in ignored.items())
    return text


def _comment(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.replace("`", "").split()), _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _toml(value: Any) -> str:
    # TOML's basic strings, numbers and booleans are spelled as in JSON.
    return json.dumps(getattr(value, "value", value), ensure_ascii=False)
