"""``imgmig rehearse``: a migration of stage staging, command by command, while an application writes to both sides."""

import math
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer

from imgmig_dagster.cli.console import Output
from imgmig_dagster.errors import SandboxError
from imgmig_dagster.mapping.declaration import PACKAGED, load
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster.sandbox.aws_process import client
from imgmig_dagster.sandbox.dual_writer import OWN_ATTRIBUTE, Journal
from imgmig_dagster.sandbox.seed import synthetic_rows
from imgmig_dagster.stage.config import sandbox_root
from imgmig_dagster.stage.stage_template import images_declaration, stage_file_text
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.verification.review import ReviewedImage, SpotCheckReview
from imgmig_dagster.verification.spot_check_results import SpotCheckResult
from imgmig_dagster.window import now

EXAMPLE: Final = "Example: imgmig rehearse --images 2000 --rate 10"
IMAGE: Final = load(PACKAGED / "images.yaml").mapping
_TABLE: Final = "images-staging"
_START: Final = datetime(2024, 7, 1, tzinfo=timezone.utc)
_COMMAND_WITHIN_S: Final = 600
_NONE: Final = {"N": "0"}


def rehearse(
    images: Annotated[int, typer.Option("--images", min=1, help="About how many images to make.")] = 2_000,
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=1_000, help="The application's writes a second.")] = 10,
) -> None:
    """Rehearse a migration of stage staging on this machine, in a separate database and table.

    An application writes to both sides from the first step to the certificate. Exit code 0 only if that says READY,
    nothing that the application wrote was overwritten, and another migration writes nothing.
    """
    output, folder = Output(json=False), sandbox_root() / "rehearsal"
    started = time.monotonic()
    with _servers(folder, output) as sandbox:
        # Half a year: a quarter of the synthetic rows and of their partitions.
        rows = (row for row in synthetic_rows(4 * images) if row.created_at >= _START)
        count = sandbox.seed(rows, _START.date())
        output.say(
            f"Made {count:,} images of the last half of {_START.year}, in a database and a table of staging's own."
        )
        staging = _Staging(folder, _environment(sandbox, folder), output)
        output.say(f"\nThe application begins to write to both sides, {rate:,.0f} times a second.")
        with _application(sandbox, rate) as writing:
            staging.imgmig("doctor")
            staging.imgmig("dry-run")
            staging.imgmig("migrate")
            staging.imgmig("verify")
            output.say("\nThe application makes no pictures in S3: the spot check names its images, as it should.")
            staging.imgmig("spot-check", "--count", "50")
            output.say("\nIn place of a person, the rehearsal marks every image as fine.")
            staging.imgmig("spot-check", "--review", str(staging.reviewed()))
            staging.imgmig("report")
            staging.imgmig("certificate", "show", "latest")
            if writing.done():
                ended_by = type(writing.exception()).__name__
                raise SandboxError(f"the rehearsal failed: the application ended before it was stopped, by {ended_by}")
        journal = writing.result()
        overwritten = _overwritten(journal, _items(sandbox))
        if overwritten:
            raise SandboxError(
                f"the rehearsal failed: the migration overwrote what the application wrote: {', '.join(overwritten)}"
            )
        counts = ", ".join(f"{kind} {count:,}" for kind, count in sorted(journal.counts.items()))
        output.say(f"The application has stopped. It wrote: {counts}; none of it was overwritten.")
        before = _items(sandbox)
        staging.imgmig("migrate")
        if _items(sandbox) != before:
            raise SandboxError("the rehearsal failed: migrating once more changed items")
    output.say(
        f"\nRehearsed in {time.monotonic() - started:.0f} s: PASS. Migrating once more changed none of {len(before):,} "
        f"items. State and reports are kept in {folder / 'state'}"
    )


