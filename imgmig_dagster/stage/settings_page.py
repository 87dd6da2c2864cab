"""Writes docs/settings.md from the declarations: ``python -m imgmig_dagster.stage.settings_page > docs/settings.md``.

Settings are declared in `sections`, and the variables that they replace in `deprecated_variables`.
"""

import sys
from collections.abc import Mapping

from imgmig_dagster.stage.deprecated_variables import DEPRECATED, Replacement
from imgmig_dagster.stage.sections import OTHER_VARIABLES, SECRETS, SECTIONS, keys_of

PAGE = """# Settings

A stage (`dev`, `staging`, `prod`) is one file, `stages/<stage>.toml` in the working directory. Commit it: it holds no
secret. Every part of a stage reads it: the command line, Dagster's code location, and each host that takes runs.

Generated from the declarations by `.venv/bin/python -m imgmig_dagster.stage.settings_page > docs/settings.md`; a test
keeps it up to date.

```bash
imgmig init --stage staging     # writes stages/staging.toml, .env.staging and the folder of DAGSTER_HOME
imgmig doctor --stage staging   # looks at everything that the file names
```

Stage dev needs no file: it uses the [sandbox](start.md) unless its file or a variable names a database, a table or a
state.

```toml
# stages/staging.toml
[source]
url = "postgresql://imgmig_reader@db.example.com/images?sslmode=verify-full"

[target]
table = "images-staging"
application_writes = true

[state]
url = "s3://imgmig-state/staging"
```

{sections}

A table's [declaration](declaration.md) says what concerns that table: the name of the table or view, its partitions and
where they start, and the columns that are not migrated.

## Secrets

A secret in the stage's file is refused. Set it in the environment, or in `.env.<stage>` of the working directory; the
environment wins. Do not commit that file.

{secrets}

A service file, `PGPASSFILE` and a secret of AWS Secrets Manager (`secret` in [source]) work too.

## Other variables

{variables}

AWS's own variables apply: `AWS_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL_DYNAMODB`, ... So do `HTTPS_PROXY`,
`HTTP_PROXY`, `NO_PROXY` and `AWS_CA_BUNDLE` in the environment of the process; connections to loopback use no proxy.
OpenTelemetry's variables switch [metrics](metrics.md) on: `OTEL_EXPORTER_OTLP_ENDPOINT=https://collector:4318`.

## Before and after

These variables were the settings before. Each still works in this version and wins over the file. A command says on
standard error what replaces each that is set. The next version ignores them.

{replaced}
"""


def page() -> str:
    """The whole of `docs/settings.md`."""
    return PAGE.format(
        sections="\n\n".join(map(_section, SECTIONS)),
        secrets=_table("variable", "meaning", SECRETS),
        variables=_table("variable", "meaning", OTHER_VARIABLES),
        replaced=_table("before", "after", {name: _after(each) for name, each in DEPRECATED.items()}),
    )


def _section(name: str) -> str:
    keys = {key: str(declared.description) for key, declared in keys_of(name).items()}
    return f"## [{name}]\n\n{' '.join((SECTIONS[name].__doc__ or '').split())}\n\n{_table('key', 'meaning', keys)}"


def _after(replacement: Replacement) -> str:
    advice = replacement.instead.format(file="the file")
    return advice if advice else f"`{replacement.key}` in [{replacement.section}]"


def _table(name: str, meaning: str, rows: Mapping[str, str]) -> str:
    return "\n".join([f"| {name} | {meaning} |", "|---|---|", *(f"| `{key}` | {text} |" for key, text in rows.items())])


if __name__ == "__main__":
    sys.stdout.write(page())
