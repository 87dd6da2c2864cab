"""Certificates while an application never stops writing: ``python -m benchmarks.live --runs 10 --rate 100``.

The commands are a person's, each a process of its own. Each run asks for a certificate, for another one a while later,
corrupts one item past all of our code, and asks whether a verification names it.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import psycopg

from benchmarks.log import say
from imgmig_dagster.errors import Interrupted
from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster.sandbox.aws_process import client
from imgmig_dagster.sandbox.dual_writer import Journal
from imgmig_dagster_tests.images import IMAGE

_TABLE: Final = "images-live"
_SETTINGS: Final = ("IMGMIG_", "AWS_", "PG")
_WRONG: Final = "corrupted"
_PLANTINGS: Final = 5


@dataclass(frozen=True)
class Answer:
    """What a command answered: its document, its exit code, and the seconds from its start to its end."""

    document: Mapping[str, Any]
    exit_code: int
    seconds: float


class Stage:
    """Stage staging of a sandbox of its own, worked on by commands."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self._sandbox = sandbox
        self._folder = folder
        self._environment = {
            # What this machine happens to export is not the stage's.
            **{name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)},
            **{name: value for name, value in sandbox.environment().items() if not name.startswith("PG")},
            "STAGE": "staging",
            "IMGMIG_STATE_URL": (folder / "state").as_uri(),
            "IMGMIG_ALLOW_INSECURE": "loopback",
        }

    def imgmig(self, *words: str, **settings: str) -> Answer:
        began = time.monotonic()
        run = [sys.executable, "-c", "from imgmig_dagster.cli import main; main()", *words, "--json"]
        done = subprocess.run(
            run, cwd=self._folder, env={**self._environment, **settings}, check=False, capture_output=True, text=True
        )
        seconds = time.monotonic() - began
        if not done.stdout:
            raise RuntimeError(f"imgmig {' '.join(words)} ended with {done.returncode}: {done.stderr[-2_000:]}")
        return Answer(json.loads(done.stdout), done.returncode, seconds)

    def ask(self, query: str, *parameters: object) -> list[Any]:
        """The source's rows."""
        with psycopg.connect(self._environment["IMGMIG_SOURCE_URL"]) as connection:
            return connection.execute(query, parameters).fetchall()

    @property
    def rounds(self) -> Mapping[str, Any]:
        """How the last certificate came to its moment."""
        found: Mapping[str, Any] = self._report["facts"]["rounds"]
        return found

    @property
    def blockers(self) -> list[str]:
        """What keeps the data from PASS, by the last report."""
        return [each["what"] for each in self._report["blockers"]]

    @property
    def _report(self) -> Any:
        return json.loads((self._folder / "state/staging/images/reports/summary.json").read_text())

    @cached_property
    def dynamodb(self) -> Any:
        port = self._sandbox.status().aws_port
        if port is None:
            raise RuntimeError("the sandbox is gone")
        return client("dynamodb", port)

    @contextmanager
    def application(self, rate: float) -> Iterator[Future[Journal]]:
        """The application, which writes until the context ends; then the future holds what it wrote."""
        stop, writer = threading.Event(), self._sandbox.dual_writer()
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(writer.run, rate, math.inf, stop)
            try:
                yield writing
            finally:
                stop.set()


class Corruption:
    """One item that is wrong, planted without imgmig's code. The application may delete its image in the meantime."""

    def __init__(self, kind: str, stage: Stage, chance: random.Random) -> None:
        self._stage = stage
        self.kind = kind
        ids = [str(row_id) for (row_id,) in stage.ask("SELECT id FROM images ORDER BY id")]
        image = chance.choice(ids)
        self._item = stage.dynamodb.get_item(TableName=_TABLE, Key=IMAGE.key(image), ConsistentRead=True)["Item"]
        self.row_id = str(uuid.uuid4()) if kind == "orphan" else image

    def plant(self) -> None:
        table, key = self._stage.dynamodb, IMAGE.key(self.row_id)
        if self.kind == "changed attribute":
            self._set("SET userId = :value", {"S": _WRONG})  # the application sets it once, when it inserts an image
        elif self.kind == "deleted item":
            table.delete_item(TableName=_TABLE, Key=key)
        else:
            table.put_item(TableName=_TABLE, Item={**self._item, **key})

    def is_named(self, verified: Answer) -> bool:
        mismatches = {found["key"] for found in verified.document["mismatches"]}
        samples = verified.document.get("census", {}).get("samples", {})
        return self.row_id in mismatches.union(*samples.values())

    def repair(self) -> None:
        if self.kind == "changed attribute":
            self._set("SET userId = :value", self._item["userId"])
        elif self.kind == "deleted item":
            self._stage.imgmig("repair", "--apply")
        else:
            self._stage.dynamodb.delete_item(TableName=_TABLE, Key=IMAGE.key(self.row_id))

    def _set(self, expression: str, value: Mapping[str, Any]) -> None:
        table = self._stage.dynamodb
        try:
            table.update_item(
                TableName=_TABLE,
                Key=IMAGE.key(self.row_id),
                UpdateExpression=expression,
                ConditionExpression="attribute_exists(PK)",
                ExpressionAttributeValues={":value": value},
            )
        except table.exceptions.ConditionalCheckFailedException:
            return  # the application has deleted the image


