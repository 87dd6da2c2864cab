"""``imgmig demo``: a real migration on this machine, from nothing to a verdict."""

import time
from collections.abc import Callable
from typing import Annotated

import typer

from imgmig_dagster.cli.console import CommandResult, Output, worst_of
from imgmig_dagster.cli.options import warn_of_deprecated_variables
from imgmig_dagster.cli.stage_session import StageSession
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.stage.config import sandbox_root, uses_sandbox
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.tables import chosen_table


def demo(
    images: Annotated[int, typer.Option("--images", min=1, help="Rows to make, if the sandbox holds none.")] = 15_432,
) -> None:
    """Migrate images in the sandbox: dry run, migration, verification, census, spot check, report."""
    from imgmig_dagster.sandbox import Sandbox

    warn_of_deprecated_variables(Stage.DEV)
    if not uses_sandbox(Stage.DEV):
        raise SettingsError("the demo works on the sandbox only: remove the urls and the table from stages/dev.toml")
    output = Output(json=False)
    phases: list[tuple[str, float]] = []
    started = time.monotonic()

    def timed(name: str) -> None:
        nonlocal started
        phases.append((name, time.monotonic() - started))
        started = time.monotonic()

    sandbox = Sandbox(sandbox_root())
    output.say("Starting the sandbox: PostgreSQL, DynamoDB and S3 on loopback ...")
    sandbox.start()
    existing = sandbox.status().images
    if existing:
        output.say(f"The sandbox holds {existing:,} images from before; `imgmig sandbox reset` starts over.")
    else:
        sandbox.seed_synthetic(images)
        output.say(f"Made {images:,} images of 2023 and 2024, with difficult ones among them.")
    timed("sandbox and seed")
    worst = 0
    with StageSession(Stage.DEV, output, chosen_table(Stage.DEV, None)) as session:
        keys = session.choose(None, None, None)
        phases_of_work: list[tuple[str, Callable[[], CommandResult]]] = [
            ("dry run", lambda: session.dry_run(keys)),
            ("migrate", lambda: session.migrate(keys)),
            ("spot check", lambda: session.spot_check(50, None, keep_last=True)),
            ("verify, census, report", lambda: session.verify(keys, whole_table=True)),
        ]
        for name, work in phases_of_work:
            output.say(f"\n== {name}")
            finding = work()
            output.show(finding)
            worst = worst_of((worst, finding.exit_code))
            timed(name)
    output.say("\nTook " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in phases))
    output.say("Next: `make ui` shows all of it in Dagster's UI; `imgmig sandbox stop` ends the servers.")
    raise typer.Exit(worst)
