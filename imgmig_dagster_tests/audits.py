"""A certificate of a source and a target as they stand, and recheck/recheck.py, which holds it against both."""

import hashlib
import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imgmig_dagster.mapping.digests import item_digester
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.reporting.published_mapping import published_mapping
from imgmig_dagster.reporting.recheckable import Recheck
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window
from imgmig_dagster_tests.arrange import MARCH, Source, Target
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.orchestration.documents import REPOSITORY

RECHECK = REPOSITORY / "recheck" / "recheck.py"
AS_OF = "2024-05-31T00:00:00.000+00:00"


@dataclass(frozen=True)
class Said:
    exit_code: int
    out: str
    error: str


@dataclass
class Audit:
    """Both sides, a certificate of them as they stand, and the file that holds one against the other."""

    source: Source
    target: Target
    folder: Path
    mapping: TableMapping = IMAGE
    windows: Sequence[Window] = (MARCH,)
    time_zone: str = "UTC"
    url: str = ""

    @property
    def file(self) -> Path:
        return self.folder / "certificate.json"

    def certify(self) -> None:
        connections = ReadOnlyConnections(self.source.url)
        arn = self.target.client.describe_table(TableName=self.target.name)["Table"]["TableArn"]
        table = self.source.schema, self.source.table, self.mapping, self.time_zone
        with SourceReader(connections, *table) as reader:
            document = {
                "format": 3,
                "stage": "dev",
                "counted_at": AS_OF,
                "verdict": "PASS",
                "cutover": "READY",
                "identity": {"target": arn},
                "recheck": asdict(Recheck(published_mapping(self.mapping), reader.published())),
                "partitions": [self._partition(reader, window) for window in self.windows],
            }
        self.write(document)

    def _partition(self, reader: SourceReader, window: Window) -> dict[str, Any]:
        inventory = reader.inventory(window)
        ids = {row.id for page in reader.pages(window, None, 1_000) for row in page}
        digest = item_digester(self.mapping)
        digests = [digest(item) for item in self.items() if self.mapping.row_id(item) in ids]
        return {
            "partition": window.partition,
            "start": window.start.isoformat(),
            "end": window.end.isoformat(),
            "source": {"rows": inventory.rows, "digest": inventory.digest},
            "target": {"rows": len(digests), "digest": str(sum(digests))},
        }

    def items(self) -> Iterator[Item]:
        """Everything in the target, as DynamoDB sends it."""
        pages = self.target.client.get_paginator("scan").paginate(TableName=self.target.name, ConsistentRead=True)
        for page in pages:
            yield from (as_sent(item) for item in page["Items"])

    def write(self, document: dict[str, Any]) -> None:
        """Write the certificate, with the hash that fits it."""
        covered = {name: value for name, value in document.items() if name not in ("sha256", "signature")}
        canonical = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self.file.write_text(json.dumps({**covered, "sha256": hashlib.sha256(canonical.encode()).hexdigest()}))

    def edit(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Edit the certificate as somebody does who computes its hash again."""
        document = json.loads(self.file.read_bytes())
        change(document)
        self.write(document)

    def run(self, *options: str, url: str | None = None) -> Said:
        finished = subprocess.run(
            [sys.executable, RECHECK, self.file, "--source", self.source.url if url is None else url, *options],
            cwd=self.folder,
            env={
                "PATH": os.defpath,
                "AWS_ENDPOINT_URL_DYNAMODB": self.url or self.target.url,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in finished.stderr, finished.stderr
        return Said(finished.returncode, finished.stdout, finished.stderr)


def as_sent(item: Item) -> Item:
    """An item of boto3, with bytes as DynamoDB sends them."""
    return {
        name: {"B": b64encode(value["B"]).decode()} if isinstance(value.get("B"), bytes) else value
        for name, value in item.items()
    }


def for_boto3(item: Item) -> Item:
    """The opposite."""
    return {name: {"B": b64decode(value["B"])} if "B" in value else value for name, value in item.items()}