_KINDS: Final = ("changed attribute", "deleted item", "orphan")


def main() -> None:
    options = _parse()
    # What ends a run from outside must not leave its servers behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    good = 0
    if options.fresh:
        for number in range(options.runs):
            with _migrated(options) as stage:
                good += _run(number, stage, options)
    else:
        with _migrated(options) as stage:
            for number in range(options.runs):
                good += _run(number, stage, options)
    say(f"{good} of {options.runs} runs: PASS beside the application, twice, and the corruption named")
    sys.exit(0 if good == options.runs else 1)


@contextmanager
def _migrated(options: argparse.Namespace) -> Iterator[Stage]:
    """A stage whose images were migrated while the application wrote, or before it did, and it goes on writing."""
    folder = Path(tempfile.mkdtemp(prefix="imgmig-live-"))
    sandbox = Sandbox(folder / "servers", _TABLE)
    try:
        sandbox.start()
        sandbox.seed_synthetic(options.images)
        stage = Stage(sandbox, folder)
        if options.quiet_migration:
            _migrate(stage, IMGMIG_DUAL_WRITE="false")
        began = time.monotonic()
        with stage.application(options.rate) as writing:
            if not options.quiet_migration:
                _migrate(stage)
            yield stage
            if writing.done():
                raise RuntimeError(f"the application ended by itself: {writing.exception()!r}")
        journal, seconds = writing.result(), time.monotonic() - began
        counts = ", ".join(f"{kind} {count:,}" for kind, count in sorted(journal.counts.items()))
        say(f"The application wrote {sum(journal.counts.values()) / seconds:.0f} times a second: {counts}")
    finally:
        sandbox.delete()
        shutil.rmtree(folder)


def _migrate(stage: Stage, **settings: str) -> None:
    for command in ("dry-run", "migrate"):
        answer = stage.imgmig(command, **settings)
        say(f"{command}: exit code {answer.exit_code}, {answer.seconds:.0f} s")


def _run(number: int, stage: Stage, options: argparse.Namespace) -> bool:
    verified = stage.imgmig("verify")
    first = verified.document["verdict"]
    say(f"{number + 1}: verify {first}, {_of_rounds(stage.rounds)}; command {verified.seconds:.0f} s")
    for what in stage.blockers[:3]:
        say(f"   blockers: {what}")
    if _broke_off(verified):
        return False
    time.sleep(options.pause)
    again = stage.imgmig("report")
    second = again.document["verdict"]
    full = verified.document["took_s"] + verified.document["census"]["duration_s"]
    share = f"{stage.rounds['seconds'] / full:.0%} of the full verification's {full:.1f} s"
    say(
        f"   again after {options.pause:.0f} s: {second}, {_of_rounds(stage.rounds)}, {share}; "
        f"command {again.seconds:.0f} s"
    )
    named = _plant(stage, _KINDS[number % len(_KINDS)], random.Random(f"live {options.seed} {number}"))
    return first == second == "PASS" and named


def _plant(stage: Stage, kind: str, chance: random.Random) -> bool:
    """Whether a corruption was named by its key. Where the application took the image away, another one is planted."""
    for _planting in range(_PLANTINGS):
        corruption = Corruption(kind, stage, chance)
        corruption.plant()
        verified = stage.imgmig("verify")
        if _broke_off(verified):
            return False
        named, verdict = corruption.is_named(verified), verified.document["verdict"]
        is_gone = kind != "orphan" and not stage.ask("SELECT FROM images WHERE id = %s", corruption.row_id)
        if is_gone and not (named and verdict == "FAIL"):
            continue
        say(f"   {kind} {corruption.row_id}: {'named' if named else 'NOT NAMED'}, verdict {verdict}")
        corruption.repair()
        return named and verdict == "FAIL"
    raise RuntimeError("the application deletes every image in which something is planted")


def _broke_off(verified: Answer) -> bool:
    """Whether a verification ended before its census did; then its verdict is of the census before."""
    if "census" in verified.document:
        return False
    say(f"   exit code {verified.exit_code}: {verified.document.get('message')}")
    return True


def _of_rounds(rounds: Mapping[str, Any]) -> str:
    behind = f", behind: {rounds['behind']}" if rounds["behind"] else ""
    return (
        f"{rounds['rounds']} rounds, {rounds['looked_again']:,} rows looked at again, {len(rounds['moving'])} moving, "
        f"{rounds['seconds']:.1f} s{behind}"
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="how many certificates are asked for")
    parser.add_argument("--rate", type=float, default=100, help="the application's writes a second")
    parser.add_argument("--images", type=int, default=15_432, help="rows to make")
    parser.add_argument("--pause", type=float, default=60, help="seconds until the second certificate")
    parser.add_argument("--seed", type=int, default=0, help="draws the same images to corrupt")
    parser.add_argument(
        "--quiet-migration", action="store_true", help="migrate before the application begins: quicker on few cores"
    )
    parser.add_argument("--fresh", action="store_true", help="begin each run with an empty table, and migrate again")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)
