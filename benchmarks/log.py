"""Lines of the benchmarks that run long: each with its time."""

import sys
import time


def say(line: str) -> None:
    """Print a line at once, with the time of day."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()
