"""The Dagster instance of the sandbox: PostgreSQL storage, everything else in its folder, no telemetry."""

import json
from pathlib import Path


def write_dagster_yaml(home: Path, storage_url: str) -> None:
    """Write ``dagster.yaml`` into `home`; make the folder if it is missing.

    `storage_url` is SQLAlchemy's URL of a database that Dagster may create its tables in.
    """
    config = {
        "storage": {"postgres": {"postgres_url": storage_url}},
        "run_coordinator": {"module": "dagster", "class": "QueuedRunCoordinator"},
        "concurrency": {"runs": {"max_concurrent_runs": 2}, "pools": {"granularity": "run", "default_limit": 2}},
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(home / "artifacts")},
        },
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": str(home / "logs")},
        },
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
    }
    home.mkdir(exist_ok=True)
    # JSON is YAML, and quotes any path correctly.
    text = "# Written by `imgmig sandbox start`; changes are lost.\n" + json.dumps(config, indent=2) + "\n"
    (home / "dagster.yaml").write_text(text)