@dataclass(frozen=True)
class _Staging:
    """The stage, used as a person would: by commands, in a separate folder and environment."""

    folder: Path
    environment: Mapping[str, str]
    output: Output

    @property
    def state(self) -> LocalStateStore:
        return LocalStateStore(self.folder / "state" / Stage.STAGING.value / IMAGE.name)

    def imgmig(self, *arguments: str) -> None:
        """Run a command; one that ends with anything but 0 ends the rehearsal."""
        words = [*arguments, "--stage", Stage.STAGING.value]
        self.output.say(f"\n$ imgmig {shlex.join(words)}")
        program = str(Path(sys.executable).with_name("imgmig"))
        try:
            code = subprocess.run(  # noqa: S603
                [program, *words],
                cwd=self.folder,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                timeout=_COMMAND_WITHIN_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise SandboxError(f"the rehearsal failed: {arguments[0]} took longer than {_COMMAND_WITHIN_S} s") from None
        if code:
            self.output.say(f"The rehearsal failed: {arguments[0]} ended with {code}. Its state is in {self.folder}")
            raise typer.Exit(code)

    def reviewed(self) -> Path:
        """The file that the spot check's page would save if a person found every image fine."""
        sample = load_record(self.state, names.SPOT_CHECK, SpotCheckResult)
        if sample is None:
            raise SandboxError("the rehearsal failed: the spot check left no sample")
        images = [ReviewedImage(pair.row_id, fine=True, remark="") for pair in sample.pairs]
        review = SpotCheckReview(Stage.STAGING.value, sample.run_id, sample.seed, "rehearsal", now(), images)
        file = self.folder / "review.json"
        file.write_bytes(orjson.dumps(asdict(review)))
        return file


@contextmanager
def _servers(folder: Path, output: Output) -> Iterator[Sandbox]:
    """The rehearsal's own servers, always deleted afterwards: the sandbox and its pictures stay as they are."""
    sandbox = Sandbox(folder / "servers", _TABLE)
    sandbox.delete()  # left by a rehearsal that was killed
    shutil.rmtree(folder / "state", ignore_errors=True)
    output.say("Starting PostgreSQL, DynamoDB and S3 for the rehearsal ...")
    try:
        sandbox.start()
        yield sandbox
    finally:
        sandbox.delete()


def _environment(sandbox: Sandbox, folder: Path) -> dict[str, str]:
    """The commands' whole environment, without this process's variables. Everything else is in their folder."""
    variables = sandbox.environment()
    values = {
        ("source", "url"): variables["IMGMIG_SOURCE_URL"],
        ("target", "table"): _TABLE,
        ("target", "application_writes"): True,
        ("state", "url"): (folder / "state").as_uri(),
        ("reports", "url"): variables["IMGMIG_REPORTS_URL"],
        ("connections", "allow_insecure"): "loopback",
    }
    for path, text in {
        folder / "stages" / f"{Stage.STAGING.value}.toml": stage_file_text(Stage.STAGING, values),
        folder / "mappings" / "images.yaml": images_declaration(
            f"{IMAGE.schema}.{IMAGE.table}", f"{{every: monthly, start: {_START.date()}}}", {}
        ),
    }.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return {
        "STAGE": Stage.STAGING.value,
        **{name: value for name, value in variables.items() if name.startswith("AWS_") or name == "DAGSTER_HOME"},
    }


@contextmanager
def _application(sandbox: Sandbox, rate: float) -> Iterator[Future[Journal]]:
    """An application that writes to both sides until the context ends; then the future holds what it wrote."""
    stop, writer = threading.Event(), sandbox.dual_writer()
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            yield pool.submit(writer.run, rate, math.inf, stop)
        finally:
            stop.set()


def _overwritten(journal: Journal, items: Mapping[str, Item]) -> list[str]:
    """The ids whose last write by the application is gone from the table: a delete, a version, its own attribute."""

    def item(row_id: str) -> Item:
        return items.get(IMAGE.key(row_id)["PK"]["S"], {})

    return sorted(
        {
            *journal.lowered,
            *(row_id for row_id in journal.deleted if item(row_id)),
            *(
                each
                for each, version in journal.versions.items()
                if int(item(each).get("version", _NONE)["N"]) < version
            ),
            *(each for each, viewer in journal.own.items() if item(each).get(OWN_ATTRIBUTE) != {"S": viewer}),
        }
    )


def _items(sandbox: Sandbox) -> dict[str, Item]:
    """Every item of the target, by partition key."""
    port = sandbox.status().aws_port
    if port is None:
        raise SandboxError("the rehearsal failed: its servers are gone")
    pages = client("dynamodb", port).get_paginator("scan").paginate(TableName=_TABLE, ConsistentRead=True)
    return {item["PK"]["S"]: item for page in pages for item in page["Items"]}
