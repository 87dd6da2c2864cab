"""A backfill spread over three hosts by Celery, one of which is killed and one suspended, cut off and let back:
``python -m imgmig_dagster_tests.hosts``. Needs root, iproute2 and redis-server; logs are in .hosts.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from imgmig_dagster_tests.hosts.campaign import Campaign
from imgmig_dagster_tests.hosts.ground import opened

PATIENCE_S: Final = 900
LOGS: Final = Path(".hosts")


def _out_of_time(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"it was not at its end after {PATIENCE_S} s; see {LOGS}")


def main() -> int:
    if os.geteuid() != 0:
        sys.stderr.write("Error: network namespaces need root: sudo make hosts\n")
        return 2
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir()
    # What ends it from outside must not leave its servers and namespaces behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(PATIENCE_S)
    began = time.monotonic()
    with (LOGS / "campaign.log").open("w", buffering=1) as log:

        def tell(line: str) -> None:
            for stream in (log, sys.stdout):
                stream.write(f"{time.monotonic() - began:4.0f} s  {line}\n")
                stream.flush()

        tell("servers and hosts start")
        try:
            with opened(LOGS.resolve()) as ground:
                findings = Campaign(ground, tell).run()
        except (KeyboardInterrupt, TimeoutError) as ended:
            tell(f"broken off, and everything removed: {str(ended) or 'interrupted'}")
            return 1
        for fact in findings.facts:
            tell(fact)
        for violation in findings.violations:
            tell(f"VIOLATION: {violation}")
        tell(f"{len(findings.violations)} violations")
    return 1 if findings.violations else 0


if __name__ == "__main__":
    sys.exit(main())
