"""Prints the schema of the report as JSON: ``python -m imgmig_dagster.reporting > docs/summary.schema.json``."""

import json
import sys

from pydantic import TypeAdapter

from imgmig_dagster.reporting.model import SummaryReport


def schema() -> str:
    """The whole of `docs/summary.schema.json`: what `summary.json` holds, in the words of the dataclasses."""
    described = TypeAdapter(SummaryReport).json_schema(mode="serialization")
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **described}, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema())
