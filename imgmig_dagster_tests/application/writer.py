"""Runs the application's own writer, and records what it writes.

``python -m imgmig_dagster_tests.application.writer`` writes `items.json` again; ``make application-items`` does so
after installing the SDK.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.sandbox import Sandbox

FOLDER = Path(__file__).parent
RECORDED = FOLDER / "items.json"
MANNERS = ("plain", "sparse", "imprecise", "emptied")

ROWS: list[dict[str, Any]] = json.loads((FOLDER / "rows.json").read_text(encoding="utf-8"))


def is_installed() -> bool:
    """Whether there is Node, and its SDK."""
    return shutil.which("node") is not None and (FOLDER / "node_modules/@aws-sdk/lib-dynamodb").exists()


def write(endpoint: str, table: str, manner: str) -> None:
    """Let the application write all rows."""
    subprocess.run(
        ["node", str(FOLDER / "writer.mjs"), endpoint, table, manner],
        input=json.dumps(ROWS),
        env={"PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true"},
        check=True,
        text=True,
        timeout=300,
    )


def sorted_items(dynamodb: Any, table: str) -> list[Item]:
    """What the table holds, in the order of the keys and names."""
    items = dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]
    return sorted((dict(sorted(item.items())) for item in items), key=lambda item: str(item["PK"]["S"]))


def record() -> None:
    """Write `items.json` from a run on a sandbox of its own."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        sandbox = Sandbox(Path(folder) / ".imgmig")
        try:
            sandbox.start()
            for manner in MANNERS:
                with sandbox.scratch_tables() as tables:
                    write(sandbox.environment()["AWS_ENDPOINT_URL_DYNAMODB"], tables.target, manner)
                    found[manner] = sorted_items(tables.dynamodb, tables.target)
        finally:
            sandbox.delete()
    RECORDED.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record()
