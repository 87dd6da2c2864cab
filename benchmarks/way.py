"""Runs one measured way in its own process: ``python -m benchmarks.way JOB``, the job as JSON; prints its sample."""

import importlib
import json
import sys
from typing import Final

from benchmarks.job import Job, Sample

# A way's module is imported only in the process that measures it: what is imported counts as memory.
WAYS: Final = {
    "imgmig_dagster, batch": "ours.batch",
    "boto3 batch_writer": "boto.batch_writer",
    "imgmig_dagster, conditional": "ours.conditional",
    "boto3 put_item, 10 threads": "boto.put_items",
    "imgmig_dagster, verification": "ours.verify",
    "boto3 resource batch_get_item": "boto.batch_get",
    "raw writes": "raw.replay_writes",
    "raw reads": "raw.replay_reads",
    "stages of batch mode": "anatomy.batch",
    "stages of conditional mode": "anatomy.conditional",
    "stages of a verification": "anatomy.verify",
    "imgmig migrate": "orchestration.command",
    "the migration's calls alone": "orchestration.domain_migration",
    "imgmig migrate and verify": "orchestration.both_commands",
    "the calls of both alone": "orchestration.domain_calls",
    "one run": "orchestration.one_run",
}


def run(job: Job) -> Sample:
    """Take the way that the job names."""
    module, _, function = WAYS[job.way].partition(".")
    sample: Sample = getattr(importlib.import_module(f"benchmarks.{module}"), function)(job)
    return sample


if __name__ == "__main__":
    print(run(Job(**json.loads(sys.argv[1]))).to_json())
