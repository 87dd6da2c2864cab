"""Kills passes at every point and at random instants, and migrates beside an application in a hurry:
``python -m imgmig_dagster_tests.torture --help``.
"""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from imgmig_dagster_tests.torture import campaign, report
from imgmig_dagster_tests.torture.application import hot_rows
from imgmig_dagster_tests.torture.ground import Rows, opened

ROWS = 2_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m imgmig_dagster_tests.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=120, help="how many processes die")
    parser.add_argument("--seed", type=int, default=1, help="of the points and instants")
    parser.add_argument("--output", type=Path, help="a file for the table, as Markdown")
    options = parser.parse_args()
    # What ends a run from outside must not leave its servers behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()

    def tell(so_far: campaign.Campaign) -> None:
        sys.stdout.write(f"{report.line(so_far)}\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory(prefix="imgmig-torture-") as folder, opened(Path(folder), Rows(ROWS)) as ground:
        done = campaign.run(ground, options.kills, options.seed, tell=tell)
        campaign.rivals_and_events(ground, done, tell)
        took = time.monotonic() - started
        beside = hot_rows(ground)
    table = report.markdown(done, ROWS, took) + report.markdown_of_application(beside)
    sys.stdout.write(table)
    if options.output:
        options.output.write_text(table, encoding="utf-8")
    return 1 if done.violations or beside.violations else 0


if __name__ == "__main__":
    sys.exit(main())
